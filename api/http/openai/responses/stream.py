"""Events of a response on the wire."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing

from api.http.event_stream import event_text
from api.http.openai.responses.reading import Reading
from api.http.openai.stream import DONE


async def event_texts(reading: Reading) -> AsyncGenerator[str]:
    """The events of a response, and ``[DONE]``."""
    async with aclosing(reading.events()) as all_events:
        async for events in all_events:
            if text := "".join(event_text(event["type"], event) for event in events):
                yield text
    yield DONE

"""Messages of the WebSocket protocol: strict JSON types, null is absent, unknown fields are ignored."""

from __future__ import annotations

import json
from typing import Any, Literal, TypeVar

from pydantic import ConfigDict, ValidationError

from api.errors import reason_of
from api.http.bodies import FirstError
from api.http.petals.failures import BadParameter
from api.http.petals.generation import Generation, read_sampling


class SocketMessage(FirstError):
    """What the messages have in common."""

    model_config = ConfigDict(frozen=True, extra="ignore", strict=True)


AnyMessage = TypeVar("AnyMessage", bound=SocketMessage)


class OpenMessage(SocketMessage):
    """The first message. ``max_length`` is looked at by the first generate only."""

    type: Literal["open_inference_session"]
    model: str | None = None
    max_length: Any = None


class SessionLength(SocketMessage):
    """The ``max_length`` of the open message, when its time has come."""

    max_length: int | None = None


class GenerateMessage(SocketMessage):
    """Every later message."""

    type: Literal["generate"]
    inputs: str | None = None
    do_sample: bool | int | float | None = None
    temperature: float | None = None
    top_k: int | None = None
    top_p: float | None = None
    repetition_penalty: float | None = None
    max_length: int | None = None
    max_new_tokens: int | None = None
    stop_sequence: str | None = None
    extra_stop_sequences: list[str] | str | None = None

    def generation(self) -> Generation:
        """The call that this message makes.

        Raises:
            BadParameter
        """
        extra = self.extra_stop_sequences
        return Generation(
            inputs=self.inputs,
            sampling=read_sampling(
                bool(self.do_sample), self.temperature, self.top_k, self.top_p, self.repetition_penalty
            ),
            max_length=self.max_length,
            max_new_tokens=self.max_new_tokens,
            stop_sequence=self.stop_sequence,
            extra_stop_sequences=(extra,) if isinstance(extra, str) else tuple(extra or ()),
        )


def parse_frame(data: str | bytes) -> dict[str, Any]:
    """The JSON object in a frame.

    Raises:
        BadParameter: there is none.
    """
    try:
        value = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise BadParameter("ValueError", f"the message is not JSON: {reason_of(error)}") from error
    if not isinstance(value, dict):
        raise BadParameter("TypeError", f"a message must be a JSON object, not {type(value).__name__}")
    return value


def read_message(schema: type[AnyMessage], fields: dict[str, Any]) -> AnyMessage:
    """Fields as a message of this schema.

    Raises:
        BadParameter: naming the first field that is wrong.
    """
    try:
        return schema.model_validate(fields)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        name = ".".join(str(part) for part in first["loc"][:1])
        raise BadParameter("ValueError", f"{name}: {first['msg']}") from error

"""The input of a run, as AG-UI's clients send it. What has no meaning here is left unread."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field
from pydantic.alias_generators import to_camel

from api.errors import InvalidRequest, UnsupportedContent
from api.http.agents.taken import Id, Said
from api.http.bodies import FirstError
from api.http.thread_schemas import Name
from api.threads.blocks import Block
from api.threads.commands import GivenAnswer


class _Part(FirstError):
    model_config = ConfigDict(frozen=True, alias_generator=to_camel)


class ContentBody(_Part):
    """A piece of a message; texts are read."""

    type: str
    text: str = ""


class MessageBody(_Part):
    """A message of the transcript; those of user and tools are read."""

    id: Id
    role: str
    content: str | tuple[ContentBody, ...] | dict[str, Any] | None = None
    tool_call_id: Id | None = None
    error: str | None = None

    @property
    def text(self) -> str:
        """Its content.

        Raises:
            UnsupportedContent: it is no text.
        """
        content = self.content or ""
        if isinstance(content, str):
            return content
        if isinstance(content, dict) or any(part.type != "text" for part in content):
            raise UnsupportedContent(f"message {self.id!r} has content that is no text")
        return "".join(part.text for part in content)

    def said(self) -> Said:
        """The same, of any protocol."""
        return Said(self.id, self.text if self.role == "user" else None)

    def answer(self, ask: Block) -> GivenAnswer:
        """What a message of a tool answers to the ask for the tool's call."""
        if self.error is not None:
            return GivenAnswer(ask.id, approve=False, reason=self.error)
        return GivenAnswer(ask.id, value=self.text)


class ResumeBody(_Part):
    """The answer to an interrupt."""

    interrupt_id: Id
    status: Literal["resolved", "cancelled"]
    payload: Any = None

    def answer(self, ask: Block) -> GivenAnswer:
        """The same for the thread.

        Raises:
            InvalidRequest: it is not what was asked for.
        """
        if self.status == "cancelled":
            return GivenAnswer(ask.id, approve=False, reason="cancelled")
        payload = self.payload if isinstance(self.payload, dict) else {}
        wanted = "approved" if ask.ask and ask.ask.type == "approval" else "value"
        if wanted not in payload:
            raise InvalidRequest(f"resume: the payload for {ask.id!r} has no {wanted!r}")
        if wanted == "value":
            return GivenAnswer(ask.id, value=payload["value"])
        approved, reason = payload["approved"], payload.get("reason")
        if not isinstance(approved, bool) or not isinstance(reason, str | None):
            raise InvalidRequest(f"resume: the payload for {ask.id!r} is {{approved: boolean, reason?: string}}")
        return GivenAnswer(ask.id, approve=approved, reason=reason)


class RunInputBody(_Part):
    """``POST /api/agents/{agent}/agui``."""

    thread_id: Name
    run_id: Id
    parent_run_id: Id | None = None
    messages: tuple[MessageBody, ...] = ()
    resume: Annotated[tuple[ResumeBody, ...], Field(max_length=128)] = ()

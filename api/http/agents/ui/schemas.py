"""What ``useChat`` sends. What has no meaning here is left unread."""

from __future__ import annotations

from typing import Any

from pydantic import ConfigDict
from pydantic.alias_generators import to_camel

from api.errors import UnsupportedContent
from api.http.agents.taken import Id, Said
from api.http.bodies import FirstError
from api.http.thread_schemas import Name
from api.threads.blocks import Block
from api.threads.commands import GivenAnswer


class _Part(FirstError):
    model_config = ConfigDict(frozen=True, alias_generator=to_camel)


class ApprovalBody(_Part):
    """The answer to an approval."""

    id: Id
    approved: bool | None = None
    reason: str | None = None


class PartBody(_Part):
    """A piece of a message; texts are read, and what answers a call of a tool."""

    type: str
    text: str = ""
    tool_call_id: Id | None = None
    state: str | None = None
    output: Any = None
    error_text: str = ""
    approval: ApprovalBody | None = None

    def answer(self, ask: Block) -> GivenAnswer | None:
        """The answer to an ask for this call; None where it is none."""
        approval, kind = self.approval, ask.ask and ask.ask.type
        if kind == "approval":
            if approval is None or approval.id != ask.id or approval.approved is None:
                return None
            return GivenAnswer(ask.id, approve=approval.approved, reason=approval.reason)
        if kind != "client_tool":  # the output is what the tool has returned, and no answer to its question
            return None
        match self.state:
            case "output-available":
                return GivenAnswer(ask.id, value=self.output)
            case "output-error":
                return GivenAnswer(ask.id, approve=False, reason=self.error_text)
        return None


class UiMessageBody(_Part):
    """A message of the transcript."""

    id: Id
    role: str
    parts: tuple[PartBody, ...] = ()

    def said(self) -> Said:
        """The same, of any protocol.

        Raises:
            UnsupportedContent: the user says something else than text.
        """
        if self.role != "user":
            return Said(self.id, None)
        if any(part.type == "file" for part in self.parts):
            raise UnsupportedContent(f"message {self.id!r} has a file")
        return Said(self.id, "".join(part.text for part in self.parts if part.type == "text"))


class UiBody(_Part):
    """``POST /api/agents/{agent}/ui``; ``id`` is the name or the id of the thread."""

    id: Name
    messages: tuple[UiMessageBody, ...]
    trigger: str = "submit-message"
    message_id: Id | None = None

    model_config = ConfigDict(frozen=True, alias_generator=to_camel)

    @property
    def is_again(self) -> bool:
        """Whether the last message, of the user, is to be answered anew: as it was, or as it is now."""
        last = self.messages[-1] if self.messages else None
        if last is None or last.role != "user":
            return False
        return self.trigger == "regenerate-message" or last.id == self.message_id

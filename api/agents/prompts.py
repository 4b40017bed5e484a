"""A prompt, as a function that is an agent is given it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TypeAlias

from api.inferlet import LanguageModel, get_auto_model, get_model
from api.threads.blocks import Part
from api.turns import Message


@dataclass(frozen=True, slots=True)
class Prompt:
    """What the function is to work on.

    Attributes:
        history: what was said and done before in the thread.
        model_name: of the agent's model; None for the default one.
    """

    text: str
    history: tuple[Message, ...] = ()
    model_name: str | None = None

    @property
    def parts(self) -> tuple[Part, ...]:
        """The prompt, as a block has it."""
        return (Part(text=self.text),)

    @property
    def model(self) -> LanguageModel:
        """The agent's model.

        Raises:
            ModelNotFound, Unavailable
        """
        return get_auto_model() if self.model_name is None else get_model(self.model_name)


AgentFunction: TypeAlias = Callable[[Prompt], Awaitable[None]]

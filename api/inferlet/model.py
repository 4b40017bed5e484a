"""Models, as a program sees them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from api.cluster import ModelInfo, Retention
from api.errors import ModelNotFound, Unavailable, UnknownAdapter
from api.inferlet.checks import checked_ids, checked_text
from api.inferlet.context import Context
from api.inferlet.context_effects import Decode, Encode, Forked, Import, Models
from api.inferlet.host import host
from api.names import check_name
from api.turns import Message, Text


@dataclass(frozen=True, slots=True)
class LanguageModel:
    """A model that is served; ``info`` says what it is."""

    info: ModelInfo

    @property
    def name(self) -> str:
        """Its name."""
        return self.info.name

    @property
    def max_context_tokens(self) -> int:
        """Tokens that a context may hold."""
        return self.info.max_context_tokens

    def eos_tokens(self) -> list[list[int]]:
        """The token sequences that end an answer, for ``ends_with_any``."""
        return [[id] for id in self.info.eos_ids]

    def tokenize(self, text: str) -> list[int]:
        """Token ids of a text alone, without a beginning-of-text token."""
        return list(host().perform(Encode(self.name, (Text(checked_text(text)),))))

    def detokenize(self, ids: Sequence[int], skip_special_tokens: bool = True) -> str:
        """The text of token ids."""
        return host().perform(Decode(self.name, checked_ids(ids), skip_special_tokens))

    def chat_template(self, messages: Sequence[Message]) -> list[int]:
        """Token ids of a conversation from its start, ready for the model's answer.

        Raises:
            Unsupported: the model has no chat template.
        """
        return list(host().perform(Encode(self.name, tuple(messages), opens_answer=True)))

    def create_context(self, retention: Retention | None = None, *, adapter: str | None = None) -> Context:
        """An empty context; ``retention`` is what happens to its KV between turns (keep).

        Args:
            adapter: one of ``info.adapters``, for it and its forks.

        Raises:
            UnknownAdapter: the model has none of this name.
        """
        if adapter is not None and adapter not in self.info.adapters:
            raise UnknownAdapter.among(self.info.adapters, adapter)
        return Context(self.info, retention or Retention(), adapter=adapter)

    def import_context(self, name: str) -> Context:
        """A context that begins as the one that was exported under this name, by any program of this owner.

        Raises:
            NotFound: there is none of this name for this model.
        """
        check_name("the name of a context", name)
        prefix = host().perform(Import(self.name, name))
        context = Context(self.info, Retention(), prefix.tokens, prefix.holes, prefix.role, prefix.adapter)
        host().tell(Forked(prefix.context_id, context.context_id, self.name, prefix.tokens, prefix.holes))
        return context


def get_all_models() -> list[LanguageModel]:
    """The models, the default one first."""
    return [LanguageModel(info) for info in host().perform(Models())]


def get_auto_model() -> LanguageModel:
    """The default model.

    Raises:
        Unavailable: none is served, or no actor has told yet what the model is.
    """
    models = get_all_models()
    if not models:
        raise Unavailable("no model is served here")
    return _started(models[0])


def get_model(name: str) -> LanguageModel:
    """The model of this name or alias.

    Raises:
        ModelNotFound: there is none.
        Unavailable: no actor has told yet what the model is.
    """
    for model in get_all_models():
        if name == model.name or name in model.info.aliases:
            return _started(model)
    raise ModelNotFound(name)


def _started(model: LanguageModel) -> LanguageModel:
    """This model, once it is known what it is; one that has never been in memory is started for that."""
    if model.info.has_to_start:
        model.tokenize("")
        return next(LanguageModel(other.info.known()) for other in get_all_models() if other.name == model.name)
    return LanguageModel(model.info.known())

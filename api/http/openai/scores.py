"""Log-probabilities with the tokens' texts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from api.cluster import Cluster
from api.http.openai.choice import Token


@dataclass(frozen=True, slots=True)
class ScoredText:
    """The bytes that a token adds to a text, and its natural log-probability."""

    content: bytes
    logprob: float

    @property
    def text(self) -> str:
        """The bytes as text, unfinished characters as U+FFFD."""
        return self.content.decode(errors="replace")

    def view(self) -> dict[str, object]:
        """As chats and responses show it."""
        return {"token": self.text, "logprob": self.logprob, "bytes": list(self.content)}


@dataclass(frozen=True, slots=True)
class ScoredToken:
    """A token of an answer, and the likeliest ones at its place; ``start`` counts the characters before it."""

    token: ScoredText
    top: tuple[ScoredText, ...]
    start: int

    def view(self) -> dict[str, object]:
        """As chats and responses show it."""
        return {**self.token.view(), "top_logprobs": [top.view() for top in self.top]}


class TokenTexts:
    """The texts of one model's tokens, remembered while one request is answered."""

    def __init__(self, cluster: Cluster, model: str) -> None:
        self._cluster = cluster
        self._model = model
        self._known: dict[int, bytes] = {}

    async def scored(self, tokens: Sequence[Token]) -> tuple[ScoredToken, ...]:
        """These tokens with their texts."""
        ids = {token_id for token in tokens for token_id in (token.token_id, *(top for top, _ in token.logprobs.top))}
        if unknown := tuple(ids - self._known.keys()):
            self._known |= zip(unknown, await self._cluster.token_bytes(self._model, unknown), strict=True)
        return tuple(self._scored(token) for token in tokens)

    def _scored(self, token: Token) -> ScoredToken:
        top = tuple(ScoredText(self._known[token_id], logprob) for token_id, logprob in token.logprobs.top)
        return ScoredToken(ScoredText(self._known[token.token_id], token.logprobs.chosen), top, token.start)

"""What has to be known of models in order to read their answers."""

from __future__ import annotations

import asyncio

from api.answers.formats import AnswerFormat
from api.cluster import Cluster, ModelInfo
from api.http.models import find_model
from api.http.openai.scores import TokenTexts


class Models:
    """The models as they are when they are first needed; made for one request, which asks for them once."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._infos: tuple[ModelInfo, ...] | None = None
        self._asking = asyncio.Lock()
        self._texts: dict[str, TokenTexts] = {}

    async def answers(self, name: str) -> AnswerFormat:
        """What the answers of the model of this name look like; plain text where it is served no longer."""
        async with self._asking:
            if self._infos is None:
                self._infos = await self._cluster.models()
        for info in self._infos:
            if info.name == name:
                return (await find_model(self._cluster, name) if info.has_to_start else info).answers
        return AnswerFormat()

    def texts(self, name: str) -> TokenTexts:
        """The texts of its tokens."""
        return self._texts.setdefault(name, TokenTexts(self._cluster, name))

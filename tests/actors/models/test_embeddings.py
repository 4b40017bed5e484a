"""Embeddings from OpenAI's client to the torch engine, on the embedded model; the oracle is ``transformers``."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from openai import AsyncOpenAI, BadRequestError
from transformers import AutoModel, AutoTokenizer

from actors.settings import ModelSettings
from api.http.app import build_app
from api.settings import ApiSettings
from deployments.config import embedded_model
from tests.actors.small_cluster import SmallCluster
from tests.api.live_server import serving

TEXTS = ["Hello! My name is Ada.", "x", "Ein längerer Text, mit <|im_start|> darin. " * 40]


def settings(embeddings: bool) -> ModelSettings:
    return ModelSettings("pocket", embedded_model(), engine="torch", embeddings=embeddings, report_interval_s=0.01)


def expected(text: str) -> tuple[list[float], int]:
    """The vector, and how many tokens the text has; a special token in it is plain text."""
    model, tokenizer = AutoModel.from_pretrained(embedded_model()), AutoTokenizer.from_pretrained(embedded_model())
    ids = tokenizer(text, split_special_tokens=True)["input_ids"]
    with torch.no_grad():
        return model(torch.tensor([ids])).last_hidden_state[0].mean(0).tolist(), len(ids)


async def test_a_client_gets_the_mean_of_the_last_hidden_states(tmp_path: Path) -> None:
    async with (
        SmallCluster(tmp_path, model=settings(True)) as small,
        serving(build_app(small.greenroom, ApiSettings())) as url,
    ):
        async with AsyncOpenAI(base_url=f"{url}/v1", api_key="any", max_retries=0) as client:
            found = await client.embeddings.create(model="pocket", input=TEXTS)
            with pytest.raises(BadRequestError) as too_long:
                await client.embeddings.create(model="pocket", input="word " * 5000)
    for one, text in zip(found.data, TEXTS, strict=True):
        assert one.embedding == pytest.approx(expected(text)[0], abs=1e-4)
    assert found.usage.prompt_tokens == sum(expected(text)[1] for text in TEXTS)
    assert too_long.value.code == "context_length_exceeded"


async def test_a_model_that_is_not_configured_for_it_makes_none(tmp_path: Path) -> None:
    async with (
        SmallCluster(tmp_path, model=settings(False)) as small,
        serving(build_app(small.greenroom, ApiSettings())) as url,
    ):
        async with AsyncOpenAI(base_url=f"{url}/v1", api_key="any", max_retries=0) as client:
            with pytest.raises(BadRequestError, match="'pocket' is not configured for embeddings") as caught:
                await client.embeddings.create(model="pocket", input="Hello")
    assert caught.value.code == "unsupported"

"""What a checkpoint suggests to sample with; the oracle is ``transformers``' own file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from transformers import GenerationConfig

from actors.engine.generation_config import suggested_sampling
from api.errors import InvalidRequest
from api.turns import Sampling


def test_the_fields_that_transformers_saves_are_the_suggestion(tmp_path: Path) -> None:
    GenerationConfig(do_sample=True, temperature=0.6, top_k=20, top_p=0.95, repetition_penalty=1.05).save_pretrained(
        tmp_path
    )
    assert suggested_sampling(tmp_path) == Sampling(0.6, 20, 0.95, repetition_penalty=1.05)


@pytest.mark.parametrize(
    ("config", "suggested"),
    [
        (None, Sampling(temperature=1.0)),
        ({}, Sampling(temperature=1.0)),
        ({"temperature": None, "eos_token_id": 3}, Sampling(temperature=1.0)),
        ({"do_sample": False, "top_k": 5}, Sampling(temperature=0.0, top_k=5)),
    ],
)
def test_what_is_not_said_is_plain_sampling(config: Any, suggested: Sampling, tmp_path: Path) -> None:
    if config is not None:
        (tmp_path / "generation_config.json").write_text(json.dumps(config))
    assert suggested_sampling(tmp_path) == suggested


def test_what_cannot_be_is_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "generation_config.json").write_text('{"top_p": "high"}')
    with pytest.raises(InvalidRequest, match="generation_config.json: top_p must be"):
        suggested_sampling(tmp_path)

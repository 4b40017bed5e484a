"""The places for adapters that vLLM is started with; vLLM itself is not needed for it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from actors.engine.adapter_files import AdapterFiles
from actors.engine.vllm.settings import Places, lora_arguments
from api.errors import InvalidRequest


def adapter(rank: int) -> AdapterFiles:
    return AdapterFiles("late", Path("nowhere"), rank, {})


@pytest.mark.parametrize(
    ("ranks", "engine_args", "found"),
    [
        ((), {}, {}),
        ((), {"max_lora_rank": 8}, {}),
        ((4, 9), {}, {"enable_lora": True, "max_loras": 4, "max_lora_rank": 16}),
        ((), {"max_loras": 3}, {"enable_lora": True, "max_loras": 3, "max_lora_rank": 16}),
        ((4,), {"max_loras": 1, "max_lora_rank": 64}, {"enable_lora": True, "max_loras": 1, "max_lora_rank": 64}),
    ],
)
def test_there_are_as_many_as_are_asked_for_or_two_to_spare(
    ranks: tuple[int, ...], engine_args: dict[str, Any], found: dict[str, Any]
) -> None:
    adapters = [adapter(rank) for rank in ranks]
    assert lora_arguments(adapters, engine_args, is_cpu=False) == found
    more = {"max_loras": found["max_loras"] + 1} if found else {}
    assert lora_arguments(adapters, engine_args, is_cpu=True) == found | more


@pytest.mark.parametrize(
    ("engine_args", "sentence"),
    [
        ({"max_loras": 1}, "engine_args.max_loras is 1, and the model has 2 adapters"),
        ({"max_loras": "many"}, "engine_args.max_loras is 'many'"),
        ({"max_lora_rank": 8}, "has rank 9, and the places for adapters are of rank 8: set a larger"),
    ],
)
def test_places_that_the_models_own_adapters_do_not_fit_are_refused(engine_args: dict[str, Any], sentence: str) -> None:
    with pytest.raises(InvalidRequest, match=sentence):
        lora_arguments([adapter(4), adapter(9)], engine_args, is_cpu=True)


@pytest.mark.parametrize(
    ("places", "rank", "sentence"),
    [
        (Places(0, 0), 4, "vLLM was started without places for adapters: set engine_args.max_loras and .max_lora_rank"),
        (Places(2, 8), 4, "all 2 places for adapters are taken: set a larger engine_args.max_loras"),
        (Places(3, 8), 9, "adapter 'late' has rank 9, and the places for adapters are of rank 8"),
        (Places(3, 512), 513, "vLLM serves ranks up to 512, not 513"),
    ],
)
def test_an_adapter_for_which_there_is_no_place_is_refused_with_what_to_set(
    places: Places, rank: int, sentence: str
) -> None:
    with pytest.raises(InvalidRequest, match=sentence):
        places.check(adapter(rank), num_taken=2)

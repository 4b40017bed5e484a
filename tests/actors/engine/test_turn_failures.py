"""A turn that fails while its token is drawn, matched, detokenised or taken fails alone, in words, on either engine."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from actors.engine.constraints.matcher import GuidedMatcher
from actors.engine.contract import tokens_hash
from actors.engine.text.detokenizer import Detokenizer
from actors.engine.text.output import TurnOutput
from actors.engine.turn import Turn
from api.constraints import Regex
from api.errors import GreenroomError
from api.turns import Finish, Sampling
from tests.actors.engine.checkpoints import Oracle
from tests.actors.engine.driver import Driver, prompt

VOCAB = 384


def unbounded(**fields: Any) -> Sampling:
    """A sampling that its own bounds would have refused."""
    sampling = Sampling(temperature=1.0, seed=1)
    for name, value in fields.items():
        object.__setattr__(sampling, name, value)
    return sampling


async def fails_alone(driver: Driver, oracle: Oracle, is_temporary: bool = False, **bad: Any) -> GreenroomError:
    """Run a turn that is bad beside two that are not; its error, as its caller would see it."""
    driver.begin("before", prompt(5), 12)
    driver.begin("bad", prompt(7, seed=3), 12, is_temporary=is_temporary, **bad)
    driver.begin("after", prompt(6), 12)
    await driver.finish("before", "bad", "after")
    error = driver.outputs["bad"][-1].error
    assert error is not None
    assert driver.output_ids("before") == oracle.greedy(prompt(5), 12)
    assert driver.output_ids("after") == oracle.greedy(prompt(6), 12)
    assert all(0 <= token_id < VOCAB for token_id in driver.output_ids("bad"))
    assert (driver.engine.residency("bad") is None) is is_temporary
    return error if isinstance(error, GreenroomError) else GreenroomError(str(error))


@pytest.mark.parametrize(
    "fields",
    [{"presence_penalty": 1e308}, {"repetition_penalty": 1e-45}, {"min_p": "x"}, {"logit_bias": ((VOCAB - 1, "x"),)}],
    ids=lambda fields: str(*fields),
)
async def test_a_token_that_cannot_be_drawn_ends_its_turn(
    fields: dict[str, Any], driver: Driver, oracle: Callable[[str], Oracle]
) -> None:
    await fails_alone(driver, oracle("llama"), sampling=unbounded(**fields))


async def test_a_failed_temporary_turn_leaves_no_context(driver: Driver, oracle: Callable[[str], Oracle]) -> None:
    await fails_alone(driver, oracle("llama"), is_temporary=True, sampling=unbounded(repetition_penalty=1e-45))


class Broken(Exception):
    """A bug of ours, or of a package."""


@pytest.mark.parametrize("after", [0, 3])
async def test_a_token_that_cannot_be_made_text_ends_its_turn(
    after: int, driver: Driver, oracle: Callable[[str], Oracle], monkeypatch: pytest.MonkeyPatch
) -> None:
    append, made = TurnOutput.append, Detokenizer.append

    def broken(output: TurnOutput, token_id: int) -> tuple[str, Finish | None]:
        if output._stop.stride == 77 and output.num_tokens >= after:
            monkeypatch.setattr(Detokenizer, "append", _raise)
        try:
            return append(output, token_id)
        finally:
            monkeypatch.setattr(Detokenizer, "append", made)

    monkeypatch.setattr(TurnOutput, "append", broken)
    from api.turns import Stop

    error = await fails_alone(driver, oracle("llama"), stop=Stop(12, at_eos=False, stride=77))
    assert str(error) == "broken"
    assert len(driver.output_ids("bad")) == after


async def test_a_token_that_cannot_be_matched_ends_its_turn(
    driver: Driver, oracle: Callable[[str], Oracle], monkeypatch: pytest.MonkeyPatch
) -> None:
    constraint = Regex("[a-z]{9}")
    await driver.engine.prepare(constraint)
    monkeypatch.setattr(GuidedMatcher, "accept", _raise)
    assert str(await fails_alone(driver, oracle("llama"), constraint=constraint)) == "broken"


async def test_a_token_outside_of_the_vocabulary_is_never_delivered(
    driver: Driver, oracle: Callable[[str], Oracle], monkeypatch: pytest.MonkeyPatch
) -> None:
    take = Turn.take

    def shifted(turn: Turn, token_id: int) -> tuple[str, Finish | None]:
        return take(turn, VOCAB if turn.turn_id == "bad" else token_id)

    monkeypatch.setattr(Turn, "take", shifted)
    error = await fails_alone(driver, oracle("llama"))
    assert str(error) == f"token {VOCAB} lies outside the model's vocabulary of {VOCAB}"
    assert driver.output_ids("bad") == []


async def test_an_admission_that_fails_changes_nothing(
    driver: Driver, oracle: Callable[[str], Oracle], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Detokenizer, "__init__", _raise)
    for is_temporary in (True, False):
        with pytest.raises(Broken):
            driver.begin("bad", prompt(7), is_temporary=is_temporary)
        driver.ids.pop("bad", None)
    monkeypatch.undo()
    driver.engine.check()
    residency = driver.engine.residency("bad")
    if residency is not None:
        driver.ids["bad"] = prompt(7)
        assert driver.engine.fork("bad", "other", 7, tokens_hash(prompt(7))).length == 7
    assert await driver.run("good", prompt(5), 12) == oracle("llama").greedy(prompt(5), 12)


def _raise(*arguments: object) -> None:
    raise Broken("broken")

"""Constrained turns: what comes out is what was asked for, and what ``generate`` would say under the same rule."""

from __future__ import annotations

import asyncio
import json
import re
import threading
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import torch

from actors.engine.constraints import grammars
from actors.engine.constraints.grammars import Grammars
from actors.engine.constraints.guided import GuidedGrammar
from actors.engine.constraints.matcher import GuidedMatcher
from actors.engine.text.tokenizer import Tokenizer
from actors.engine.text.vocabulary import Vocabulary
from api.constraints import Choice, Constraint, Grammar, JsonSchema, Regex
from api.errors import InvalidRequest
from api.http.openai.formats import any_object
from api.turns import Finish, Sampling, Stop
from tests.actors.engine.checkpoints import Oracle
from tests.actors.engine.driver import Driver, TorchDriver, prompt, start_engine

EOS = 2
READABLE = {chr(code) for code in range(32, 127)}
OPTIONS = ("maybe", "no", "not now", "yes", "Schöne Grüße")
SCHEMA = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "maxLength": 6},
        "mood": {"enum": ["good", "bad", None]},
        "tags": {"type": "array", "items": {"type": "integer", "minimum": -20, "maximum": 300}, "maxItems": 3},
        "is_new": {"type": "boolean"},
    },
    "required": ["name", "mood", "tags"],
    "additionalProperties": False,
}


@pytest.fixture(scope="module")
def tokenizer(checkpoint: Callable[[str], Path]) -> Tokenizer:
    """That of the tiny Llama."""
    return Tokenizer.load(checkpoint("llama"))


def warm(seed: int) -> Sampling:
    return Sampling(temperature=2.0, seed=seed)


async def constrained(driver: Driver, context_id: str, constraint: Constraint, **others: Any) -> str:
    """The text of a turn of at most 120 tokens."""
    await driver.engine.prepare(constraint)
    stop = others.pop("stop", Stop(max_tokens=120))
    await driver.run(context_id, prompt(6), constraint=constraint, stop=stop, **others)
    return driver.text(context_id)


@pytest.mark.parametrize("seed", range(4))
async def test_json_parses_under_its_schema(seed: int, driver: Driver) -> None:
    text = await constrained(driver, "context", JsonSchema(json.dumps(SCHEMA)), sampling=warm(seed))
    jsonschema.validate(json.loads(text), SCHEMA)
    assert driver.finish_of("context").reason == "stop"


async def test_any_object_is_json_with_whatever_names_and_depth(driver: Driver, tokenizer: Tokenizer) -> None:
    closing = tuple(
        (i, 4.0) for i in range(3, 384) if tokenizer.decode([i], skip_special_tokens=False) in ("}", "]", '"')
    )
    found: list[dict[str, Any]] = []
    for seed in range(6):
        pushed = Sampling(temperature=1.0, seed=seed, logit_bias=closing)
        text = await constrained(driver, f"{seed}", any_object(), sampling=pushed, stop=Stop(max_tokens=250))
        if driver.finish_of(f"{seed}").reason == "stop":
            found.append(json.loads(text))
    assert any(found)
    assert all(isinstance(value, dict) for value in found)


async def test_json_has_no_control_characters_however_likely_they_are(driver: Driver, tokenizer: Tokenizer) -> None:
    vocabulary = Vocabulary(tokenizer)
    controls = [id for id in range(len(tokenizer.backend)) if any(byte < 32 for byte in vocabulary.token_bytes(id))]
    assert controls
    pushed = Sampling(temperature=1.0, seed=1, logit_bias=tuple((id, 50.0) for id in controls))
    text = await constrained(driver, "context", JsonSchema(json.dumps(SCHEMA)), sampling=pushed)
    jsonschema.validate(json.loads(text), SCHEMA)


@pytest.mark.parametrize("pattern", ["[a-z]{3,5}-[0-9]+x", "(ab|cd)*x", "[^\\n]{4} .?", "\\d{4}(-\\d{2}){2}", "é|ü"])
async def test_a_regular_expression_matches_the_whole_text(pattern: str, driver: Driver, tokenizer: Tokenizer) -> None:
    readable = tuple(i for i in range(3, 384) if not set(tokenizer.decode([i], skip_special_tokens=False)) - READABLE)
    for seed in range(3):
        allowed = (EOS, *readable) if pattern.isascii() else None
        text = await constrained(driver, f"{seed}", Regex(pattern), sampling=warm(seed), allowed_tokens=allowed)
        assert re.fullmatch(pattern, text), text


async def test_a_grammar_holds_its_text(driver: Driver) -> None:
    sums = Grammar('root ::= number ("+" number)* "="\nnumber ::= [1-9] [0-9]?')
    text = await constrained(driver, "context", sums, sampling=warm(1))
    assert re.fullmatch(r"[1-9]\d?(\+[1-9]\d?)*=", text)
    assert driver.finish_of("context").reason == "stop"


def following(tokenizer: Tokenizer, options: Sequence[str]) -> Callable[[int, int, torch.Tensor], list[int]]:
    """Tokens that can follow some output, found by spelling every token; what ``generate`` is told."""
    encoded = [option.encode() for option in options]
    spell = Vocabulary(tokenizer).token_bytes

    def allowed(num_before: int, _: int, ids: torch.Tensor) -> list[int]:
        text = b"".join(spell(int(token_id)) for token_id in ids[num_before:])
        found = [i for i in range(3, 384) if any(option.startswith(text + spell(i)) for option in encoded)]
        return [*found, EOS] if text in encoded else found

    return allowed


async def test_greedy_tokens_are_those_of_generate_under_the_same_rule(
    driver: Driver, oracle: Callable[[str], Oracle], tokenizer: Tokenizer
) -> None:
    allowed = following(tokenizer, OPTIONS)
    await driver.engine.prepare(Choice(OPTIONS))
    for seed in range(3):
        ids = prompt(7, seed=seed)
        driver.begin(f"{seed}", ids, constraint=Choice(OPTIONS), stop=Stop(max_tokens=30))
    driver.begin("free", prompt(9), 8)
    await driver.finish("free", *(f"{seed}" for seed in range(3)))
    for seed in range(3):
        ids = prompt(7, seed=seed)
        follows = partial(allowed, len(ids))
        expected = oracle("llama").greedy(ids, 30, eos_token_id=EOS, prefix_allowed_tokens_fn=follows)
        found = driver.output_ids(f"{seed}")
        assert expected[: len(found)] == found
        assert expected[len(found) :] in ([], [EOS])
        assert driver.text(f"{seed}") in OPTIONS
    assert driver.output_ids("free") == oracle("llama").greedy(prompt(9), 8)


async def test_a_choice_of_single_tokens_is_the_likeliest(
    driver: Driver, oracle: Callable[[str], Oracle], tokenizer: Tokenizer
) -> None:
    ids = [tokenizer.encode(letter)[0] for letter in "AQZ7%"]
    scores = oracle("llama").logits(prompt(6))[-1][ids]
    assert await constrained(driver, "context", Choice(tuple("AQZ7%"))) == "AQZ7%"[int(scores.argmax())]


async def test_an_end_of_text_token_comes_only_where_the_text_may_end(driver: Driver) -> None:
    eager = Sampling(logit_bias=((EOS, 100.0),))
    for at_eos in (True, False):
        name = f"at_eos {at_eos}"
        stop = Stop(max_tokens=20, at_eos=at_eos)
        text = await constrained(driver, name, Regex("ab[0-9]*"), sampling=eager, stop=stop)
        assert text == "ab"
        assert driver.output_ids(name)[-1] == EOS
        assert driver.finish_of(name).reason == "eos"


async def test_without_end_of_text_a_turn_ends_where_nothing_can_follow(driver: Driver) -> None:
    assert await constrained(driver, "context", Regex("abc")) == "abc"
    assert driver.finish_of("context") == Finish("stop")
    assert EOS not in driver.output_ids("context")


async def test_a_limit_cuts_the_text_and_the_constraints_end_goes_before_it(driver: Driver) -> None:
    await constrained(driver, "cut", Regex("[a-c]{9}"), stop=Stop(max_tokens=2))
    assert driver.finish_of("cut").reason == "length"
    num_tokens = len(driver.output_ids("cut"))
    await constrained(driver, "whole", Regex("[a-c]"), stop=Stop(max_tokens=1))
    assert (num_tokens, driver.finish_of("whole").reason) == (2, "stop")


async def test_a_turn_taken_up_again_goes_on_within_its_constraint(driver: Driver) -> None:
    constraint = JsonSchema(json.dumps(SCHEMA))
    await constrained(driver, "whole", constraint, sampling=warm(3))
    ids = driver.output_ids("whole")
    for number in (1, len(ids) // 2, len(ids)):
        name = f"after {number}"
        tokens = [*prompt(6), *ids[:number]]
        stop = Stop(max_tokens=120)
        driver.begin(name, tokens, constraint=constraint, sampling=warm(3), stop=stop, num_prior_output=number)
        await driver.finish(name)
        assert ids[:number] + driver.output_ids(name) == ids
        assert driver.finish_of(name).reason == "stop"
    with pytest.raises(InvalidRequest, match="not what its constraint allows"):
        driver.begin("other", [*prompt(6), EOS], constraint=constraint, num_prior_output=1)
    assert driver.engine.residency("other") is None


@pytest.mark.parametrize(
    ("constraint", "sentence"),
    [
        (Regex("(abc"), "the regular expression cannot be used: .*unterminated subpattern"),
        (Regex("(?=a)b"), "the regular expression cannot be used: .*lookaround is not supported"),
        (JsonSchema("{"), "the JSON schema cannot be used: "),
        (JsonSchema('{"type": "objct"}'), 'the JSON schema cannot be used: "type" must be one of array, .* string'),
        (Grammar('root ::= "a" b'), 'the grammar cannot be used: .*Rule "b" is not defined'),
        (Grammar('start ::= "a"'), "the grammar cannot be used: .*root"),
    ],
)
async def test_what_cannot_be_compiled_is_refused_in_a_sentence(
    constraint: Constraint, sentence: str, driver: Driver
) -> None:
    with pytest.raises(InvalidRequest, match=sentence) as refused:
        await driver.engine.prepare(constraint)
    assert "\n" not in str(refused.value)
    assert "/" not in str(refused.value)


@pytest.mark.parametrize(
    "make", [lambda: Choice(()), lambda: Choice(("a", "")), lambda: Regex(""), lambda: Regex("\ud83d")]
)
def test_a_constraint_that_says_nothing_is_refused(make: Callable[[], Constraint]) -> None:
    with pytest.raises(InvalidRequest):
        make()
    with pytest.raises(InvalidRequest, match="65536 characters"):
        Regex("a" * 65_537)


async def test_where_no_token_can_follow_the_turn_fails_alone(driver: Driver) -> None:
    driver.begin("other", prompt(4), 6)
    await driver.engine.prepare(Regex("x+"))
    driver.begin("stuck", prompt(6), constraint=Regex("x+"), allowed_tokens=(7,), sampling=warm(1))
    await driver.finish("stuck", "other")
    error = driver.outputs["stuck"][-1].error
    assert isinstance(error, InvalidRequest)
    assert "allowed to follow" in str(error)
    assert len(driver.output_ids("other")) == 6


class SlowCompiler:
    """Stands for a grammar that takes long: compiles when it is let."""

    def __init__(self) -> None:
        self.go_on = threading.Event()
        self.num_compiled = 0

    def compile(self, constraint: Constraint) -> GuidedGrammar:
        assert self.go_on.wait(10)
        self.num_compiled += 1
        return GuidedGrammar(None, (), 0)


async def test_other_turns_go_on_while_a_constraint_is_compiled_once_for_all_who_wait(
    torch_driver: TorchDriver, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow = SlowCompiler()
    monkeypatch.setattr(Grammars, "_compile", lambda _, constraint: slow.compile(constraint))
    preparing = [asyncio.create_task(torch_driver.engine.prepare(Regex("a+"))) for _ in range(3)]
    assert len(await torch_driver.run("other", prompt(4), 6)) == 6
    assert not any(task.done() for task in preparing)
    slow.go_on.set()
    await asyncio.gather(*preparing)
    await torch_driver.engine.prepare(Regex("a+"))
    assert slow.num_compiled == 1


async def test_only_the_last_grammars_are_remembered(
    checkpoint: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(grammars, "_MAX_COMPILED", 2)
    engine = await start_engine(checkpoint("llama"))
    driver = Driver(engine)
    for number in range(4):
        assert await constrained(driver, f"{number}", Regex(f"{number}")) == f"{number}"
    held: Grammars = engine._grammars
    assert list(held._compiled) == [Regex("2"), Regex("3")]
    driver.begin("again", prompt(6), constraint=Regex("0"), stop=Stop(max_tokens=9))
    await driver.finish("again")
    assert driver.text("again") == "0"
    await engine.stop()


async def test_a_grammar_that_contradicts_itself_ends_its_own_turn_only(
    torch_driver: TorchDriver, monkeypatch: pytest.MonkeyPatch
) -> None:
    await torch_driver.engine.prepare(Regex("a{9}"))
    monkeypatch.setattr(GuidedMatcher, "accept", lambda *_: False)
    torch_driver.begin("contradicted", prompt(6), constraint=Regex("a{9}"))
    torch_driver.begin("other", prompt(4), 6)
    await torch_driver.finish("contradicted", "other")
    assert str(torch_driver.outputs["contradicted"][-1].error) == "the turn's constraint contradicts itself"
    assert torch_driver.engine.residency("contradicted") == torch_driver.residency(6, 6)
    assert len(torch_driver.output_ids("other")) == 6

"""Turns with tools: whatever a model draws, its calls are calls of these tools, with valid arguments."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import pytest_asyncio

from actors.engine.constraints import guided
from actors.engine.constraints.answers import AnswerConstraint, constraint_of
from actors.engine.text.tokenizer import Tokenizer
from api.answers.events import AnswerEvent, ArgumentsDelta, CallBegun, CallEnded, TextDelta
from api.answers.formats import CALL_FORMATS, AnswerFormat
from api.answers.parser import AnswerParser
from api.constraints import Grammar, Regex
from api.errors import InvalidRequest, Unsupported
from api.tools import Tool, ToolChoice
from api.turns import Message, Sampling, Stop, TurnRequest
from deployments.config import embedded_model
from tests.actors.engine.constraints.random_schemas import random_schema_text
from tests.actors.engine.driver import Driver, TorchDriver, prompt, start_engine

OPEN, CLOSE = 300, 301
"""Tokens of the tiny model that are declared marks."""
MARKS = {OPEN: "<tool_call>", CLOSE: "</tool_call>"}
AS_TOKENS = AnswerFormat(CALL_FORMATS["hermes"], mark_ids=(("<tool_call>", OPEN), ("</tool_call>", CLOSE)))
AS_TEXT = AnswerFormat(CALL_FORMATS["hermes"])
WEATHER = Tool(
    "get_weather",
    parameters='{"type": "object", "properties": {"city": {"type": "string", "maxLength": 5}}, "required": ["city"]}',
)
TIME = Tool("get_time", parameters='{"type": "object", "properties": {"in_utc": {"type": "boolean"}}}')
TOOLS = (WEATHER, TIME)
AUTO, REQUIRED = ToolChoice(), ToolChoice("required")


def held_to(format: AnswerFormat, tools: Sequence[Tool], choice: ToolChoice = AUTO, **others: Any) -> AnswerConstraint:
    """What a turn with these tools is held to."""
    constraint = constraint_of(TurnRequest("t", (), tools=tuple(tools), tool_choice=choice, **others), format)
    assert isinstance(constraint, AnswerConstraint)
    return constraint


def warm(seed: int, **others: Any) -> Sampling:
    return Sampling(temperature=1.5, seed=seed, **others)


async def answer(driver: Driver, context_id: str, constraint: AnswerConstraint, **others: Any) -> Answer:
    """A turn of at most 150 tokens."""
    await driver.engine.prepare(constraint)
    prior = others.pop("prior", ())
    tokens = [*prompt(6), *prior]
    stop = others.pop("stop", Stop(max_tokens=150))
    await driver.run(context_id, tokens, constraint=constraint, stop=stop, num_prior_output=len(prior), **others)
    return Answer.of(driver, context_id, constraint.format, prior)


class Answer:
    """The text and the calls of a turn; ``calls`` has a complete one's arguments as a value, else None."""

    def __init__(self, events: Sequence[AnswerEvent], reason: str, ids: Sequence[int] = ()) -> None:
        self.reason, self.ids = reason, list(ids)
        self.text = "".join(event.text for event in events if isinstance(event, TextDelta))
        ended = {event.index for event in events if isinstance(event, CallEnded)}
        self.calls: list[tuple[str, Any]] = []
        for begun in (event for event in events if isinstance(event, CallBegun)):
            written = (event for event in events if isinstance(event, ArgumentsDelta) and event.index == begun.index)
            text = "".join(event.text for event in written)
            self.calls.append((begun.name, json.loads(text) if begun.index in ended else None))

    @classmethod
    def of(
        cls,
        driver: Driver,
        turn_id: str,
        format: AnswerFormat,
        prior: Sequence[int] = (),
        texts: Mapping[int, str] = MARKS,
    ) -> Answer:
        """What a turn wrote, after these tokens; ``texts`` of those and of the marks, by default the tiny model's."""
        parser = AnswerParser(format)
        events = [event for token_id in prior for event in parser.token(token_id, texts[token_id])]
        for output in driver.outputs[turn_id]:
            for token_id, piece in zip(output.ids, output.pieces, strict=True):
                events += parser.token(token_id, texts[token_id] if format.mark_ids and token_id in texts else piece)
        finish = driver.finish_of(turn_id)
        return cls([*events, *parser.finish(finish.tail)], finish.reason, driver.output_ids(turn_id))

    def check(self, tools: Sequence[Tool]) -> None:
        """That its complete calls are valid, and that none is incomplete unless the turn was cut short."""
        schemas = {tool.name: json.loads(tool.parameters) for tool in tools}
        for name, arguments in self.calls:
            if arguments is None:
                assert self.reason == "length"
            else:
                validator = jsonschema.Draft202012Validator
                validator(schemas[name], format_checker=validator.FORMAT_CHECKER).validate(arguments)


@pytest.mark.parametrize("format", [AS_TOKENS, AS_TEXT], ids=["tokens", "text"])
async def test_a_required_call_is_the_whole_answer(format: AnswerFormat, driver: Driver) -> None:
    for seed in range(3):
        found = await answer(driver, f"{seed}", held_to(format, TOOLS, REQUIRED), sampling=warm(seed))
        found.check(TOOLS)
        assert found.calls
        assert not found.text


@pytest.mark.parametrize("format", [AS_TOKENS, AS_TEXT], ids=["tokens", "text"])
async def test_a_named_tool_is_called_once_where_calls_are_not_parallel(format: AnswerFormat, driver: Driver) -> None:
    constraint = held_to(format, TOOLS, ToolChoice.of("get_time"), parallel_tool_calls=False)
    for seed in range(3):
        found = await answer(driver, f"{seed}", constraint, sampling=warm(seed))
        found.check(TOOLS)
        assert [name for name, _ in found.calls] == ["get_time"]
        assert found.reason == "stop"


async def test_where_the_model_opens_a_call_the_answer_is_held_to_the_tools(driver: Driver) -> None:
    constraint = held_to(AS_TOKENS, TOOLS)
    pushed = warm(1, logit_bias=((OPEN, 100.0),))
    found = await answer(driver, "pushed", constraint, sampling=pushed, stop=Stop(max_tokens=200))
    found.check(TOOLS)
    assert found.ids[0] == OPEN
    assert found.calls
    for seed in range(3):
        found = await answer(driver, f"prior {seed}", constraint, sampling=warm(seed), prior=(OPEN,))
        found.check(TOOLS)
        assert found.calls


async def test_several_calls_are_made_where_the_model_goes_on(
    driver: Driver, checkpoint: Callable[[str], Path]
) -> None:
    """What stands between two calls is pushed, so that a call follows another."""
    (newline,) = Tokenizer.load(checkpoint("llama")).encode("\n")
    pushed = warm(1, logit_bias=((OPEN, 60.0), (CLOSE, 60.0), (newline, 50.0)))
    found = await answer(driver, "many", held_to(AS_TOKENS, [TIME], REQUIRED), sampling=pushed, stop=Stop(200))
    found.check(TOOLS)
    assert len(found.calls) > 1
    once = held_to(AS_TOKENS, [TIME], REQUIRED, parallel_tool_calls=False)
    assert len((await answer(driver, "one", once, sampling=pushed)).calls) == 1


async def test_where_tools_are_not_to_be_called_the_mark_is_not_drawn(driver: Driver) -> None:
    pushed = warm(1, logit_bias=((OPEN, 100.0),))
    constraint = held_to(AS_TOKENS, TOOLS, ToolChoice("none"))
    found = await answer(driver, "none", constraint, sampling=pushed, stop=Stop(20))
    assert OPEN not in found.ids


async def test_text_beside_tools_is_held_to_its_own_constraint(driver: Driver) -> None:
    constraint = held_to(AS_TOKENS, TOOLS, constraint=Regex("yes|no"))
    quiet = warm(1, logit_bias=((OPEN, -100.0),))
    assert (await answer(driver, "text", constraint, sampling=quiet)).text in ("yes", "no")
    found = await answer(driver, "call", constraint, sampling=warm(1, logit_bias=((OPEN, 100.0),)))
    found.check(TOOLS)
    assert found.calls
    assert not found.text


UNHELD = Tool("f", parameters='{"type": "object", "properties": {"a": {"not": {"type": "null"}, "type": "boolean"}}}')


async def test_what_no_grammar_holds_is_named_or_refused(torch_driver: TorchDriver) -> None:
    prepare = torch_driver.engine.prepare
    assert await prepare(held_to(AS_TOKENS, [WEATHER, UNHELD])) == ("tool 'f': \"not\" is not supported",)
    assert await prepare(held_to(AS_TOKENS, TOOLS)) == ()
    found = await answer(torch_driver, "f", held_to(AS_TOKENS, [UNHELD]), sampling=warm(1), prior=(OPEN,))
    assert all(isinstance(arguments.get("a", True), bool) for _, arguments in found.calls)
    for refused in (
        held_to(AS_TOKENS, [WEATHER, UNHELD], REQUIRED),
        held_to(AS_TOKENS, [WEATHER, replace(UNHELD, strict=True)]),
    ):
        with pytest.raises(InvalidRequest, match="the parameters of tool 'f': \"not\" is not supported"):
            await prepare(refused)


async def test_a_schema_of_which_nothing_can_be_held_leaves_an_object(torch_driver: TorchDriver) -> None:
    either = '{"type": "object", "properties": {"a": {"oneOf": [{"type": "integer"}, {"type": "number"}]}}}'
    tool = Tool("f", parameters=either)
    (reason,) = await torch_driver.engine.prepare(held_to(AS_TOKENS, [tool]))
    assert reason.startswith("of tool 'f': \"oneOf\" is supported where")
    found = await answer(torch_driver, "f", held_to(AS_TOKENS, [tool]), sampling=warm(2), prior=(OPEN,))
    assert all(arguments is None or isinstance(arguments, dict) for _, arguments in found.calls)


async def test_hostile_schemas_are_refused_in_time_and_reasons_are_few(
    torch_driver: TorchDriver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(guided, "_MAX_SEARCH_S", 1.0)
    levels = {f"a{i}": {"allOf": [{"anyOf": [{"$ref": f"#/$defs/a{i + 1}"}] * 2}] * 2} for i in range(20)}
    bomb = json.dumps({"type": "object", "$defs": levels | {"a20": {}}, "properties": {"a": {"$ref": "#/$defs/a0"}}})
    with pytest.raises(InvalidRequest, match="the tools cannot be used: their schemas take too long to compile"):
        await torch_driver.engine.prepare(held_to(AS_TOKENS, [Tool(f"t{i}", parameters=bomb) for i in range(80)]))
    refused: dict[str, Any] = {f"p{i}": {"not": {}} if i % 2 else {"format": f"f{i}"} for i in range(80)}
    schema = json.dumps({"type": "object", "properties": refused})
    reasons = await torch_driver.engine.prepare(held_to(AS_TOKENS, [Tool("f", parameters=schema)]))
    assert len(reasons) == 17
    assert reasons[-1] == "and 25 more"


def test_a_grammar_is_refused_beside_tools_that_may_be_called() -> None:
    request = TurnRequest("t", (), tools=TOOLS, constraint=Grammar('root ::= "a"'))
    with pytest.raises(Unsupported, match="a grammar is not supported beside tools"):
        constraint_of(request, AS_TOKENS)
    with pytest.raises(Unsupported, match="this model has no tools"):
        constraint_of(request, AnswerFormat())


@pytest_asyncio.fixture(loop_scope="session")
async def pocket() -> AsyncIterator[TorchDriver]:
    """The embedded model."""
    engine = await start_engine(Path(embedded_model()), kv_cache_bytes=256 << 20, block_size=16, max_running=32)
    yield TorchDriver(engine, max_context=2048)
    await engine.stop()


async def test_a_model_that_opens_no_call_answers_as_if_there_were_no_tools(pocket: TorchDriver) -> None:
    tokenizer = Tokenizer.load(Path(embedded_model()))
    for number, question in enumerate(("Hello!", "My name is Ada. What is my name?", "What is 12 + 30?", "Was ist 3?")):
        asked = tokenizer.encode_prompt([Message("user", question)], [])
        plain = await pocket.run(f"plain {number}", asked, stop=Stop(40))
        constraint = held_to(tokenizer.answers, TOOLS)
        await pocket.engine.prepare(constraint)
        assert await pocket.run(f"{number}", asked, stop=Stop(40), constraint=constraint) == plain
        assert pocket.finish_of(f"{number}") == pocket.finish_of(f"plain {number}")


AUTO_PREFIX = '<tool_call>{"name": "'


@pytest.mark.timeout(600)
@pytest.mark.parametrize("num_turns", [25, pytest.param(100, marks=pytest.mark.slow)])
@pytest.mark.parametrize("mode", ["required", "auto"])
async def test_arguments_are_valid_under_random_schemas(mode: str, num_turns: int, pocket: TorchDriver) -> None:
    """Two tools each; of the embedded model, whose marks are tokens. In "auto" the call's opening is there."""
    tokenizer = Tokenizer.load(Path(embedded_model()))
    prior = tokenizer.encode(AUTO_PREFIX) if mode == "auto" else []
    asked = tokenizer.encode_prompt([Message("user", "What is the weather?")], [])
    tools = {
        f"{seed}": tuple(Tool(name, parameters=random_schema_text(2 * seed + n)) for n, name in enumerate(("a", "b/2")))
        for seed in range(num_turns)
    }
    for turn_id, offered in tools.items():
        choice = REQUIRED if mode == "required" else AUTO
        constraint = held_to(tokenizer.answers, offered, choice)
        await pocket.engine.prepare(constraint)
        pocket.begin(
            turn_id, [*asked, *prior], constraint=constraint, stop=Stop(200), sampling=warm(int(turn_id)),
            num_prior_output=len(prior),
        )  # fmt: skip
    await pocket.finish(*tools)
    num_complete = 0
    texts = {token_id: tokenizer.decode([token_id], skip_special_tokens=False) for token_id in prior}
    for turn_id, offered in tools.items():
        found = Answer.of(pocket, turn_id, tokenizer.answers, prior, texts)
        found.check(offered)
        num_complete += any(arguments is not None for _, arguments in found.calls)
    assert num_complete > num_turns * 0.8

"""What any server that speaks the protocol must do: HTTP sessions."""

from __future__ import annotations

import asyncio
import re

from tests.api.http.petals.client import PetalsClient, answer_of, num_tokens_in

NOWHERE = "0123456789abcdef" * 2


async def case_a_session_has_32_hex_digits_and_can_be_closed(client: PetalsClient) -> None:
    session_id = await client.open()
    assert re.fullmatch(r"[0-9a-f]{32}", session_id)
    closed = await client.get("close_inference_session", session_id=session_id)
    assert closed == {"ok": True, "session_id": session_id}
    answer = await client.generate(inputs="Hello", max_new_tokens="2", session_id=session_id)
    assert answer["traceback"].splitlines()[-1] == (
        f"""KeyError: "Session '{session_id}' expired or does not exist\""""
    )


async def case_closing_what_is_not_there_is_fine(client: PetalsClient) -> None:
    for session_id in (NOWHERE, "no id at all", ""):
        closed = await client.get("close_inference_session", session_id=session_id)
        assert closed == {"ok": True, "session_id": session_id}
    assert await client.get("close_inference_session") == {"ok": True, "session_id": None}


async def case_an_unknown_session_is_a_key_error_that_clients_recognise(client: PetalsClient) -> None:
    for session_id in (NOWHERE, "nonsense", ""):
        answer = await client.generate(inputs="Hello", max_new_tokens="2", session_id=session_id)
        assert re.search(r"Session .+ expired", answer["traceback"])
        assert answer["traceback"].startswith("KeyError")


async def case_an_open_with_a_wrong_model_or_length_is_an_error(client: PetalsClient) -> None:
    assert (await client.get("open_inference_session", model="nope"))["traceback"] == "KeyError: 'nope'"
    for max_length in ("", "long", "0", "-4"):
        assert (await client.get("open_inference_session", max_length=max_length))["ok"] is False
    assert re.fullmatch(r"[0-9a-f]{32}", await client.open(model=client.model, max_length="64"))


async def case_a_session_goes_on_where_it_was(client: PetalsClient) -> None:
    session_id, text = await client.open(max_length="256"), "Count with me: one, two, three,"
    parts = [await client.generate(session_id=session_id, inputs=text, max_new_tokens="1")]
    parts += [await client.generate(session_id=session_id, max_new_tokens="1") for _ in range(3)]
    whole = await client.generate(inputs=text, max_new_tokens="4")
    assert "".join(part["outputs"] for part in parts).startswith(whole["outputs"])


async def case_a_fresh_session_without_inputs_begins_with_the_beginning_of_text(client: PetalsClient) -> None:
    session_id = await client.open(max_length="64")
    first = await client.generate(session_id=session_id, max_new_tokens="1")
    second = await client.generate(session_id=session_id, max_new_tokens="1")
    assert first["outputs"].startswith(client.bos_text)
    assert not second["outputs"].startswith(client.bos_text)


async def case_another_model_than_the_sessions_is_an_error(client: PetalsClient) -> None:
    session_id = await client.open(max_length="64")
    same = await client.generate(session_id=session_id, inputs="Hello", max_new_tokens="1", model=client.model)
    assert same["ok"]
    other = await client.generate(session_id=session_id, inputs="Hello", max_new_tokens="1", model="nope")
    assert other["traceback"] == "KeyError: 'nope'"


async def case_after_an_error_a_session_is_as_before_the_call(client: PetalsClient) -> None:
    text, more = "Count with me: one, two, three,", " and so on, and so on, and so on"
    num_inputs = await num_tokens_in(client, text)
    session_id, untouched = await client.open(max_length=str(num_inputs + 3)), await client.open(max_length="999")
    await _must_exceed(client, session_id, inputs=10 * text, max_new_tokens="1")
    for one in (session_id, untouched):
        assert (await client.generate(session_id=one, inputs=text, max_new_tokens="1"))["ok"]
    await _must_exceed(client, session_id, inputs=more, max_new_tokens="1")
    for parameters in ({"max_new_tokens": "0"}, {"max_length": "2"}, {"max_new_tokens": "x"}, {"inputs": ""}):
        assert (await client.generate(session_id=session_id, **parameters))["ok"] is False
    expected = await client.generate(session_id=untouched, max_new_tokens="2")
    assert expected["ok"]
    assert await client.generate(session_id=session_id, max_new_tokens="2") == expected


async def case_a_length_inside_a_session_counts_all_of_it(client: PetalsClient) -> None:
    text = "Hello there"
    num_inputs = await num_tokens_in(client, text)
    first, second = [await client.open(max_length="128") for _ in range(2)]
    for session_id in (first, second):
        await client.generate(session_id=session_id, inputs=text, max_new_tokens="1")
    expected = await client.generate(session_id=first, inputs=text, max_new_tokens="3")
    by_length = await client.generate(session_id=second, inputs=text, max_length=str(2 * num_inputs + 4))
    assert by_length == expected
    both = await client.generate(session_id=second, inputs=text, max_length="1", max_new_tokens="1")
    assert both["ok"]


async def case_calls_on_one_session_run_one_after_another(client: PetalsClient) -> None:
    session_id = await client.open(max_length="512")
    call = {"session_id": session_id, "inputs": " and", "max_new_tokens": "3"}
    answers = await asyncio.gather(*(client.generate(**call) for _ in range(5)))
    assert [answer["ok"] for answer in answers] == [True] * 5


async def case_a_session_call_is_read_from_query_form_and_json(client: PetalsClient) -> None:
    outputs = []
    for where in ("params", "data", "json"):
        call = {"session_id": await client.open(), "inputs": "Hello there", "max_new_tokens": 2}
        request = client.http.build_request("POST", "/api/v1/generate", **{where: call})  # type: ignore[arg-type]
        outputs.append(answer_of(await client.http.send(request))["outputs"])
    assert outputs == [outputs[0]] * 3


async def _must_exceed(client: PetalsClient, session_id: str, **call: str) -> None:
    answer = await client.generate(session_id=session_id, **call)
    assert re.search(
        r"Maximum length exceeded: prefix \d+ \+ current \d+ exceeds pre-allocated maximum \d+", answer["traceback"]
    )

from __future__ import annotations

import asyncio
import re
from dataclasses import replace

import pytest

from api.errors import CapacityExhausted, Unavailable
from api.settings import ApiKey, ApiSettings, PetalsSettings
from api.turns import BeginningOfText, Finish, Sampling, Text
from tests.api import toy_model
from tests.api.fake_cluster import TOY, FakeCluster
from tests.api.http.petals.client import PetalsClient
from tests.api.http.petals.toy_server import continuation, only_session, toy_calls, toy_client

KEYS = ApiSettings(
    api_keys=(
        ApiKey.model_validate({"key": "key-of-ada", "owner": "ada"}),
        ApiKey.model_validate({"key": "key-of-bob", "owner": "bob"}),
    )
)
ADA, BOB = {"Authorization": "Bearer key-of-ada"}, {"Authorization": "bearer key-of-bob"}


async def said(answer: str, **call: str) -> object:
    """The outputs when the model says this."""
    cluster = FakeCluster()
    cluster.model = toy_model.says(answer)
    async with toy_calls(cluster) as client:
        return (await client.generate(**{"inputs": "Q"} | call))["outputs"]


async def test_the_text_is_only_what_is_new_with_its_leading_space_and_its_end_of_text() -> None:
    assert await said(" hi</s>never", max_new_tokens="9") == " hi</s>"


async def test_a_cut_inside_a_character_gives_a_replacement_character() -> None:
    assert await said("é🙂", max_new_tokens="4") == "é\ufffd"


async def test_without_inputs_the_beginning_of_text_is_echoed() -> None:
    assert await said("abc", max_new_tokens="2", inputs="<s>") == "ab"
    cluster = FakeCluster()
    async with toy_calls(cluster) as client:
        answer = await client.generate(max_length="3")
    assert answer["outputs"] == "<s>" + continuation([toy_model.BOS], 2)
    assert cluster.turns[0].request.prompt == (BeginningOfText(),)


async def test_a_session_says_what_one_long_call_would() -> None:
    async with toy_calls(FakeCluster()) as client:
        session_id = await client.open()
        first = await client.generate(session_id=session_id, inputs="Q", max_new_tokens="3")
        second = await client.generate(session_id=session_id, inputs="R", max_new_tokens="3")
    assert first["outputs"] == continuation([ord("Q")], 3)
    assert second["outputs"] == continuation(list(toy_model.encode("Q" + first["outputs"] + "R")), 3)


async def test_what_was_asked_for_reaches_the_engine() -> None:
    cluster = FakeCluster()
    async with toy_calls(cluster) as client:
        call = {"inputs": "<s>Q", "max_new_tokens": "3"}
        await client.generate(**call, temperature="0.5", top_k="7", repetition_penalty="1.5")
        await client.generate(**call, do_sample="1", temperature="0.5", top_k="7", top_p="0.25")
        await client.generate(**call, do_sample="2", top_k="9999", top_p="1e9")
    greedy, warm, plain = [turn.request for turn in cluster.turns]
    assert greedy.sampling == Sampling(repetition_penalty=1.5)
    assert warm.sampling == Sampling(temperature=0.5, top_k=7, top_p=0.25)
    assert plain.sampling == Sampling(temperature=1.0)
    assert greedy.prompt == (Text("<s>Q"),)
    assert greedy.skip_special_tokens is False


async def test_a_session_is_an_ordinary_one_of_the_cluster() -> None:
    cluster = FakeCluster()
    async with toy_calls(cluster, ApiSettings(petals=PetalsSettings(idle_timeout_s=7))) as client:
        await client.open()
        await client.open(max_length="99999", model="other")
    first, second = cluster.open_sessions.values()
    assert (first.options.max_context, first.options.idle_timeout_s) == (1024, 7)
    assert (second.options.max_context, second.info.name) == (TOY.max_context_tokens, "other")


async def test_another_model_than_the_sessions_is_an_error_and_an_alias_is_not() -> None:
    async with toy_calls(FakeCluster()) as client:
        call = {"session_id": await client.open(), "inputs": "Q", "max_new_tokens": "1"}
        assert (await client.generate(**call, model="other"))["ok"] is False
        assert (await client.generate(**call, model="toy-latest"))["ok"] is True


@pytest.mark.parametrize("max_cluster", [2, 100])
async def test_too_many_sessions_are_refused_until_one_closes(max_cluster: int) -> None:
    settings = ApiSettings(petals=PetalsSettings(max_sessions=2))
    async with toy_calls(FakeCluster(max_sessions=max_cluster), settings) as client:
        session_id, _ = await client.open(), await client.open()
        assert (await client.get("open_inference_session"))["traceback"] == (
            "RuntimeError: Too many opened inference sessions (max 2), please come back later"
        )
        await client.get("close_inference_session", session_id=session_id)
        assert await client.open()


async def test_errors_carry_the_code_of_the_error_tree() -> None:
    cluster = FakeCluster(replace(TOY, max_context_tokens=50))
    async with toy_calls(cluster) as client:
        for call, code in (
            ({"max_new_tokens": "x"}, "invalid_request"),
            ({"max_new_tokens": "9999"}, "length_exceeded"),
            ({"model": "nope"}, "model_not_found"),
            ({"session_id": "nope"}, "session_not_found"),
        ):
            response = await client.http.post("/api/v1/generate", data={"inputs": "Q", "max_new_tokens": "1"} | call)
            assert (response.status_code, response.headers["x-greenroom-error"]) == (200, code)
        for refusal, text in ((CapacityExhausted(), "attention cache is full"), (Unavailable("no actor"), "no actor")):
            cluster.refusal = refusal
            response = await client.http.post("/api/v1/generate", data={"inputs": "Q", "max_new_tokens": "1"})
            assert (response.status_code, response.headers["retry-after"]) == (200, "1")
            assert response.headers["x-greenroom-error"] == refusal.code
            assert text in response.json()["traceback"]


async def test_while_no_actor_has_told_what_the_model_is_callers_are_told_to_try_again() -> None:
    cluster = FakeCluster(replace(TOY, max_context_tokens=0, vocab_size=0, eos_ids=(), num_ready=0))
    async with toy_client(cluster) as client:
        for response in (
            await client.http.post("/api/v1/generate", data={"inputs": "Q", "max_new_tokens": "1"}),
            await client.http.get("/api/v1/open_inference_session"),
        ):
            assert (response.status_code, response.headers["retry-after"]) == (200, "1")
            assert response.headers["x-greenroom-error"] == "unavailable"
            traceback = response.json()["traceback"]
            assert traceback == "RuntimeError: no actor of model 'toy' can answer now; try again in 1 s"
        async with client.connect() as socket:
            assert await socket.failure(type="open_inference_session") == traceback


async def test_a_bug_is_told_in_one_sentence_without_its_inside(caplog: pytest.LogCaptureFixture) -> None:
    cluster = FakeCluster()

    def broken(context: object) -> int:
        raise ZeroDivisionError("secret of the inside")

    cluster.model = broken
    async with toy_calls(cluster) as client:
        answer = await client.generate(inputs="Q", max_new_tokens="1")
    assert answer["traceback"].startswith("RuntimeError: ")
    assert "secret" not in answer["traceback"]
    assert "secret of the inside" in caplog.text


async def test_a_call_that_does_not_fit_leaves_the_session_as_it_was() -> None:
    cluster = FakeCluster()
    async with toy_calls(cluster) as client:
        call = {"session_id": await client.open(max_length="6"), "max_new_tokens": "4"}
        session = only_session(cluster)
        answer = await client.generate(**call, inputs="abcd")
        assert answer["traceback"] == (
            "ValueError: Maximum length exceeded: prefix 6 + current 1 exceeds pre-allocated maximum 6"
        )
        assert session.ids == []
        await client.generate(**call | {"max_new_tokens": "2"}, inputs="abcd")
        before = list(session.ids)
        answer = await client.generate(**call, inputs="Q")
        assert answer["traceback"] == (
            "ValueError: Maximum length exceeded: prefix 5 + current 2 exceeds pre-allocated maximum 6"
        )
        assert session.ids == before
        assert (await client.generate(**call | {"max_new_tokens": "1"}))["ok"]
        assert len(session.ids) == 7


async def test_calls_queue_and_one_that_fails_is_undone_before_the_next() -> None:
    cluster = FakeCluster()
    cluster.pace.hold()
    async with toy_calls(cluster) as client:
        call = {"session_id": await client.open(max_length="8")}
        texts = (("abc", "2"), ("d", "9"), ("e", "2"))
        pending = [
            asyncio.create_task(client.generate(**call, inputs=text, max_new_tokens=number)) for text, number in texts
        ]
        await cluster.begun.acquire()
        cluster.pace.release()
        answers = await asyncio.gather(*pending)
    assert [answer["ok"] for answer in answers] == [True, False, True]
    kept = toy_model.encode("abc" + answers[0]["outputs"] + "e" + answers[2]["outputs"])
    assert only_session(cluster).ids == list(kept)


async def test_a_session_that_expires_while_a_call_runs_is_told() -> None:
    cluster = FakeCluster()
    cluster.pace.hold()
    async with toy_calls(cluster) as client:
        session_id = await client.open()
        pending = asyncio.create_task(client.generate(session_id=session_id, inputs="Q", max_new_tokens="3"))
        await cluster.begun.acquire()
        await only_session(cluster).close()
        assert re.search(r"Session .+ expired", (await pending)["traceback"])


async def test_a_client_that_leaves_cancels_its_call() -> None:
    cluster = FakeCluster()
    cluster.pace.hold()
    async with toy_client(cluster) as client:
        await _leave(cluster, client, inputs="Q", max_new_tokens="3")
        async with asyncio.timeout(30):
            await cluster.turns[0].ended.wait()
    assert cluster.turns[0].finish == Finish("cancelled")


async def test_a_client_that_leaves_finds_its_session_as_before_the_call() -> None:
    cluster = FakeCluster()
    async with toy_client(cluster) as client:
        session_id = await client.open()
        await client.generate(session_id=session_id, inputs="Q", max_new_tokens="1")
        before, session = list(only_session(cluster).ids), only_session(cluster)
        await cluster.begun.acquire()
        cluster.pace.hold()
        await _leave(cluster, client, session_id=session_id, inputs="R", max_new_tokens="3")
        cluster.pace.release()
        again = await client.generate(session_id=session_id, inputs="R", max_new_tokens="2")
    assert session.ids == [*before, ord("R"), *toy_model.encode(again["outputs"])]


async def _leave(cluster: FakeCluster, client: PetalsClient, **call: str) -> None:
    """Make a call, and close its connection when its turn has begun."""
    pending = asyncio.create_task(client.generate(**call))
    await cluster.begun.acquire()
    pending.cancel()
    with pytest.raises(asyncio.CancelledError):
        await pending


async def test_each_key_sees_only_its_owners_sessions() -> None:
    cluster = FakeCluster()
    async with toy_calls(cluster, KEYS) as client:
        client.http.headers.update(ADA)
        session_id = await client.open()
        assert only_session(cluster).owner == "ada"
        client.http.headers.update(BOB)
        answer = await client.generate(session_id=session_id, inputs="Q", max_new_tokens="1")
        assert re.search(r"Session .+ expired", answer["traceback"])
        await client.get("close_inference_session", session_id=session_id)
        assert cluster.open_sessions
        client.http.headers.update(ADA)
        assert (await client.generate(session_id=session_id, inputs="Q", max_new_tokens="1"))["ok"]


async def test_a_missing_or_wrong_key_is_401_in_both_forms() -> None:
    async with toy_calls(FakeCluster(), KEYS) as client:
        for headers in ({}, {"Authorization": "Bearer key-of-eve"}, {"Authorization": "Basic key-of-ada"}):
            for method, path in (("POST", "generate"), ("GET", "open_inference_session")):
                response = await client.http.request(method, f"/api/v1/{path}", headers=headers)
                assert response.status_code == 401
                assert response.headers["www-authenticate"] == "Bearer"
                assert response.json()["traceback"].startswith("PermissionError: ")


async def test_a_body_that_is_too_large_is_413_and_a_prompt_an_error_of_the_protocol() -> None:
    async with toy_calls(FakeCluster(), ApiSettings(max_body_bytes=1024, max_prompt_chars=100)) as client:
        for body in ({"data": {"inputs": 2000 * "Q"}}, {"files": {"inputs": (None, 2000 * "Q")}}):
            assert (await client.http.post("/api/v1/generate", **body)).status_code == 413
        answer = await client.generate(inputs=101 * "Q", max_new_tokens="1")
        assert "100 characters" in answer["traceback"]

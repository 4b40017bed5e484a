from __future__ import annotations

from api.errors import LengthExceeded
from api.turns import Sampling
from tests.api import toy_model
from tests.api.fake_cluster import FakeCluster, FakeSession
from tests.api.http.petals.client import NEVER, text_of
from tests.api.http.petals.toy_server import continuation, only_session, toy_client


async def says(answer: str, **call: object) -> tuple[list[tuple[str, int]], FakeSession]:
    """The (text, token count) of each message when the model says this, and the session behind it."""
    cluster = FakeCluster()
    cluster.model = toy_model.says(answer)
    async with toy_client(cluster) as client, client.session() as socket:
        messages = await socket.generate(**{"inputs": "Q"} | call)
        text_of(messages)
        return [(message["outputs"], message["token_count"]) for message in messages], only_session(cluster)


async def test_chunks_are_sent_until_the_text_ends_with_the_stop() -> None:
    messages, _ = await says("ab.cd.", max_new_tokens=2, stop_sequence=".")
    assert messages == [("ab", 2), (".c", 2), ("d.", 2)]


async def test_a_stop_is_tested_on_the_text_of_this_request_only() -> None:
    messages, _ = await says("yabxy", inputs="x", max_new_tokens=1, stop_sequence="xy")
    assert "".join(text for text, _ in messages) == "yabxy"


async def test_an_end_of_text_ends_its_chunk_early_and_not_the_rest() -> None:
    messages, _ = await says("a</s>bcdef.", max_new_tokens=3, stop_sequence=".")
    assert messages == [("a</s>", 2), ("bcd", 3), ("ef.", 3)]


async def test_an_end_of_text_ends_an_answer_without_a_stop_and_is_in_its_text() -> None:
    messages, session = await says("Hi</s>never", max_new_tokens=9)
    assert messages == [("Hi</s>", 3)]
    assert session.ids[-1] == toy_model.EOS


async def test_an_end_of_text_may_be_the_stop() -> None:
    messages, _ = await says("Hello</s>never", max_new_tokens=4, stop_sequence="</s>")
    assert messages == [("Hell", 4), ("o</s>", 2)]


async def test_a_chunk_that_ends_inside_a_character_is_sent_with_the_next() -> None:
    messages, _ = await says("é🙂z.", max_new_tokens=1, stop_sequence=".")
    assert messages == [("é", 2), ("🙂", 4), ("z", 1), (".", 1)]


async def test_a_forced_stop_sends_a_cut_character_as_it_is() -> None:
    messages, _ = await says("a🙂", max_new_tokens=3, stop_sequence="")
    assert messages == [("a\ufffd", 3)]
    messages, _ = await says("a🙂", max_new_tokens=3)
    assert messages == [("a\ufffd", 3)]


async def test_an_extra_stop_is_replaced_by_the_stop_token() -> None:
    call = {"max_new_tokens": 1, "stop_sequence": "###", "extra_stop_sequences": ["</s>", "bye"]}
    for answer in ("so bye", "so</s>"):
        messages, session = await says(answer, **call)
        assert "".join(text for text, _ in messages) == answer
        assert session.ids == [*toy_model.encode("Q" + answer)[:-1], toy_model.MARK]
    messages, session = await says("so###", **call)
    assert session.ids == list(toy_model.encode("Qso###"))


async def test_a_stop_of_several_tokens_replaces_an_extra_stop_whole() -> None:
    call = {"max_new_tokens": 1, "stop_sequence": "\n\nHuman:", "extra_stop_sequences": ["</s>", "."]}
    for answer in ("so.", "so</s>"):
        messages, session = await says(answer, **call)
        assert "".join(text for text, _ in messages) == answer
        assert sum(count for _, count in messages) == len(toy_model.encode(answer))
        assert session.ids == list(toy_model.encode("Qso\n\nHuman:"))


async def test_a_stop_of_several_tokens_is_cut_at_the_sessions_end() -> None:
    cluster = FakeCluster()
    cluster.model = toy_model.says("ab.")
    async with toy_client(cluster) as client, client.session(max_length=5) as socket:
        call = {"max_new_tokens": 1, "stop_sequence": "12345", "extra_stop_sequences": ["."]}
        assert text_of(await socket.generate(inputs="Q", **call)) == "ab."
        assert only_session(cluster).ids == list(toy_model.encode("Qab123"))
        assert (
            await socket.failure(type="generate", inputs="R", max_new_tokens=1)
            == f"ValueError: {LengthExceeded(5, 2, 5)}"
        )


async def test_the_stops_tokens_count_for_the_next_call() -> None:
    cluster = FakeCluster()
    cluster.model = toy_model.says("ab.")
    async with toy_client(cluster) as client, client.session(max_length=8) as socket:
        await socket.generate(inputs="Q", max_new_tokens=1, stop_sequence="--", extra_stop_sequences=["."])
        cluster.model = toy_model.letters
        messages = await socket.generate(inputs="R", max_new_tokens=3)
        assert text_of(messages) == continuation(list(toy_model.encode("Qab--R")), 3)
        failure = await socket.failure(type="generate", inputs="RS", max_new_tokens=1)
        assert failure == f"ValueError: {LengthExceeded(8, 3, 8)}"


async def test_one_string_of_extra_stops_is_one_stop() -> None:
    messages, session = await says("abc.", max_new_tokens=1, stop_sequence="###", extra_stop_sequences="bc")
    assert messages == [("a", 1), ("b", 1), ("c", 1)]
    assert session.ids == list(toy_model.encode("Qab###"))


async def test_an_extra_stop_counts_at_the_end_of_the_one_chunk_that_a_length_makes() -> None:
    messages, session = await says("abcd.", max_length=6, stop_sequence="###", extra_stop_sequences=["."])
    assert messages == [("abcd.", 5)]
    assert session.ids == list(toy_model.encode("Qabcd###"))


async def test_the_session_goes_on_from_the_replaced_token() -> None:
    cluster = FakeCluster()
    cluster.model = toy_model.says("ab.")
    async with toy_client(cluster) as client, client.session() as socket:
        await socket.generate(inputs="Q", max_new_tokens=1, stop_sequence="###", extra_stop_sequences=["."])
        cluster.model = toy_model.letters
        messages = await socket.generate(inputs="R", max_new_tokens=3)
        assert text_of(messages) == continuation(list(toy_model.encode("Qab###R")), 3)


async def test_a_full_last_chunk_is_sent_before_the_error() -> None:
    cluster = FakeCluster()
    async with toy_client(cluster) as client, client.session(max_length=5) as socket:
        messages = await socket.generate(inputs="Q", max_new_tokens=2, stop_sequence=NEVER)
    assert [message["token_count"] for message in messages[:-1]] == [2, 2]
    assert messages[-1]["traceback"] == f"ValueError: {LengthExceeded(5, 1, 5)}"


async def test_what_was_asked_for_reaches_the_engine() -> None:
    cluster = FakeCluster()
    async with toy_client(cluster) as client, client.session(max_length=99) as socket:
        call = {"inputs": "Q", "max_new_tokens": 1, "repetition_penalty": 1.3, "top_k": 9, "top_p": 0.5}
        await socket.generate(**call)
        await socket.generate(**call, do_sample=True)
        await socket.generate(**call | {"top_k": 0, "top_p": 7.0}, do_sample=1, temperature=2)
    greedy, plain, warm = [turn.request for turn in cluster.turns]
    assert greedy.sampling == Sampling(repetition_penalty=1.3)
    assert plain.sampling == Sampling(temperature=1.0, top_k=9, top_p=0.5, repetition_penalty=1.3)
    assert warm.sampling == Sampling(temperature=2.0, repetition_penalty=1.3)
    assert {request.max_context for request in (greedy, plain, warm)} == {99}

"""What any server that speaks the protocol must do: the WebSocket."""

from __future__ import annotations

import json

from tests.api.http.petals.client import NEVER, PetalsClient, num_tokens_in, num_tokens_of, text_of

TEXT = "Count with me: one, two, three,"


async def case_an_answer_in_one_piece(client: PetalsClient) -> None:
    async with client.session(max_length=128, model=client.model) as socket:
        messages = await socket.generate(inputs=TEXT, max_new_tokens=4)
    assert len(messages) == 1
    assert 1 <= messages[0]["token_count"] <= 4
    assert text_of(messages) == (await client.generate(inputs=TEXT, max_new_tokens="4"))["outputs"]


async def case_model_and_length_may_be_left_out_or_null_and_other_fields_are_ignored(client: PetalsClient) -> None:
    absent = dict.fromkeys(
        ("do_sample", "temperature", "top_k", "top_p", "repetition_penalty", "stop_sequence", "extra_stop_sequences")
    )
    answers = []
    for opening, extra in (
        ({}, {}),
        ({"model": None, "max_length": None, "x": 1}, absent | {"max_length": None, "y": 2}),
    ):
        async with client.session(**opening) as socket:
            answers.append(text_of(await socket.generate(inputs=TEXT, max_new_tokens=2, **extra)))
            answers.append(text_of(await socket.generate(inputs=None, max_new_tokens=2)))
    assert answers[:2] == answers[2:]


async def case_frames_may_be_binary(client: PetalsClient) -> None:
    async with client.connect() as socket:
        await socket.connection.send(json.dumps({"type": "open_inference_session", "max_length": 64}).encode())
        assert await socket.receive() == {"ok": True}
        await socket.connection.send(json.dumps({"type": "generate", "inputs": "Grüße", "max_new_tokens": 2}).encode())
        assert text_of(await socket.rest())


async def case_an_unknown_model_is_a_key_error(client: PetalsClient) -> None:
    async with client.connect() as socket:
        assert await socket.failure(type="open_inference_session", model="nope") == "KeyError: 'nope'"


async def case_the_first_message_must_open_a_session(client: PetalsClient) -> None:
    for fields in ({"type": "generate", "inputs": "x"}, {"type": "typing"}, {"type": "cancel"}, {"inputs": "x"}):
        async with client.connect() as socket:
            assert "open_inference_session" in await socket.failure(**fields)


async def case_later_messages_must_generate(client: PetalsClient) -> None:
    for fields in ({"type": "open_inference_session"}, {"type": "sing"}, {"type": 5}, {"inputs": "x"}):
        async with client.session() as socket:
            assert "'generate'" in await socket.failure(**fields)


async def case_what_is_no_json_object_is_an_error(client: PetalsClient) -> None:
    for data in ("{", "", "[]", "null", '"generate"', b"\xff", b"{}\xff", "[" * 50_000):
        async with client.session() as socket:
            await socket.connection.send(data)
            assert await socket.failure()


async def case_types_are_strict(client: PetalsClient) -> None:
    for name, values in (
        ("inputs", (5, True, ["x"], {})),
        ("do_sample", ("1", "true", [])),
        ("temperature", ("0.5", True, [0.5])),
        ("top_p", ("0.5", False)),
        ("repetition_penalty", ("1.2", True)),
        ("top_k", ("5", True, 5.5)),
        ("max_new_tokens", ("5", True, 5.5)),
        ("max_length", ("5", True)),
        ("stop_sequence", (5, True, ["x"])),
        ("extra_stop_sequences", (5, [5], {"x": 1})),
    ):
        for value in values:
            async with client.session() as socket:
                call = {"type": "generate", "inputs": TEXT, "max_new_tokens": 2} | {name: value}
                assert name in await socket.failure(**call)


async def case_integers_do_for_floats_and_numbers_for_do_sample(client: PetalsClient) -> None:
    async with client.session() as socket:
        for call in ({"do_sample": 1, "temperature": 1}, {"do_sample": 0.5, "top_p": 1}, {"do_sample": True}):
            assert (await socket.generate(inputs=TEXT, max_new_tokens=2, **call))[-1]["stop"] is True
        for call in ({"do_sample": 0, "temperature": 0}, {"do_sample": False, "temperature": -1}):
            assert (await socket.generate(inputs=TEXT, max_new_tokens=2, **call))[-1]["stop"] is True


async def case_values_have_limits(client: PetalsClient) -> None:
    for name, call in (
        ("temperature", {"do_sample": True, "temperature": 0}),
        ("temperature", {"do_sample": 1, "temperature": float("nan")}),
        ("top_k", {"top_k": -1}),
        ("top_p", {"top_p": -0.5}),
        ("repetition_penalty", {"repetition_penalty": 0}),
        ("max_new_tokens", {"max_new_tokens": 0}),
        ("max_new_tokens", {"max_new_tokens": -1}),
        ("inputs", {"inputs": ""}),
        ("max_length", {"max_new_tokens": None, "max_length": 1}),
    ):
        async with client.session() as socket:
            assert name in await socket.failure(**{"type": "generate", "inputs": TEXT, "max_new_tokens": 2} | call)


async def case_the_sessions_length_is_looked_at_by_the_first_generate(client: PetalsClient) -> None:
    lengths: tuple[object, ...] = ("64", True, 6.5, [], -1, 0)
    for max_length in lengths:
        async with client.session(max_length=max_length) as socket:
            traceback = await socket.failure(type="generate", inputs=TEXT, max_new_tokens=1)
            assert "max_length" in traceback or "Maximum length exceeded: prefix 0 + " in traceback


async def case_a_session_goes_on_with_and_without_inputs(client: PetalsClient) -> None:
    async with client.session(max_length=256) as socket, client.session(max_length=256) as other:
        pieces = await socket.generate(inputs=TEXT, max_new_tokens=1, stop_sequence="")
        for _ in range(7):
            pieces += await socket.generate(max_new_tokens=1, stop_sequence="")
        whole = await other.generate(inputs=TEXT, max_new_tokens=8, stop_sequence="")
        assert num_tokens_of(pieces) == 8
        joined = "".join(piece["outputs"] for piece in pieces)
        assert "\ufffd" in joined or joined.startswith(text_of(whole))


async def case_a_fresh_session_without_inputs_echoes_and_counts_the_beginning_of_text(client: PetalsClient) -> None:
    async with client.session(max_length=64) as socket:
        messages = await socket.generate(max_new_tokens=1, stop_sequence="")
        assert text_of(messages).startswith(client.bos_text)
        assert num_tokens_of(messages) == 2
        more = await socket.generate(max_new_tokens=1, stop_sequence="")
        assert num_tokens_of(more) == 1


async def case_a_session_of_length_n_holds_n_plus_one_tokens(client: PetalsClient) -> None:
    num_inputs = await num_tokens_in(client, TEXT)
    async with client.session(max_length=num_inputs + 4) as socket:
        messages = await socket.generate(inputs=TEXT, max_new_tokens=1, stop_sequence=NEVER)
        assert messages[-1]["ok"] is False
        limit = num_inputs + 4
        assert messages[-1]["traceback"].splitlines()[-1] == (
            f"ValueError: Maximum length exceeded: prefix {limit} + current 1 exceeds pre-allocated maximum {limit}"
        )
        assert num_tokens_of(messages) == 5
        assert await socket.close_code() == 1000


async def case_the_pending_token_and_the_inputs_enter_together(client: PetalsClient) -> None:
    num_inputs = await num_tokens_in(client, TEXT)
    limit = 2 * num_inputs
    async with client.session(max_length=limit) as socket:
        assert num_tokens_of(await socket.generate(inputs=TEXT, max_new_tokens=1, stop_sequence="")) == 1
        assert await socket.failure(type="generate", inputs=TEXT, max_new_tokens=1) == (
            f"ValueError: Maximum length exceeded: prefix {num_inputs} + current {num_inputs + 1} "
            f"exceeds pre-allocated maximum {limit}"
        )
    async with client.session(max_length=limit + 1) as socket:
        assert num_tokens_of(await socket.generate(inputs=TEXT, max_new_tokens=1, stop_sequence="")) == 1
        assert (await socket.generate(inputs=TEXT, max_new_tokens=1))[-1]["stop"] is True


async def case_an_answer_in_one_piece_that_does_not_fit_is_not_delivered(client: PetalsClient) -> None:
    num_inputs = await num_tokens_in(client, TEXT)
    async with client.session(max_length=num_inputs) as socket:
        messages = await socket.generate(inputs=TEXT, max_new_tokens=1)
        assert messages[0]["ok"]
        assert "Maximum length exceeded" in await socket.failure(type="generate", inputs=TEXT, max_new_tokens=9)


async def case_a_length_inside_a_generate_counts_the_whole_session(client: PetalsClient) -> None:
    num_inputs = await num_tokens_in(client, TEXT)
    async with client.session(max_length=512) as socket, client.session(max_length=512) as other:
        for one in (socket, other):
            await one.generate(inputs=TEXT, max_new_tokens=1, stop_sequence="")
        expected = await other.generate(inputs=TEXT, max_new_tokens=3)
        answer = await socket.generate(inputs=TEXT, max_length=2 * num_inputs + 4)
        assert answer == expected
        traceback = await socket.failure(type="generate", inputs=TEXT, max_length=2 * num_inputs + 4)
        assert f"max_length {2 * num_inputs + 4} leaves no room" in traceback


async def case_with_neither_length_twenty_tokens_in_all(client: PetalsClient) -> None:
    num_inputs = await num_tokens_in(client, "Hello")
    async with client.session(max_length=512) as socket, client.session(max_length=512) as other:
        expected = await other.generate(inputs="Hello", max_new_tokens=20 - num_inputs)
        assert await socket.generate(inputs="Hello") == expected


async def case_with_only_a_length_a_stop_makes_no_chunks(client: PetalsClient) -> None:
    num_inputs = await num_tokens_in(client, TEXT)
    async with client.session(max_length=512) as socket:
        messages = await socket.generate(inputs=TEXT, max_length=num_inputs + 6, stop_sequence=NEVER)
        assert len(messages) == 1
        assert messages[0]["stop"] is True


async def case_an_empty_stop_ends_after_the_first_chunk(client: PetalsClient) -> None:
    async with client.session(max_length=512) as socket:
        messages = await socket.generate(inputs=TEXT, max_new_tokens=3, stop_sequence="")
        assert len(messages) == 1
        assert messages[0]["token_count"] <= 3


async def case_a_stop_ends_the_answer_and_is_in_its_text(client: PetalsClient) -> None:
    async with client.session(max_length=64) as socket:
        first = (await socket.generate(inputs=TEXT, max_new_tokens=2, stop_sequence=""))[0]
    if not first["outputs"] or "\ufffd" in first["outputs"]:
        return
    async with client.session(max_length=64) as socket:
        messages = await socket.generate(inputs=TEXT, max_new_tokens=2, stop_sequence=first["outputs"])
        assert messages == [first]


async def case_extra_stops_need_a_stop(client: PetalsClient) -> None:
    for stop_sequence in (None, ""):
        async with client.session() as socket:
            call = {"inputs": TEXT, "max_new_tokens": 1, "stop_sequence": stop_sequence, "extra_stop_sequences": ["a"]}
            assert "extra_stop_sequences require stop_sequence length to be exactly 1 token" in await socket.failure(
                type="generate", **call
            )
    async with client.session() as socket:
        assert text_of(await socket.generate(inputs=TEXT, max_new_tokens=1, extra_stop_sequences=[])) is not None


async def case_a_stop_of_several_tokens_takes_the_place_of_an_extra_stop(client: PetalsClient) -> None:
    stop = "\n\nHuman and machine:"
    async with client.session(max_length=256) as socket:
        first = (await socket.generate(inputs=TEXT, max_new_tokens=1, stop_sequence=""))[0]
    if not first["outputs"] or "\ufffd" in first["outputs"]:
        return
    num_prefix = await num_tokens_in(client, TEXT) + await num_tokens_in(client, stop) - 1
    limit = num_prefix + 1
    async with client.session(max_length=limit) as socket:
        extra = {"stop_sequence": stop, "extra_stop_sequences": first["outputs"]}
        assert await socket.generate(inputs=TEXT, max_new_tokens=1, **extra) == [first]
        num_current = 1 + await num_tokens_in(client, TEXT)
        assert await socket.failure(type="generate", inputs=TEXT, max_new_tokens=1) == (
            f"ValueError: Maximum length exceeded: prefix {num_prefix} + current {num_current} "
            f"exceeds pre-allocated maximum {limit}"
        )


async def case_messages_sent_without_waiting_are_served_in_order(client: PetalsClient) -> None:
    async with client.connect() as socket, client.session(max_length=512) as other:
        await socket.send(type="open_inference_session", max_length=512)
        for text in (TEXT, "Hello", " and"):
            await socket.send(type="generate", inputs=text, max_new_tokens=2)
        await socket.send(type="generate", inputs=7)
        await socket.send(type="generate", inputs=TEXT, max_new_tokens=2)
        assert await socket.receive() == {"ok": True}
        answers = [await socket.rest() for _ in range(3)]
        assert answers == [await other.generate(inputs=text, max_new_tokens=2) for text in (TEXT, "Hello", " and")]
        assert "inputs" in await socket.failure()


async def case_cancel_ends_what_runs_and_the_session_goes_on(client: PetalsClient) -> None:
    async with client.session(max_length=1000) as socket:
        await socket.send(type="generate", inputs=TEXT, max_new_tokens=1, stop_sequence=NEVER)
        messages = [await socket.receive()]
        await socket.send(type="cancel")
        messages += await socket.rest()
        assert text_of(messages)
        assert (await socket.generate(inputs=TEXT, max_new_tokens=2))[-1]["stop"] is True


async def case_cancel_and_typing_are_not_answered(client: PetalsClient) -> None:
    async with client.session(max_length=256) as socket, client.session(max_length=256) as other:
        await socket.send(type="cancel")
        await socket.send(type="typing")
        first = await socket.generate(inputs=TEXT, max_new_tokens=2)
        await socket.send(type="typing")
        await socket.send(type="cancel")
        second = await socket.generate(inputs=TEXT, max_new_tokens=2)
        assert [first, second] == [await other.generate(inputs=TEXT, max_new_tokens=2) for _ in range(2)]

"""What any server that speaks the protocol must do: POST /api/v1/generate without a session."""

from __future__ import annotations

from tests.api.http.petals.client import PetalsClient, answer_of, num_tokens_in

ONE_LENGTH = (
    "AssertionError: You should set `max_length` or `max_new_tokens` (but not both) "
    "to reserve server-side attention caches"
)


async def case_an_answer_is_ok_and_a_text(client: PetalsClient) -> None:
    answer = await client.generate(inputs="Hello there", max_new_tokens="4")
    assert answer == {"ok": True, "outputs": answer["outputs"]}
    assert isinstance(answer["outputs"], str)
    assert "Hello there" not in answer["outputs"]


async def case_parameters_come_in_the_query_a_form_or_json_and_the_query_wins(client: PetalsClient) -> None:
    path, expected = "/api/v1/generate", await client.generate(inputs="Hello there", max_new_tokens="4")
    parameters = {"inputs": "Hello there", "max_new_tokens": "4"}
    wrong = {"inputs": "Something else", "max_new_tokens": "many"}
    files = {name: (None, value) for name, value in parameters.items()}
    for response in (
        await client.http.post(path, params=parameters),
        await client.http.post(path, params=parameters, data=wrong),
        await client.http.post(path, params=parameters, json=wrong),
        await client.http.post(path, data=parameters),
        await client.http.post(path, files=files),
        await client.http.post(path, json={"inputs": "Hello there", "max_new_tokens": 4}),
        await client.http.post(path, json=parameters | {"do_sample": False, "temperature": None, "top_k": None}),
        await client.http.post(path, data=parameters | {"do_sample": "0", "something": "else"}),
        await client.http.post(path, data=parameters | {"do_sample": "False"}),
        await client.http.post(path, params=parameters | {"do_sample": "false"}),
    ):
        assert answer_of(response) == expected


async def case_text_is_utf8_in_every_form(client: PetalsClient) -> None:
    path, text = "/api/v1/generate", "Grüße, 世界 🙂"
    expected = await client.generate({"inputs": text, "max_new_tokens": "3"})
    form = f"max_new_tokens=3&inputs={text}".encode()
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    assert expected["ok"]
    assert answer_of(await client.http.post(path, content=form, headers=headers)) == expected
    assert answer_of(await client.http.post(path, json={"inputs": text, "max_new_tokens": 3})) == expected


async def case_the_default_model_is_the_first_and_its_name_works_too(client: PetalsClient) -> None:
    expected = await client.generate(inputs="Hello there", max_new_tokens="4")
    assert await client.generate(inputs="Hello there", max_new_tokens="4", model=client.model) == expected


async def case_an_unknown_model_is_a_key_error(client: PetalsClient) -> None:
    answer = await client.generate(inputs="Hello there", max_new_tokens="4", model="nope")
    assert answer["traceback"].splitlines()[-1] == "KeyError: 'nope'"


async def case_exactly_one_length_must_be_set(client: PetalsClient) -> None:
    for lengths in ({}, {"max_length": "40", "max_new_tokens": "4"}):
        answer = await client.generate(inputs="Hello there", **lengths)
        assert answer["traceback"].splitlines()[-1] == ONE_LENGTH


async def case_numbers_are_read_as_python_reads_them(client: PetalsClient) -> None:
    for name, value, error in (
        ("do_sample", "maybe", "ValueError: invalid literal for int() with base 10: 'maybe'"),
        ("do_sample", "", "ValueError: invalid literal for int() with base 10: ''"),
        ("max_new_tokens", "", "ValueError: invalid literal for int() with base 10: ''"),
        ("max_new_tokens", "4.0", "ValueError: invalid literal for int() with base 10: '4.0'"),
        ("top_k", "x", "ValueError: invalid literal for int() with base 10: 'x'"),
        ("temperature", "warm", "ValueError: could not convert string to float: 'warm'"),
        ("top_p", "", "ValueError: could not convert string to float: ''"),
        ("repetition_penalty", "much", "ValueError: could not convert string to float: 'much'"),
    ):
        answer = await client.generate(**{"inputs": "Hello there", "max_new_tokens": "4"} | {name: value})
        assert answer["traceback"].splitlines()[-1] == error


async def case_sampling_has_limits_and_the_error_names_the_parameter(client: PetalsClient) -> None:
    for name, value in (
        ("temperature", "0"),
        ("temperature", "-1"),
        ("temperature", "nan"),
        ("temperature", "inf"),
        ("top_k", "-1"),
        ("top_p", "-0.1"),
        ("top_p", "nan"),
        ("repetition_penalty", "0"),
        ("repetition_penalty", "-2"),
        ("repetition_penalty", "nan"),
        ("max_new_tokens", "0"),
        ("max_new_tokens", "-3"),
    ):
        parameters = {"inputs": "Hello there", "max_new_tokens": "4", "do_sample": "1"} | {name: value}
        assert name in (await client.generate(**parameters))["traceback"]


async def case_what_is_off_changes_nothing(client: PetalsClient) -> None:
    expected = await client.generate(inputs="Hello there", max_new_tokens="4")
    assert expected["ok"]
    for parameters in (
        {"temperature": "0"},
        {"temperature": "-1", "do_sample": "0"},
        {"repetition_penalty": "1"},
        {"do_sample": "1", "top_p": "0"},
        {"do_sample": "-1", "top_k": "1", "temperature": "0.5"},
        {"do_sample": "true", "temperature": "0.5"},
        {"do_sample": "False", "temperature": "-1"},
    ):
        assert await client.generate(inputs="Hello there", max_new_tokens="4", **parameters) == expected
    for parameters in ({"top_k": "0"}, {"top_p": "1.5"}, {"top_k": str(10**12)}, {}):
        assert (await client.generate(inputs="Hello there", max_new_tokens="4", do_sample="1", **parameters))["ok"]


async def case_empty_inputs_are_an_error(client: PetalsClient) -> None:
    assert "inputs" in (await client.generate(inputs="", max_new_tokens="4"))["traceback"]


async def case_max_length_counts_the_prompt(client: PetalsClient) -> None:
    text = "Hello there"
    num_inputs = await num_tokens_in(client, text)
    expected = await client.generate(inputs=text, max_new_tokens="5")
    assert await client.generate(inputs=text, max_length=str(num_inputs + 5)) == expected
    assert (await client.generate(inputs=text, max_length=str(num_inputs + 1)))["ok"]
    for too_short in (num_inputs, 1, 0, -7):
        answer = await client.generate(inputs=text, max_length=str(too_short))
        assert f"max_length {too_short} leaves no room" in answer["traceback"]


async def case_without_inputs_the_beginning_of_text_is_echoed_and_new_tokens_count_after_it(
    client: PetalsClient,
) -> None:
    answer = await client.generate(max_new_tokens="3")
    assert answer["outputs"].startswith(client.bos_text)
    assert len(answer["outputs"]) > len(client.bos_text)
    assert await client.generate(max_length="4") == answer
    after = await client.generate(inputs=client.bos_text, max_new_tokens="3")
    assert client.bos_text + after["outputs"] == answer["outputs"]


async def case_a_body_that_cannot_be_read_is_an_error_in_the_answer(client: PetalsClient) -> None:
    for content, kind in (
        (b"{", "application/json"),
        (b"[1]", "application/json"),
        (b'{"inputs": 5, "max_new_tokens": 1}', "application/json"),
        (b'{"inputs": "\\ud800", "max_new_tokens": 1}', "application/json"),
        (b'{"inputs": "x", "max_new_tokens": [1]}', "application/json"),
        (b'{"inputs": "x", "max_new_tokens": 1e999}', "application/json"),
        (b"\xff\xfe{", "application/json"),
        (b"[" * 100_000, "application/json"),
        (b"nothing of the kind", "multipart/form-data; boundary=x"),
        (b"nothing of the kind", "multipart/form-data"),
    ):
        response = await client.http.post("/api/v1/generate", content=content, headers={"Content-Type": kind})
        assert answer_of(response)["ok"] is False


async def case_wrong_methods_and_unknown_paths_have_their_status(client: PetalsClient) -> None:
    for method, path, status in (
        ("GET", "/api/v1/generate", 405),
        ("PUT", "/api/v1/generate", 405),
        ("POST", "/api/v1/open_inference_session", 405),
        ("HEAD", "/api/v1/open_inference_session", 405),
        ("DELETE", "/api/v1/close_inference_session", 405),
        ("POST", "/api/v1/generate/", 404),
        ("GET", "/api/v1/open_inference_session/", 404),
        ("POST", "/api/v2/generate", 404),
        ("GET", "/api/v3/anything", 404),
    ):
        assert (await client.http.request(method, path)).status_code == status, (method, path)


async def case_pages_of_its_own_origin_may_call_every_route_and_others_none(client: PetalsClient) -> None:
    for method, path in (
        ("POST", "/api/v1/generate"),
        ("GET", "/api/v1/generate"),
        ("GET", "/api/v1/close_inference_session"),
        ("GET", "/nowhere"),
        ("GET", "/healthz"),
    ):
        own = await client.http.request(method, path, headers={"Origin": client.base_url})
        assert own.status_code != 403
        crossed = await client.http.request(method, path, headers={"Origin": "https://a.example"})
        assert crossed.status_code == 403
        asked = {"Origin": "https://a.example", "Access-Control-Request-Method": method}
        preflight = await client.http.options(path, headers=asked | {"Access-Control-Request-Headers": "x-one, x-two"})
        assert preflight.status_code == 403
        for answer in (own, crossed, preflight):
            assert "access-control-allow-origin" not in answer.headers

from __future__ import annotations

from pathlib import Path

import pytest

from deployments.config import embedded_model
from deployments.failures import CommandFailed
from deployments.plan import Options, local_url, make_plan


def test_without_anything_said_the_embedded_model_is_served_on_this_machine_only() -> None:
    plan = make_plan(Options())
    assert [(model.name, model.path) for model in plan.config.models] == [("pocket", embedded_model())]
    assert (plan.host, plan.port, plan.asks_for) == ("127.0.0.1", 8000, frozenset())


def test_models_are_named_after_their_directories_or_as_said(tmp_path: Path) -> None:
    plan = make_plan(Options(models=("pocket", str(tmp_path / "llama"), f"mine={tmp_path}/x")))
    named = [(model.name, model.path) for model in plan.config.models]
    assert named == [
        ("pocket", embedded_model()),
        ("llama", str(tmp_path / "llama")),
        ("mine", str(tmp_path / "x")),
    ]


def test_aliases_are_further_names_of_the_default_model(tmp_path: Path) -> None:
    names = ("petals-team/StableBeluga2", "meta-llama/Llama-2-70b-chat-hf")
    assert make_plan(Options(aliases=names)).config.models[0].aliases == names
    file = tmp_path / "args.yaml"
    file.write_text("models: [{name: pocket, aliases: [tiny]}, {name: other, path: pocket}]\n")
    default, other = make_plan(Options(config=file, aliases=("tiny", "mine"))).config.models
    assert (default.aliases, other.aliases) == (("tiny", "mine"), ())
    with pytest.raises(CommandFailed, match="two models share a name or an alias"):
        make_plan(Options(config=file, aliases=("other",)))
    file.write_text("models: [pocket]\n")
    with pytest.raises(CommandFailed, match=r"models\.0"):
        make_plan(Options(config=file, aliases=("other",)))


def test_options_go_before_the_file(tmp_path: Path) -> None:
    file = tmp_path / "args.yaml"
    file.write_text("sessions: {pool_size: 5}\njournal: {path: /elsewhere/a.db, synchronous: NORMAL}\n")
    plan = make_plan(Options(config=file, journal=str(tmp_path / "b.db"), port=9000))
    assert plan.config.sessions.pool_size == 5
    assert (plan.config.journal.path, plan.config.journal.synchronous) == (str(tmp_path / "b.db"), "NORMAL")
    assert (plan.host, plan.port, plan.asks_for) == ("127.0.0.1", 9000, frozenset(["port"]))


def test_a_journal_in_a_database_is_named_without_a_password(tmp_path: Path) -> None:
    file = tmp_path / "args.yaml"
    file.write_text("journal: {path: /elsewhere/a.db}\n")
    url = "postgresql://ann@db:5433/greenroom"
    assert make_plan(Options(config=file, journal=url)).config.journal.place == url
    with pytest.raises(CommandFailed, match=r"put the password into ~/\.pgpass") as refused:
        make_plan(Options(journal="postgresql://ann:secret@db/greenroom"))
    assert "secret" not in str(refused.value)
    with pytest.raises(CommandFailed, match="put the password into"):
        make_plan(Options(journal="postgresql://ann@db/greenroom?password=secret"))
    with pytest.raises(CommandFailed, match="postgresql://user@host:port/database is expected"):
        make_plan(Options(journal="mysql://db/greenroom"))


def test_a_file_for_serve_gives_its_arguments_and_its_address(tmp_path: Path) -> None:
    file = tmp_path / "cluster.yaml"
    file.write_text(
        "http_options: {host: 0.0.0.0, port: 8123}\n"
        "proxy_location: HeadOnly\n"
        "logging_config: {enable_access_log: false}\n"
        "applications:\n"
        "- {name: other, import_path: other.app:build}\n"
        "- {name: greenroom, import_path: deployments.app:build, args: {num_gateways: 3}}\n"
    )
    plan = make_plan(Options(config=file))
    assert plan.config.num_gateways == 3
    assert (plan.host, plan.port) == ("0.0.0.0", 8123)
    assert plan.logging == {"enable_access_log": False}


def test_an_option_goes_before_the_address_of_the_arguments_and_that_before_the_one_for_a_proxy(tmp_path: Path) -> None:
    file = tmp_path / "cluster.yaml"
    file.write_text(
        "http_options: {host: 0.0.0.0, port: 8123}\n"
        "applications: [{import_path: 'deployments.app:build', args: {listen: {host: 10.0.0.7, port: 8124}}}]\n"
    )
    plan = make_plan(Options(config=file, port=8125))
    assert (plan.host, plan.port, plan.asks_for) == ("10.0.0.7", 8125, frozenset(["host", "port"]))


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("models: [", "is not YAML: expected the node content, but found '<stream end>', line 1"),
        ("- 1\n", "holds no settings, but a list"),
        ("sessions: {pool_size: many}", "sessions.pool_size: input should be a valid integer"),
        ("modells: []", "modells: no such setting"),
        ("models: []", "models: tuple should have at least 1 item after validation, not 0"),
        ("models: [{name: a, engine: steam}]", "models.0.engine: input should be 'auto', 'torch' or 'vllm'"),
        ("models: [{name: a}, {name: b, aliases: [a]}]", "two models share a name or an alias"),
        ("applications: []", "one application with import_path deployments.app:build is needed, there are 0"),
        (
            "applications: [{import_path: 'deployments.app:build', deployments: []}]",
            "this does not heed deployments: use `serve deploy`",
        ),
        (
            "{http_options: {ssl_keyfile: key.pem}, applications: [{import_path: 'deployments.app:build'}]}",
            "this does not heed http_options.ssl_keyfile: use `serve deploy`",
        ),
    ],
)
def test_a_wrong_file_is_told_in_one_sentence(tmp_path: Path, content: str, sentence: str) -> None:
    file = tmp_path / "args.yaml"
    file.write_text(content)
    with pytest.raises(CommandFailed) as failure:
        make_plan(Options(config=file))
    assert str(failure.value).startswith(str(file))
    assert sentence in str(failure.value)
    assert "\n" not in str(failure.value)


def test_only_the_first_problems_of_many_are_told() -> None:
    with pytest.raises(
        CommandFailed, match=r"^models.0.engine: .*; models.1.engine: .*; models.2.engine: .*; and 2 more$"
    ):
        make_plan(Options(models=("a=a", "b=b", "c=c", "d=d", "e=e"), engine="steam"))


def test_a_file_that_is_not_there_and_a_model_without_a_name_are_refused() -> None:
    with pytest.raises(CommandFailed, match="nowhere.yaml cannot be read: No such file"):
        make_plan(Options(config=Path("nowhere.yaml")))
    with pytest.raises(
        CommandFailed, match="--model =x: say pocket, a directory, a GGUF file, ORG/NAME, or NAME=any of them"
    ):
        make_plan(Options(models=("=x",)))


def test_a_server_that_listens_everywhere_is_reached_on_the_loopback() -> None:
    assert local_url("0.0.0.0", 80) == "http://127.0.0.1:80"
    assert local_url("::", 80) == "http://[::1]:80"
    assert local_url("10.0.0.7", 80) == "http://10.0.0.7:80"


@pytest.mark.parametrize(
    ("http", "sentence"),
    [
        ("8000", "http_options: input should be a valid dictionary"),
        ("{port: many}", "http_options.port: input should be a number from 1 to 65535"),
        ("{port: 99999}", "http_options.port: input should be a number from 1 to 65535"),
        ("{host: 3}", "http_options.host: input should be a name or an address"),
    ],
)
def test_where_a_file_says_to_listen_must_be_a_place(tmp_path: Path, http: str, sentence: str) -> None:
    file = tmp_path / "serve.yaml"
    file.write_text(f"http_options: {http}\napplications: [{{import_path: 'deployments.app:build', args: {{}}}}]")
    with pytest.raises(CommandFailed, match=f"^{file}: {sentence}$"):
        make_plan(Options(config=file))


@pytest.mark.parametrize("path", ["~nobodyknows/x", "a\0b"])
def test_what_is_no_path_is_refused(path: str) -> None:
    with pytest.raises(CommandFailed, match="is no path: "):
        make_plan(Options(models=[path]))
    with pytest.raises(CommandFailed, match="is no path: "):
        make_plan(Options(journal=path))

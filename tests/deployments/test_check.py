"""``greenroom check``: what it takes, what it refuses, and how it says so."""

from __future__ import annotations

from pathlib import Path

import pytest

from deployments.cli import main

ROOT = Path(__file__).parents[2]


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    captured = capsys.readouterr()
    return int(ended.value.code or 0), captured.out, captured.err


def test_the_annotated_file_can_be_deployed(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = run(capsys, "check", str(ROOT / "cluster.yaml"))
    assert (code, err) == (0, "")
    assert "can be deployed with `greenroom deploy`: models pocket; no API keys; 127.0.0.1:8000" in out


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        ("path: pocket", "path: /nowhere", "model 'pocket': there is no directory /nowhere"),
        ("pool_size: 2", "pool_size: two", "sessions.pool_size: input should be a valid integer"),
        ("proxy_location:", "proxy_locations:", "proxy_locations: no such setting"),
        (
            "proxy_location: Disabled",
            "proxy_location: Everywhere",
            "proxy_location: input should be 'Disabled', 'HeadOnly' or 'EveryNode'",
        ),
        ("  port: 8000", "  port: high", "listen.port: input should be a valid integer"),
    ],
)
def test_a_wrong_file_is_refused_in_one_sentence(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, old: str, new: str, sentence: str
) -> None:
    file = tmp_path / "cluster.yaml"
    text = (ROOT / "cluster.yaml").read_text()
    assert old in text
    file.write_text(text.replace(old, new))
    for command in ("check", "deploy"):
        code, out, err = run(capsys, command, str(file))
        assert (code, out) == (1, "")
        assert err.startswith("greenroom: ")
        assert err.count("\n") == 1
        assert sentence in err


OVERLAID = """
    deployments:
      - name: Gateway
        user_config: {api: {max_sockets: 7}}
      - name: Model-pocket
        num_replicas: 2
        user_config: {aliases: [tiny]}
"""


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        ("", "", ""),
        (
            "api: {max_sockets: 7}",
            "models: [{name: a}]",
            "deployments: Gateway: user_config: models: say it of Model-po",
        ),
        ("max_sockets: 7", "max_sockets: many", "deployments: Gateway: user_config: api.max_sockets: input should be"),
        (
            "{aliases: [tiny]}",
            "{path: /elsewhere}",
            "deployments: Model-pocket: user_config: path: cannot change in place",
        ),
        ("{aliases: [tiny]}", "{adapters: {a: /nowhere}}", "adapter"),
        (
            "Model-pocket",
            "Model-large",
            "deployments: Model-large: there is no such deployment, but Gateway, Model-pocket",
        ),
    ],
)
def test_what_is_laid_over_the_arguments_is_checked_too(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, old: str, new: str, sentence: str
) -> None:
    file = tmp_path / "cluster.yaml"
    overlaid = (ROOT / "cluster.yaml").read_text() + OVERLAID
    file.write_text(overlaid.replace(old, new) if old else overlaid)
    code, out, err = run(capsys, "check", str(file))
    assert (code, sentence in err) == (1 if sentence else 0, True)
    assert err.count("\n") == (1 if sentence else 0)
    if not sentence:
        assert "can be deployed with `serve deploy`" in out

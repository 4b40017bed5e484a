"""Models of the hub, through the real ``huggingface_hub`` from a small hub of this machine."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.actors.engine.hub_client import ask
from tests.hub import Hub, serve_hub

WEIGHTS = "model.safetensors"


@pytest.fixture
def hub() -> Iterator[Hub]:
    with serve_hub() as hub:
        yield hub


@pytest.fixture
def model(checkpoint: Callable[[str], Path], tmp_path: Path) -> Path:
    """A repository with more in it than is needed, some of which could run."""
    path = tmp_path / "repository"
    shutil.copytree(checkpoint("llama"), path)
    for name in (
        "pytorch_model.bin",
        "modeling_mine.py",
        "consolidated.safetensors",
        "README.md",
        "onnx/x.safetensors",
    ):
        (path / name).parent.mkdir(exist_ok=True)
        (path / name).write_bytes(b"x" * 1000)
    return path


def test_a_model_is_downloaded_once_without_what_could_run_and_found_without_the_hub_afterwards(
    hub: Hub, model: Path, tmp_path: Path
) -> None:
    commit = hub.publish("ada/tiny", model)
    home = tmp_path / "home"
    size = (model / WEIGHTS).stat().st_size

    assert ask(hub, home, "look_up", "ada/tiny")["result"] == [f"hf://ada/tiny@{commit}", size, _size_of_wanted(model)]
    assert hub.num_file_bytes_sent == 0

    done = ask(hub, home, "download", "ada/tiny")
    path = Path(done["result"])
    assert path.name == commit
    assert {file.name for file in path.iterdir()} == _wanted(model)
    assert (path / WEIGHTS).read_bytes() == (model / WEIGHTS).read_bytes()
    total = _size_of_wanted(model) / 1e6
    assert done["stages"][-1] == f"downloading ada/tiny@{commit}: {total:,.0f} of {total:,.0f} MB"
    assert hub.num_file_bytes_sent == _size_of_wanted(model)

    num_requests = len(hub.requests)
    pinned = ask(hub, home, "download", f"hf://ada/tiny@{commit}")
    assert (pinned["result"], pinned["stages"]) == (str(path), [])
    assert len(hub.requests) == num_requests

    offline = ask(hub, home, "download", "ada/tiny", HF_HUB_OFFLINE="1")
    assert (offline["result"], offline["stages"]) == (str(path), [])
    assert ask(hub, home, "look_up", "ada/tiny", HF_HUB_OFFLINE="1")["result"] == [f"hf://ada/tiny@{commit}", size, 0]
    assert len(hub.requests) == num_requests
    [[repo_id, revision, refs, num_bytes]] = ask(hub, home, "cached")["result"]
    assert (repo_id, revision, refs, num_bytes) == ("ada/tiny", commit, ["main"], _size_of_wanted(model))


def test_a_broken_download_goes_on_where_it_was(hub: Hub, model: Path, tmp_path: Path) -> None:
    (model / WEIGHTS).write_bytes((model / WEIGHTS).read_bytes() + b"x" * 30_000_000)
    commit = hub.publish("ada/tiny", model)
    hub.cut_after = 12_000_000
    done = ask(hub, tmp_path / "home", "download", "ada/tiny")
    assert (Path(done["result"]) / WEIGHTS).read_bytes() == (model / WEIGHTS).read_bytes()
    assert hub.cut_after is None
    [start] = hub.starts
    assert start > 10_000_000
    assert done["stages"][-1].startswith(f"downloading ada/tiny@{commit}: 30 of 30 MB")


def test_a_branch_is_pinned_to_its_commit_and_commits_stay(hub: Hub, model: Path, tmp_path: Path) -> None:
    first = hub.publish("ada/tiny", model)
    home = tmp_path / "home"
    assert ask(hub, home, "pinned", "ada/tiny")["result"] == f"hf://ada/tiny@{first}"
    newer = tmp_path / "newer"
    shutil.copytree(model, newer)
    (newer / "generation_config.json").write_text(json.dumps({"temperature": 0.5}))
    second = hub.publish("ada/tiny", newer)
    assert ask(hub, home, "pinned", "ada/tiny@main")["result"] == f"hf://ada/tiny@{second}"
    assert ask(hub, home, "pinned", f"ada/tiny@{first}")["result"] == f"hf://ada/tiny@{first}"
    assert ask(hub, home, "pinned", "ada/tiny", HF_HUB_OFFLINE="1")["result"] == f"hf://ada/tiny@{second}"
    old = Path(ask(hub, home, "download", f"ada/tiny@{first}")["result"])
    assert json.loads((old / "generation_config.json").read_text()).get("temperature") is None


def test_what_the_hub_does_not_give_is_one_sentence(hub: Hub, model: Path, tmp_path: Path) -> None:
    home = tmp_path / "home"
    commit = hub.publish("ada/gated", model)
    hub.gated.add("ada/gated")
    (tmp_path / "pickled").mkdir()
    for name in ("config.json", "pytorch_model.bin", "model.gguf"):
        (tmp_path / "pickled" / name).write_bytes(b"{}")
    pickled = hub.publish("ada/pickled", tmp_path / "pickled")
    host = hub.url
    for text, environment, sentence in (
        ("ada/none", {}, f"{host} has no model ada/none, or it is private"),
        ("ada/gated", {}, f"ada/gated is gated: ask for access at {host}/ada/gated, and set HF_TOKEN"),
        ("ada/gated", {"HF_TOKEN": "hf_wrong"}, f"{host} refuses the token in HF_TOKEN"),
        ("ada/pickled@v2", {}, f"ada/pickled has no revision v2 at {host}"),
        ("ada/pickled", {}, f"ada/pickled@{pickled} has no weights in safetensors files"),
        ("ada/pickled", {"HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path / "empty")}, "HF_HUB_OFFLINE forbids"),
        ("ada/none", {"HF_ENDPOINT": "http://127.0.0.1:9"}, "http://127.0.0.1:9 does not answer"),
    ):
        answer = ask(hub, home, "download", text, **environment)
        assert sentence in answer["error"], answer
        assert "\n" not in answer["error"]
    assert ask(hub, home, "look_up", "ada/gated", HF_TOKEN=hub.token)["result"][0] == f"hf://ada/gated@{commit}"


def _wanted(model: Path) -> set[str]:
    names = {"config.json", "generation_config.json", WEIGHTS, "tokenizer.json", "tokenizer_config.json"}
    names |= {"chat_template.jinja"}
    assert names <= {file.name for file in model.iterdir()}
    return names


def _size_of_wanted(model: Path) -> int:
    return sum((model / name).stat().st_size for name in _wanted(model))

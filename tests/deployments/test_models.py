"""Names of models: what ``--model`` and ``path`` take, what is told of them, and what ``greenroom models`` lists."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import gguf
import numpy as np
import pytest

from actors.engine.checkpoints.hub import CachedModel
from actors.engine.checkpoints.place import HubModel, place_of
from api.errors import InvalidRequest
from deployments.checkpoint import read_checkpoint
from deployments.checks import check_engines
from deployments.commands.models import Served, rows_of
from deployments.config import ModelConfig
from deployments.failures import CommandFailed
from deployments.plan import Options, make_plan
from tests.deployments.checkpoints import CACHE_BYTES, CONFIG, write_checkpoint
from tests.hub import Hub, serve_hub

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture
def hub() -> Iterator[Hub]:
    with serve_hub() as hub:
        yield hub


def tiny_gguf(file: Path) -> Path:
    """A file with the configuration of the tiny directories, and one matrix."""
    writer = gguf.GGUFWriter(str(file), "llama")
    writer.add_block_count(CONFIG["num_hidden_layers"])
    writer.add_context_length(CONFIG["max_position_embeddings"])
    writer.add_embedding_length(CONFIG["hidden_size"])
    writer.add_feed_forward_length(32)
    writer.add_head_count(CONFIG["num_attention_heads"])
    writer.add_head_count_kv(CONFIG["num_key_value_heads"])
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_tensor("token_embd.weight", np.zeros((100, 64), dtype=np.float16))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return file


def greenroom(hub: Hub, home: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """The command, with this hub, and its cache and record under ``home``."""
    hidden = ("HF_", "RAY_")
    environment = {name: value for name, value in os.environ.items() if not name.startswith(hidden)}
    environment |= {"HF_ENDPOINT": hub.url, "HF_HOME": str(home / "hf"), "HF_HUB_DISABLE_TELEMETRY": "1"}
    environment |= {"GREENROOM_HOME": str(home), "RAY_TMPDIR": str(home)}
    command = [sys.executable, "-m", "deployments.cli", *arguments]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=100, check=False)


def test_what_exists_comes_first_then_an_id_of_the_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert place_of("Qwen/Qwen3-0.6B") == HubModel("Qwen/Qwen3-0.6B")
    assert place_of("Qwen/Qwen3-0.6B@refs/pr/1") == HubModel("Qwen/Qwen3-0.6B", "refs/pr/1")
    (tmp_path / "Qwen" / "Qwen3-0.6B").mkdir(parents=True)
    assert place_of("Qwen/Qwen3-0.6B") == tmp_path / "Qwen" / "Qwen3-0.6B"
    assert place_of("hf://Qwen/Qwen3-0.6B") == HubModel("Qwen/Qwen3-0.6B")
    for text in ("models/x.gguf", "./org/name", "/org/name", "org", "a/b/c", "../up", "-/x", "org/na me"):
        assert place_of(text) == (tmp_path / text).resolve()
    for text in ("hf://org", "hf://a/b/c", "hf:///etc/passwd", "hf://../..", "hf://a/b@", "hf://a/b@../../x"):
        with pytest.raises(InvalidRequest, match="names no model of the hub: say hf://ORG/NAME"):
            place_of(text)


def test_a_place_as_text_is_the_same_place_elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    texts = [str(place_of(text)) for text in ("org/name", "org/name@v1", "folder", "x.gguf")]
    places = [place_of(text) for text in texts]
    (tmp_path / "elsewhere" / "org" / "name").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert [place_of(text) for text in texts] == places
    assert [ModelConfig(name="m", path=text).path for text in texts] == texts


def test_models_are_named_after_their_files_and_ids(tmp_path: Path) -> None:
    options = ("Qwen/Qwen3-0.6B@main", f"{tmp_path}/SmolLM2-135M.Q4_1.gguf", "mine=Qwen/Qwen3-1.7B")
    named = [(model.name, model.aliases, model.path) for model in make_plan(Options(options)).config.models]
    assert named == [
        ("Qwen3-0.6B", ("Qwen/Qwen3-0.6B",), "hf://Qwen/Qwen3-0.6B@main"),
        ("SmolLM2-135M.Q4_1", (), f"{tmp_path}/SmolLM2-135M.Q4_1.gguf"),
        ("mine", (), "hf://Qwen/Qwen3-1.7B"),
    ]


def test_a_gguf_file_is_counted_without_loading_it(tmp_path: Path) -> None:
    model = ModelConfig(name="m", path=str(tiny_gguf(tmp_path / "m.gguf")))
    checkpoint = read_checkpoint(model)
    assert checkpoint.num_parameters == 6400
    assert checkpoint.cache_bytes(model) == CACHE_BYTES
    check_engines([model])


def test_what_is_no_model_is_told_in_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "with").mkdir()
    tiny_gguf(tmp_path / "with" / "m.gguf")
    (tmp_path / "text.gguf").write_text("GGUF but no more")
    (tmp_path / "weights.bin").write_text("x")
    for path, sentence in {
        "no.gguf": f"there is no file {tmp_path}/no.gguf",
        "text.gguf": f"{tmp_path}/text.gguf is no GGUF file, or damaged: ",
        "weights.bin": f"{tmp_path}/weights.bin is neither a directory nor a GGUF file",
        "with": f"no model in {tmp_path}/with: it has no config.json; it has m.gguf: name that file",
    }.items():
        with pytest.raises(CommandFailed) as failure:
            read_checkpoint(ModelConfig(name="m", path=str(tmp_path / path)))
        assert str(failure.value).startswith(f"model 'm': {sentence}")
    file = str(tmp_path / "with" / "m.gguf")
    with pytest.raises(CommandFailed, match="^model 'm': vLLM 0.32 reads no GGUF files"):
        check_engines([ModelConfig(name="m", path=file, engine="vllm")])


def test_check_says_what_would_be_downloaded_and_downloads_no_weights(hub: Hub, tmp_path: Path) -> None:
    repository = write_checkpoint(tmp_path / "repository", [[1000]])
    weights = repository / "model.safetensors"
    weights.write_bytes(weights.read_bytes() + b"x" * 5_000_000)
    commit = hub.publish("ada/tiny", repository)
    file = tmp_path / "cluster.yaml"
    file.write_text("models: [{name: tiny, path: ada/tiny}]\n")
    done = greenroom(hub, tmp_path, "check", str(file))
    assert (done.returncode, done.stderr) == (0, "")
    first, second, *rest = done.stdout.splitlines()
    assert first == f"model 'tiny': ada/tiny@{commit}: 5 MB would be downloaded by each node that runs it"
    assert "can be deployed" in second
    assert rest == []
    assert hub.num_file_bytes_sent == (repository / "config.json").stat().st_size
    file.write_text("models: [{name: tiny, path: ada/none}]\n")
    done = greenroom(hub, tmp_path, "check", str(file))
    assert done.returncode == 1
    assert done.stderr.startswith(f"greenroom: model 'tiny': {hub.url} has no model ada/none")
    listed = greenroom(hub, tmp_path, "models", "--json")
    assert (listed.returncode, listed.stderr) == (0, "")
    [row] = json.loads(listed.stdout)
    assert (row["model"], row["revision"], row["served_as"]) == ("ada/tiny", commit, [])


def test_the_cache_is_listed_with_who_serves_what(tmp_path: Path) -> None:
    cached = tuple(CachedModel("ada/tiny", commit, (), 5, 1.0) for commit in (COMMIT, COMMIT[::-1]))
    served = (Served(f"hf://ada/tiny@{COMMIT}", ("tiny", "ada/tiny")), Served(str(tmp_path), ("mine",)))
    rows = rows_of(cached, served)
    assert [(row["model"], row["revision"], row["served_as"]) for row in rows] == [
        ("ada/tiny", COMMIT, ["tiny", "ada/tiny"]),
        ("ada/tiny", COMMIT[::-1], []),
        (str(tmp_path), "", ["mine"]),
    ]

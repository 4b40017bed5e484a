"""How the makers of a checkpoint suggest to sample from it."""

from __future__ import annotations

from pathlib import Path

from actors.engine.checkpoints.gguf_config import sampling_of
from actors.engine.checkpoints.gguf_header import GgufHeader
from actors.engine.json_files import read_object
from api.errors import InvalidRequest, reason_of
from api.turns import BOUNDS, Sampling

_FIELDS = ("temperature", "top_k", "top_p", "min_p", "repetition_penalty")


def suggested_sampling(model_path: Path) -> Sampling:
    """The sampling of a model directory's ``generation_config.json``, or of a GGUF file's metadata.

    Where it says nothing: temperature 1 and no filter. ``do_sample: false`` is a temperature of 0.

    Raises:
        InvalidRequest: a value in it cannot be.
    """
    path = model_path / "generation_config.json"
    config = read_object(path) if path.is_file() else {}
    if model_path.is_file():
        path, config = model_path, sampling_of(GgufHeader.read(model_path))
    fields = {name: config[name] for name in _FIELDS if config.get(name) is not None}
    if config.get("do_sample") is False:
        fields["temperature"] = 0.0
    try:
        for name, value in fields.items():
            BOUNDS[name].check(name, value)
        return Sampling(**{"temperature": 1.0, **fields})
    except InvalidRequest as error:
        raise InvalidRequest(f"{path}: {reason_of(error)}") from None

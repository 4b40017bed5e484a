"""A process that asks the hub and prints what comes of it: ``huggingface_hub`` reads its environment once."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from actors.engine.checkpoints.hub import cached_models, download, look_up, pinned
from actors.engine.checkpoints.place import HubModel, place_of
from api.errors import InvalidRequest
from tests.hub import Hub


def ask(hub: Hub, home: Path, call: str, model: str = "", **environment: str) -> Mapping[str, Any]:
    """Run one call in a process with its cache under ``home``: its ``result`` or ``error``, and the stages told."""
    variables = {name: value for name, value in os.environ.items() if not name.startswith("HF_")}
    variables |= {"HF_ENDPOINT": hub.url, "HF_HOME": str(home), "HF_HUB_DISABLE_TELEMETRY": "1"} | environment
    command = [sys.executable, "-m", __name__, call, model]
    done = subprocess.run(command, env=variables, capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode == 0, done.stderr
    answer: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return answer | {"stderr": done.stderr}


def _run(call: str, text: str) -> dict[str, Any]:
    stages: list[str] = []
    try:
        place = place_of(text)
        if call == "cached":
            return {"result": [[one.repo_id, one.revision, one.refs, one.num_bytes] for one in cached_models()]}
        assert isinstance(place, HubModel)
        if call == "pinned":
            return {"result": str(pinned(place))}
        if call == "look_up":
            found = look_up(place)
            return {"result": [str(found.model), found.weight_bytes, found.missing_bytes]}
        return {"result": str(download(place, stages.append)), "stages": stages}
    except InvalidRequest as error:
        return {"error": str(error), "stages": stages}


if __name__ == "__main__":
    sys.stdout.write(json.dumps(_run(*sys.argv[1:])) + "\n")

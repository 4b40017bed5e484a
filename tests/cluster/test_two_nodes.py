"""Topics cross nodes."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from actors.calls.wire import SWITCH

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(300)]


def test_readers_and_inferlets_on_two_nodes_get_every_message_in_order(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tests.cluster.two_nodes", str(tmp_path)]
    environment = {**os.environ, SWITCH: "0"}  # both nodes are this machine, and should not notice
    done = subprocess.run(
        command, cwd=Path(__file__).parents[2], env=environment, capture_output=True, text=True, timeout=280
    )
    assert done.returncode == 0, done.stderr

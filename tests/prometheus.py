"""A real Prometheus of this machine: Debian's, which a test starts."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import yaml

RULES = Path(__file__).parents[1] / "deployments" / "monitoring" / "alerts.yaml"


class Prometheus:
    """``url`` is its own."""

    def __init__(self, url: str) -> None:
        self.url = url

    def query(self, expression: str) -> list[tuple[Mapping[str, str], float]]:
        """What an expression gives now: labels and values."""
        answer = httpx.get(f"{self.url}/api/v1/query", params={"query": expression}, timeout=30)
        assert answer.status_code == httpx.codes.OK, f"{expression}: {answer.text}"
        return [(entry["metric"], float(entry["value"][1])) for entry in answer.json()["data"]["result"]]

    def alerts(self) -> list[dict[str, Any]]:
        """The rules of alerts, with their health."""
        groups = httpx.get(f"{self.url}/api/v1/rules", timeout=30).json()["data"]["groups"]
        return [rule for group in groups for rule in group["rules"]]

    def scrapes(self) -> int:
        """How often it has read its target."""
        return round(sum(value for _, value in self.query("count_over_time(up[1h])")))


@contextmanager
def prometheus(folder: Path, port: int, target: str) -> Iterator[Prometheus]:
    """One that reads a target every second, with the rules of alerts; its data is in ``folder``."""
    config = {
        "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
        "rule_files": [str(RULES)],
        "scrape_configs": [{"job_name": "ray", "static_configs": [{"targets": [target]}]}],
    }
    (folder / "prometheus.yml").write_text(yaml.safe_dump(config))
    command = [
        "prometheus",
        f"--config.file={folder / 'prometheus.yml'}",
        f"--storage.tsdb.path={folder / 'data'}",
        f"--web.listen-address=127.0.0.1:{port}",
        "--log.level=error",
    ]
    url = f"http://127.0.0.1:{port}"
    with subprocess.Popen(command) as process:
        try:
            _wait_until_ready(url)
            yield Prometheus(url)
        finally:
            process.terminate()


def _wait_until_ready(url: str) -> None:
    end = time.monotonic() + 30
    while time.monotonic() < end:
        try:
            if httpx.get(f"{url}/-/ready").status_code == httpx.codes.OK:
                return
        except httpx.TransportError:
            pass
        time.sleep(0.05)
    raise TimeoutError("Prometheus has not started")

"""``serve run cluster.yaml`` and ``serve deploy cluster.yaml``, from the root of the repository."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
import yaml

from deployments.ray_head import AUTH_MODE, has_token
from tests.cluster.command import ROOT, Operator, an_operator
from tests.cluster.deployed import free_port

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(600)]

SERVE = (sys.executable, "-m", "ray.serve.scripts")
SECRET = "hunter2-hunter2-hunter2"
RAY = (sys.executable, "-m", "ray.scripts.scripts")


@pytest.fixture
def operator() -> Iterator[Operator]:
    with an_operator() as operator:
        yield operator


PATIENCE = ("RAY_SERVE_PROXY_READY_CHECK_TIMEOUT_S", "RAY_SERVE_PROXY_HEALTH_CHECK_TIMEOUT_S")
"""How long Serve waits for a proxy of its own, which is 5 s: on a busy machine its process takes longer to start."""


def moved(operator: Operator, tmp_path: Path) -> Path:
    """cluster.yaml with the operator's port and journal in place of its own."""
    text = (ROOT / "cluster.yaml").read_text()
    for old, new in (("port: 8000", f"port: {operator.port}"), ("~/.greenroom/journal.db", str(operator.journal))):
        assert text.count(old) == 1
        text = text.replace(old, new)
    operator.home.path.mkdir()
    path = tmp_path / "cluster.yaml"
    path.write_text(text)
    return path


@contextmanager
def running(operator: Operator, *command: str) -> Iterator[subprocess.Popen[bytes]]:
    """A process that is interrupted at the end."""
    with (operator.home.path / "output").open("wb") as output:
        process = subprocess.Popen(command, env=operator.environment, cwd=ROOT, stdout=output, stderr=output)
        try:
            yield process
        finally:
            process.send_signal(signal.SIGINT)
            try:
                process.wait(60)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def wait_until_ready(operator: Operator, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 400
    while True:
        try:
            if httpx.get(f"{operator.url}/readyz", timeout=10).status_code == 200:
                return
        except httpx.TransportError:
            pass
        said = (operator.home.path / "output").read_text()
        assert process.poll() is None, said
        assert "Deploying app 'greenroom' failed" not in said, said
        assert time.monotonic() < deadline, said
        time.sleep(0.5)


def answers(operator: Operator, headers: dict[str, str] | None = None) -> bool:
    body = {"inputs": "Hello", "max_new_tokens": "3"}
    url = f"{operator.url}/api/v1/generate"
    return httpx.post(url, data=body, headers=headers, timeout=60).json()["ok"] is True


def test_serve_run_serves_the_embedded_model_through_proxies_of_its_own(operator: Operator, tmp_path: Path) -> None:
    file = moved(operator, tmp_path)
    content = yaml.safe_load(file.read_text())
    content["http_options"] = content["applications"][0]["args"].pop("listen")
    file.write_text(yaml.safe_dump({**content, "proxy_location": "HeadOnly"}))
    operator.environment.update(dict.fromkeys(PATIENCE, "60"))
    with running(operator, *SERVE, "run", str(file)) as process:
        wait_until_ready(operator, process)
        assert answers(operator)


def test_serve_deploy_serves_it_on_a_cluster_that_runs(operator: Operator, tmp_path: Path) -> None:
    file, dashboard = moved(operator, tmp_path), free_port()
    operator.environment[AUTH_MODE] = "token" if has_token() else "disabled"
    ports = {"port": operator.ray_port, "dashboard-port": dashboard}
    ports |= {f"{name}-port": free_port() for name in ("ray-client-server", "dashboard-agent-listen")}
    head = (*RAY, "start", "--head", "--block", *(f"--{name}={port}" for name, port in ports.items()))
    with running(operator, *head, "--include-dashboard=true", "--disable-usage-stats") as process:
        address = f"http://127.0.0.1:{dashboard}"
        refused = tmp_path / "refused.yaml"
        refused.write_text(file.read_text().replace("pool_size: 2", f"pool_size: {SECRET}"))
        deploy(operator, refused, address, process)
        assert failed_status(operator, address) == (
            "greenroom: Serve cannot deploy Greenroom: sessions.pool_size: input should be a valid integer, "
            "unable to parse string as an integer; inferlets.pool_size: input should be a valid integer, "
            "unable to parse string as an integer\n"
        )
        file.write_text(f"{file.read_text()}      api: {{api_keys: [{{owner: ada, key_file: {keep(tmp_path)}}}]}}\n")
        deploy(operator, file, address, process)
        wait_until_ready(operator, process)
        assert answers(operator, {"Authorization": f"Bearer {SECRET}"})
        assert operator.run("status").code == 0
        shown = "".join(asked(operator, address, command) for command in ("status", "config"))
        assert "deployments.app:build" in shown
        assert SECRET not in shown
        gateways = pids_of_gateways(operator)
        file.write_text(f"{file.read_text()}{OVERLAID}")
        deploy(operator, file, address, process)
        wait_until_refused(operator, b"x" * 4096)
        assert pids_of_gateways(operator) == gateways
        assert answers(operator, {"Authorization": f"Bearer {SECRET}"})


OVERLAID = "    deployments: [{name: Gateway, user_config: {api: {max_body_bytes: 2048}}}]\n"


def pids_of_gateways(operator: Operator) -> set[int]:
    found = {
        one.pid for one in operator.processes() if "ray::ServeReplica:greenroom:Gateway" in " ".join(one.cmdline())
    }
    assert found
    return found


def wait_until_refused(operator: Operator, body: bytes) -> None:
    """All gateways refuse it as too large: twenty calls in a row, each on a connection of its own."""
    deadline, num_refused = time.monotonic() + 120, 0
    while num_refused < 20:
        answer = httpx.post(
            f"{operator.url}/api/sessions", content=body, headers={"Authorization": f"Bearer {SECRET}"}, timeout=60
        )
        num_refused = num_refused + 1 if answer.status_code == 413 else 0
        assert time.monotonic() < deadline, answer.text


def keep(directory: Path) -> Path:
    """The secret in a file."""
    path = directory / "ada.key"
    path.write_text(SECRET)
    return path


def failed_status(operator: Operator, dashboard: str) -> str:
    """What ``greenroom status`` says on stderr once it knows that the deployment has failed."""
    deadline = time.monotonic() + 240
    while True:
        result = operator.run("status")
        assert result.code == 1
        if "cannot deploy" in result.err:
            return result.err
        assert time.monotonic() < deadline, (result.err, asked(operator, dashboard, "status"))
        time.sleep(3)  # each status starts a driver, beside what Serve is to start


def asked(operator: Operator, dashboard: str, command: str) -> str:
    """What Serve's command shows of all that it has been given."""
    asking = (*SERVE, command, "--address", dashboard)
    done = subprocess.run(asking, env=operator.environment, cwd=ROOT, capture_output=True, text=True, check=True)
    return done.stdout


def deploy(operator: Operator, file: Path, dashboard: str, process: subprocess.Popen[bytes]) -> None:
    """Run ``serve deploy``, until the dashboard of the cluster is there to take it."""
    deadline = time.monotonic() + 200
    while True:
        command = (*SERVE, "deploy", "--address", dashboard, str(file))
        done = subprocess.run(command, env=operator.environment, cwd=ROOT, capture_output=True, text=True)
        if done.returncode == 0:
            return
        assert process.poll() is None, (operator.home.path / "output").read_text()
        assert time.monotonic() < deadline, done.stderr
        time.sleep(1)

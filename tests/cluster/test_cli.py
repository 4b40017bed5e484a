"""What the README promises of the command: up, chat, status, sessions, down, and a sentence for what goes wrong."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from itertools import takewhile
from pathlib import Path

import httpx
import psutil
import pytest

from deployments.config import embedded_model
from deployments.ray_head import LOOPBACK_ONLY
from tests.cluster.command import ROOT, Operator, Result, an_operator
from tests.readme_blocks import BLOCKS

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(900)]


@pytest.fixture(scope="module")
def everyones() -> Iterator[Operator]:
    """One for all tests, since Greenroom takes half a minute to come up."""
    with an_operator() as operator:
        yield operator


@pytest.fixture
def operator(everyones: Operator) -> Operator:
    """One whose Greenroom is up; a test may take it down."""
    if everyones.home.read() is None:
        risen = everyones.up()
        assert (risen.code, risen.err) == (0, "")
        assert risen.out.splitlines()[-3:-1] == [f"OpenAI API: {everyones.url}/v1", f"Chat: {everyones.url}/"]
    return everyones


@pytest.fixture
def newcomer() -> Iterator[Operator]:
    """One for whom nothing runs."""
    with an_operator() as operator:
        yield operator


def chat(operator: Operator, *lines: str, session: str | None = None) -> tuple[str, str]:
    """What the terminal shows for these lines, and the session's id from the last line of it."""
    arguments = ("--session", session) if session else ()
    result = operator.run("chat", *arguments, typed="".join(f"{line}\n" for line in lines))
    assert (result.code, result.err) == (0, "")
    shown, _, last = result.out.rstrip().rpartition("\n")
    return shown, last.removeprefix("To come back: greenroom chat --session ")


def listed(operator: Operator) -> dict[str, str]:
    """Sessions by id, with their states."""
    return {one["id"]: one["state"] for one in httpx.get(f"{operator.url}/api/sessions").json()["sessions"]}


def test_the_page_and_the_petals_protocol_answer(operator: Operator) -> None:
    assert "<html" in httpx.get(f"{operator.url}/").text
    answer = httpx.post(f"{operator.url}/api/v1/generate", data={"inputs": "Hello", "max_new_tokens": "3"}, timeout=60)
    assert answer.json()["ok"] is True


def test_all_that_it_starts_listens_on_loopback_only(operator: Operator) -> None:
    listening = [connection for process in operator.processes() for connection in process.net_connections("tcp")]
    hosts = {connection.laddr.ip for connection in listening if connection.status == psutil.CONN_LISTEN}
    assert hosts == {"127.0.0.1", "::ffff:127.0.0.1"}


def test_all_that_it_makes_is_closed_to_other_users(operator: Operator) -> None:
    folder = operator.environment["RAY_TMPDIR"]
    made = [path for path in Path(folder).rglob("*") if not path.is_symlink()]
    assert {path.name for path in made} >= {"journal.db", "up.json", "ray-start.log", "logs", "sockets", "raylet"}
    closed = [Path(folder) / name for name in ("home", f"greenroom-{os.geteuid()}")]
    assert {path.stat().st_mode & 0o777 for path in closed} == {0o700}
    assert all(any(path == one or one in path.parents for one in closed) for path in made)
    files = [path for path in operator.home.path.rglob("*") if path.is_file()]
    assert {path.stat().st_mode & 0o777 for path in files} == {0o600}


def test_the_blocks_of_the_readme_do_what_they_show(operator: Operator, tmp_path: Path) -> None:
    for block in BLOCKS:
        text = block.text.replace("http://127.0.0.1:8000", operator.url)
        if block.reason:
            continue
        if block.is_program:
            (tmp_path / "chat.py").write_text(text)
        elif block.language == "python":
            (tmp_path / "block.py").write_text(text)
            shows(operator.execute((sys.executable, "block.py"), tmp_path), says_something="print(" in text)
        else:
            for command in replace(block, text=text).commands:
                shows(operator.execute(("bash", "-euo", "pipefail", "-c", command), tmp_path, "Hello!\nexit\n"))


def shows(result: Result, says_something: bool = True) -> None:
    """It went well, and said something, unless it only defines something."""
    assert result.code == 0, result.err
    assert bool(result.out.strip()) is says_something
    assert '"error"' not in result.out
    assert '"ok": false' not in result.out


def test_a_chat_answers_keeps_its_session_and_comes_back(operator: Operator) -> None:
    _, session = chat(operator, "Hello, I am Ada.")
    assert session in listed(operator)
    shown, again = chat(operator, "/fork", session=session)
    assert "user: Hello, I am Ada." in shown
    assert again in listed(operator)
    assert again != session


def test_status_tells_of_the_model_its_load_and_the_journal(operator: Operator) -> None:
    chat(operator, "Hello")
    shown = operator.run("status", "--json")
    assert shown.code == 0, shown
    found = json.loads(shown.out)
    assert (found["state"], found["url"], found["num_gateways"]) == ("RUNNING", operator.url, 1)
    assert found["journal"] == str(operator.journal)
    assert found["num_active"] + found["num_passive"] == len(listed(operator))
    [model] = found["models"]
    assert (model["name"], model["num_ready"], model["num_running"]) == ("pocket", 1, 0)
    assert model["counters"]["output_tokens"] > 0
    text = operator.run("status").out
    assert "pocket" in text
    assert operator.url in text


def test_sessions_are_shown_closed_and_purged(operator: Operator) -> None:
    _, session = chat(operator, "What is two and two?", "Thank you.")
    other = httpx.post(f"{operator.url}/api/sessions", json={}).json()["id"]
    shown = operator.run("sessions", "show", session[:12]).out
    assert shown.index("user: What is two and two?") < shown.index("user: Thank you.")
    assert operator.run("sessions", "close", session).out == f"Session {session} is closed.\n"
    left = {one["session_id"] for one in json.loads(operator.run("sessions", "list", "--json").out)}
    assert other in left
    assert session not in left
    assert operator.run("sessions", "give", "--all", "ada").out.endswith("given to ada.\n")
    assert {one["owner"] for one in json.loads(operator.run("sessions", "list", "--json").out)} == {"ada"}
    assert operator.run("sessions", "show", session).err.startswith(f"greenroom: no session begins with {session!r}")
    assert operator.run("sessions", "purge", typed="n\n").code == 1
    purged = operator.run("sessions", "purge", "--yes")
    assert (purged.code, purged.out) == (0, f"{len(left)} sessions are closed.\n")
    assert operator.run("sessions", "list", "--json").out.strip() == "[]"


def replicas(operator: Operator) -> set[int]:
    """Process ids of gateways, model pools and model actors."""
    titles = ("ray::ServeReplica:greenroom", "ray::HostedModel")
    return {one.pid for one in operator.processes() if " ".join(one.cmdline()).startswith(titles)}


def test_a_second_up_updates_in_place_and_keeps_the_sessions(operator: Operator) -> None:
    _, session = chat(operator, "Hello")
    elsewhere = operator.run("up", "--port", "1025")
    assert elsewhere.code == 1
    assert elsewhere.err == (
        f"greenroom: Greenroom runs already and listens on host 127.0.0.1, port {operator.port}, not port 1025: "
        "end it first with `greenroom down`, or leave that out\n"
    )
    before = replicas(operator)
    updated = operator.up("--model", "pocket", "--model", f"second={embedded_model()}")
    assert updated.code == 0
    assert "Model second: is added" in updated.out.splitlines()
    assert before < replicas(operator), "what ran before runs on"
    assert session in listed(operator)
    models = httpx.get(f"{operator.url}/api/models").json()["models"]
    assert [(model["name"], model["num_ready"]) for model in models] == [("pocket", 1), ("second", 1)]
    shown, _ = chat(operator, "And again", session=session)
    assert shown.startswith("user: Hello\n")


def test_another_ray_version_is_told_by_its_number(operator: Operator) -> None:
    record = operator.home.read()
    assert record is not None
    program = """
import json, sys
from ray._common.usage.usage_constants import CLUSTER_METADATA_KEY
from ray._raylet import GcsClient
client = GcsClient(address=sys.argv[1])
from ray._private.ray_constants import KV_NAMESPACE_CLUSTER as space
metadata = json.loads(client.internal_kv_get(CLUSTER_METADATA_KEY, space))
metadata["ray_version"] = sys.argv[2]
client.internal_kv_put(CLUSTER_METADATA_KEY, json.dumps(metadata).encode(), True, space)
"""

    def pretend(version: str) -> None:
        environment = {**operator.environment, **LOOPBACK_ONLY, "RAY_AUTH_MODE": record.auth_mode or ""}
        subprocess.run([sys.executable, "-c", program, record.address, version], env=environment, check=True)

    import ray

    pretend("2.9.3")
    try:
        result = operator.run("status")
    finally:
        pretend(ray.__version__)
    assert result.code == 1
    assert result.err == (
        f"greenroom: the Ray cluster at {record.address} runs Ray 2.9.3, and this command Ray {ray.__version__}: "
        "use the same version on both sides\n"
    )


def test_a_port_that_is_taken_is_named_before_anything_starts(newcomer: Operator) -> None:
    with socket.create_server(("127.0.0.1", newcomer.port)):
        result = newcomer.up()
    assert (result.code, result.out) == (1, "")
    assert result.err == f"greenroom: port {newcomer.port} is taken: choose another with --port\n"
    assert newcomer.processes() == []


def test_a_model_that_no_engine_knows_leaves_nothing_behind(newcomer: Operator, tmp_path: Path) -> None:
    strange = tmp_path / "strange"
    shutil.copytree(embedded_model(), strange)
    config = json.loads((strange / "config.json").read_text())
    (strange / "config.json").write_text(json.dumps({**config, "model_type": "steam"}))
    result = newcomer.up("--model", str(strange))
    assert result.code == 1
    assert result.err.startswith(f"greenroom: model 'strange' cannot start: no model can be loaded from {strange}: ")
    assert "steam" in result.err
    assert result.err.count("\n") == 1
    assert newcomer.processes() == []
    assert newcomer.home.read() is None


def test_a_recorded_inferlet_is_replayed_against_its_program_and_a_changed_one(
    operator: Operator, tmp_path: Path
) -> None:
    program = tmp_path / "asks.py"
    lines = "@inferlet\nasync def main(args: Args) -> None:\n    send('first')\n    await recv()\n"
    program.write_text(f"from api.inferlet import *\n{lines}")
    launched = operator.run("launch", str(program), "--detach")
    assert launched.code == 0, launched.err
    same = operator.run("replay", launched.out.strip()[:8])
    assert (same.code, same.out) == (0, "The program repeats its 1 calls, and then waits in call 2 (Receive).\n")
    program.write_text(program.read_text().replace("'first'", "'other'"))
    changed = operator.run("replay", launched.out.strip(), "--program", str(program))
    assert changed.code == 1
    assert changed.out.endswith("call 1 (Send) has other arguments than before.\n")


def test_a_journal_that_another_server_has_is_refused(operator: Operator, newcomer: Operator) -> None:
    result = newcomer.run("up", "--port", str(newcomer.port), "--journal", str(operator.journal))
    assert (result.code, result.out) == (1, "")
    assert f"the journal {operator.journal} is in use by another server (process " in result.err
    assert newcomer.processes() == []


def test_a_server_for_others_needs_keys(newcomer: Operator) -> None:
    result = newcomer.up("--host", "0.0.0.0")
    assert result.code == 1
    assert "give them keys with api.api_keys in --config, or say --without-keys" in result.err
    assert newcomer.processes() == []


def test_up_says_what_is_left_of_a_head_that_lost_a_part_and_serves_the_same_sessions(operator: Operator) -> None:
    _, session = chat(operator, "Hello")
    _kill_gcs(operator)
    risen = operator.up()
    assert (risen.code, risen.err) == (0, "")
    assert "has lost its gcs_server" in risen.out
    assert listed(operator)[session] == "passive"
    shown, _ = chat(operator, "Do you remember?", session=session)
    assert shown.startswith("user: Hello\n")


def test_down_ends_every_process_and_the_next_up_has_the_sessions(operator: Operator) -> None:
    """In the foreground, where it stays until it is interrupted."""
    session = httpx.post(f"{operator.url}/api/sessions", json={}).json()["id"]
    down = operator.run("down")
    assert (down.code, down.err) == (0, "")
    assert operator.processes() == []
    assert not list(Path(operator.environment["RAY_TMPDIR"]).rglob("ray_current_cluster"))
    assert operator.run("down").out == "Nothing runs here.\n"
    ports = ("--port", str(operator.port), "--ray-port", str(operator.ray_port), "--journal", str(operator.journal))
    process = subprocess.Popen(
        [sys.executable, "-m", "deployments.cli", "up", "--foreground", *ports],
        env=operator.environment,
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert process.stdout is not None
    told = list(takewhile("Ctrl-C ends it.\n".__ne__, process.stdout))
    assert told[-1] == f"Chat: {operator.url}/\n"
    assert httpx.get(f"{operator.url}/readyz").status_code == 200
    assert listed(operator)[session] == "passive"
    os.kill(process.pid, signal.SIGINT)
    rest, _ = process.communicate(timeout=120)
    assert process.returncode == 0
    assert rest.endswith("Ray is stopped.\n")
    assert operator.processes() == []


def _kill_gcs(operator: Operator) -> None:
    record = operator.home.read()
    assert record is not None
    [gcs] = [process for process in record.processes if process.name == "gcs_server"]
    process = psutil.Process(gcs.pid)
    process.kill()
    psutil.wait_procs([process], timeout=30)

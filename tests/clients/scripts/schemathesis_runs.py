# /// script
# dependencies = ["schemathesis==4.32.5"]
# ///
"""schemathesis: random requests of our own document and of that of Open Responses; no 5xx but 503, and no hang."""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

from checks import URL, check, run

SERVER = URL.removesuffix("/v1")
CONFIGURATION = """
[checks.not_a_server_error]
expected-statuses = ["2xx", "3xx", "4xx", 503]
"""
OPEN_RESPONSES = Path(__file__).parents[2] / "api" / "http" / "openai" / "responses" / "openresponses.json"
NUM_REQUESTS = os.environ.get("GREENROOM_NUM_REQUESTS", "50")


def schemathesis(checks, *arguments):
    """Run it, without what has no end: the events of topics and inferlets."""
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "schemathesis.toml").write_text(CONFIGURATION)
        command = [str(Path(sys.executable).with_name("schemathesis")), "run", *arguments]
        command += ["--checks", checks, "--max-examples", NUM_REQUESTS, "--seed", "12", "--request-timeout", "60"]
        command += ["--exclude-path-regex", "/(events|stream)$", "--phases", "coverage,fuzzing", "--mode", "all"]
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=1500)
    assert done.returncode == 0, done.stdout[-3000:]


@check
def our_own_document():
    checks = "not_a_server_error,content_type_conformance,response_schema_conformance"
    schemathesis(checks, f"{SERVER}/openapi.json", "--url", SERVER)


@check
def the_document_of_open_responses():
    schemathesis("not_a_server_error", str(OPEN_RESPONSES), "--url", URL)


run()

# /// script
# dependencies = ["schemathesis==4.32.5"]
# ///
"""schemathesis: random requests of our own document; no 5xx but 503, no hang, and answers as they are described."""

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
CHECKS = "not_a_server_error,content_type_conformance,response_schema_conformance"
NUM_REQUESTS = os.environ.get("GREENROOM_NUM_REQUESTS", "50")


def schemathesis(*arguments):
    """Run it, without what has no end: the events of topics and inferlets."""
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "schemathesis.toml").write_text(CONFIGURATION)
        command = [str(Path(sys.executable).with_name("schemathesis")), "run", *arguments]
        command += ["--checks", CHECKS, "--max-examples", NUM_REQUESTS, "--seed", "12", "--request-timeout", "60"]
        command += ["--exclude-path-regex", "/events$", "--phases", "coverage,fuzzing", "--mode", "all"]
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=1500)
    assert done.returncode == 0, done.stdout[-3000:]


@check
def our_own_document():
    schemathesis(f"{SERVER}/openapi.json", "--url", SERVER)


run()

"""What every script of a Python client begins with: its checks, each told as one line of JSON."""

import asyncio
import inspect
import json
import sys
import traceback

URL, MODEL, *MORE = sys.argv[1:] or ["", ""]
"""Where the server answers, and the name of its model."""

_checks = []


def check(function):
    """One more check, named as its function."""
    _checks.append(function)
    return function


def run():
    """Run them all in order; the exit status says nothing, the lines do."""
    for function in _checks:
        failure = None
        try:
            asyncio.run(function()) if inspect.iscoroutinefunction(function) else function()
        except Exception as error:
            traceback.print_exc()
            failure = f"{type(error).__name__}: {error}".strip()
        print(json.dumps({"check": function.__name__.replace("_", " "), "failure": failure}), flush=True)

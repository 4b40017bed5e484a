"""What one program does to its process, and what the next one there finds: each in a process of its own."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest

SCRIPT = """
import asyncio, contextvars, json, logging, os, random, signal, socket, sys, threading, time, warnings, builtins
import api.inferlet, httpx
from actors.inferlets.leftovers import ProcessState
from actors.inferlets.output import Output, current_output, route_streams

route_streams()
before = ProcessState()

def run(source):
    current_output.set(Output(lambda record: None, 1 << 20))
    exec(source, {"__name__": "__inferlet__"})

def look():
    return [
        dict(os.environ), os.getcwd(), list(sys.path), sorted(vars(builtins)), repr(print), os.umask(0o22),
        sys.getrecursionlimit(), socket.getdefaulttimeout(), logging.root.level, len(logging.root.handlers),
        repr(sys.stdout), [str(one) for one in warnings.filters], dumps([1]), signal.getitimer(signal.ITIMER_REAL),
        "pyclbr" in sys.modules, repr(sys.excepthook),
    ]

dumps = json.dumps
os.umask(0o22)
first = look()
found = []
for source in json.loads(sys.argv[1]):
    contextvars.copy_context().run(run, source)
    remarks = before.restore()
    found.append([first == look(), list(remarks)])
sys.__stdout__.write(dumps(found))
sys.__stdout__.flush()
os._exit(0)
"""

UNDONE = (
    "import os; os.environ['LEFT'] = 'x'; os.environ.pop('PATH', None); os.environ['HOME'] = '/'",
    "import os; os.chdir('/')",
    "import sys; sys.path.insert(0, '/left'); sys.path_hooks.clear(); sys.argv[:] = ['left']",
    "import builtins; builtins.left = 1; builtins.print = None; del builtins.sum",
    "import os; os.umask(0)",
    "import sys; sys.setrecursionlimit(5000); sys.setswitchinterval(1)",
    "import socket; socket.setdefaulttimeout(1)",
    "import logging; logging.basicConfig(level=0); logging.root.addHandler(logging.NullHandler())",
    "import sys, io; sys.stdout = io.StringIO(); sys.excepthook = print",
    "import warnings; warnings.simplefilter('error')",
    "import gc; gc.disable(); gc.set_threshold(1, 1, 1)",
    "import signal; signal.setitimer(signal.ITIMER_REAL, 100)",
    "import threading; threading.settrace(print)",
    "import asyncio; asyncio.set_event_loop_policy(asyncio.DefaultEventLoopPolicy())",
    "import pyclbr; pyclbr.readmodule = None",
    "import subprocess; subprocess.run(['true'])",
    "import threading; one = threading.Thread(target=print); one.start(); one.join()",
    "pass",
)
LASTING = {
    "import json; json.dumps = repr": "changed json",
    "import json, unittest.mock; json.dumps = unittest.mock.ANY": "changed json",  # which equals everything
    "import sys; sys.modules['json'] = sys": "",
    "import httpx; httpx.Client.get = None": "changed httpx",
    "from api.inferlet import Context; Context.fill = None": "changed api.inferlet.context",
    "import threading, time; threading.Thread(target=time.sleep, args=(60,), daemon=True).start()": "1 threads",
    "import subprocess; subprocess.Popen(['sleep', '5'])": "1 processes",
    "import signal; signal.signal(signal.SIGUSR1, signal.SIG_IGN)": "signal handlers",
    "import resource; resource.setrlimit(resource.RLIMIT_NOFILE, (100, 100))": "limits",
    "import os; os.nice(1)": "priority",
    "import sys; sys.addaudithook(lambda event, arguments: None)": "audit hook",
    "import audioop": "it has imported audioop",
}


def left(*sources: str) -> Any:
    """For each of these sources, in one process: whether all was as before after it, and what was said."""
    command = [sys.executable, "-c", SCRIPT, json.dumps(sources)]
    run = subprocess.run(command, capture_output=True, text=True, timeout=100)
    assert run.returncode == 0, run.stderr
    return json.loads(run.stdout)


def test_what_programs_change_is_put_back_and_the_process_is_used_again() -> None:
    assert dict(zip(UNDONE, left(*UNDONE), strict=True)) == dict.fromkeys(UNDONE, [True, []])


@pytest.mark.parametrize("source", LASTING)
def test_what_cannot_be_put_back_ends_the_process(source: str) -> None:
    ((is_undone, remarks),) = left(source)
    if LASTING[source]:
        assert len(remarks) == 1
        assert LASTING[source] in remarks[0]
    else:
        assert (is_undone, remarks) == (True, [])

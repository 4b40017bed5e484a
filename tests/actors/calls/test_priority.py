"""Standing back, in a process of its own: niceness cannot be taken back."""

import os
import subprocess
import sys

PROGRAM = """
import os, threading
os.nice({own})
started = threading.Event()
threading.Thread(target=started.wait, daemon=True).start()
from actors.calls.priority import lower_priority
lower_priority()
threads = [int(thread) for thread in os.listdir("/proc/self/task")]
assert {{os.sched_getscheduler(thread) for thread in threads}} == {{os.SCHED_BATCH}}
print(*(os.getpriority(os.PRIO_PROCESS, thread) for thread in threads))
"""


def niceness_of_threads(own: int) -> list[int]:
    program = PROGRAM.format(own=own)
    found = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    return [int(niceness) for niceness in found.stdout.split()]


def test_every_thread_stands_back() -> None:
    assert niceness_of_threads(0) == [max(10, os.nice(0))] * 2


def test_a_process_that_stands_further_back_stays_there() -> None:
    assert niceness_of_threads(15) == [min(19, os.nice(0) + 15)] * 2

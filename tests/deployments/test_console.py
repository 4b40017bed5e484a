from __future__ import annotations

import io

from rich.console import Console

from deployments.console import Steps


def test_without_a_terminal_each_change_is_one_plain_line() -> None:
    stream = io.StringIO()
    with Steps(Console(file=stream, markup=False, soft_wrap=True)) as steps:
        steps.say("Ray", "starting")
        steps.say("Ray", "starting")
        steps.say("Model [a]", "loading " + "/long" * 40)
        steps.done("Ray", "started")
    assert stream.getvalue() == f"Ray: starting\nModel [a]: loading {'/long' * 40}\nRay: started\n"


def test_on_a_terminal_the_last_state_of_each_step_stays_on_the_screen() -> None:
    stream = io.StringIO()
    with Steps(Console(file=stream, force_terminal=True, width=80)) as steps:
        steps.say("Ray", "starting")
        steps.done("Ray", "started [here]")
    last = next(line for line in reversed(stream.getvalue().splitlines()) if "Ray" in line)
    assert "started [here]" in last
    assert "✓" in last

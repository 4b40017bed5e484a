"""Taking Greenroom down: the application, the actors that outlive it, and Ray where ``up`` started it."""

from __future__ import annotations

from collections.abc import Callable

from deployments.home import Home, Record
from deployments.ray_connection import connect, find_cluster
from deployments.ray_head import forget_address, is_alive, lost_parts, remains, stop_head


def take_down(home: Home, keep_sessions: bool, say: Callable[[str], object]) -> None:
    """Take down what runs; what else the Ray cluster runs is left alone. Idempotent.

    Args:
        keep_sessions: leave the session actors, the journal and the directory, and with them Ray.
        say: told in sentences what has been done.

    Raises:
        CommandFailed: the Ray cluster is there but cannot be used.
    """
    were_remains = end_remains(home, say)
    record = find_cluster(home)
    if record is None:
        home.forget()
        if not were_remains:
            say("Nothing runs here.")
        return
    ray = connect(record)
    try:
        others = _remove(record, keep_sessions, say)
    finally:
        ray.shutdown()
    if record.processes and keep_sessions:
        say("Ray stays, and the session actors on it: the next `greenroom up` finds them.")
    elif record.processes and others:
        say(f"Ray stays, since it runs others too: {', '.join(others)}.")
    elif record.processes:
        stop_head(record.processes)
        forget_address(record.address)
        home.forget()
        say("Ray is stopped.")
    else:
        home.forget()
        say("Ray was not started by `greenroom up`, and stays.")


def _remove(record: Record, keep_sessions: bool, say: Callable[[str], object]) -> list[str]:
    """Remove what is ours; returns the names of what is not."""
    from ray import serve  # takes seconds

    from deployments import serving

    was_deployed = serving.is_deployed()
    serving.remove_application()
    say("Greenroom is removed from Serve." if was_deployed else "Greenroom was not deployed.")
    others = serving.other_applications()
    if record.started_serve and not others:
        serve.shutdown()
    if not keep_sessions and serving.remove_actors():
        say("Its actors are gone; the sessions are in the journal, and come back with the next `greenroom up`.")
    return others + serving.other_actors()


def end_remains(home: Home, say: Callable[[str], object]) -> bool:
    """End what is left of a Ray head that ``up`` started and that has lost a part; whether anything was left.

    It cannot be mended: without its GCS nothing starts any more, but the gateway still listens and the journal is held.
    """
    record = home.read()
    if record is None or not record.processes or is_alive(record.processes):
        return False
    lost, left = lost_parts(record.processes), remains(record.processes)
    if left:
        what = " and ".join(lost)
        say(
            f"The Ray that `greenroom up` started at {record.address} has lost its {what}, and {len(left)} of its "
            "processes still ran: they are ended. The sessions are in the journal."
        )
    stop_head(record.processes)
    forget_address(record.address)
    home.forget()
    return bool(left)

"""What Ray and Serve say, and the sentence that an operator gets of it."""

from __future__ import annotations

from deployments.failures import sentence_of_connection, sentence_of_trace

FAILED_TO_START = """\
The deployment failed to start 3 times in a row. This may be due to a problem with its constructor or initial \
health check failing. See controller logs for details. Error:
\x1b[36mray::ServeReplica:greenroom:Model-m.initialize_and_get_metadata()\x1b[39m (pid=14803, ip=192.0.2.2)
  File "/usr/lib/python3.11/concurrent/futures/_base.py", line 449, in result
    return self.__get_result()
RuntimeError: Traceback (most recent call last):
  File "/srv/site-packages/ray/serve/_private/replica.py", line 1163, in initialize
    await self._user_callable_wrapper.initialize_callable()
  File "/srv/actors/calls/ray.py", line 33, in ask
    raise error.cause from None
api.errors.InvalidRequest: no model can be loaded from /models/m: The checkpoint you are trying to load has model \
type `steam` but Transformers does not recognize this architecture.

You can update Transformers with the command `pip install --upgrade transformers`.
"""

MISMATCH = """\
Version mismatch: The cluster was started with:
    Ray: 2.9.3
    Python: 3.11.7
This process on node 192.0.2.2 was started with:
    Ray: 2.60.0
    Python: 3.11.7
"""


def test_our_own_error_is_found_in_the_trace_of_a_replica() -> None:
    assert sentence_of_trace(FAILED_TO_START) == (
        "no model can be loaded from /models/m: The checkpoint you are trying to load has model type `steam` but "
        "Transformers does not recognize this architecture."
    )


def test_any_other_error_is_told_by_its_last_line() -> None:
    trace = "Error:\nTraceback (most recent call):\nValueError: one\n  File x\nsqlite3.OperationalError: disk is full\n"
    assert sentence_of_trace(trace) == "OperationalError: disk is full"
    assert sentence_of_trace("something happened\n") == "something happened"
    assert sentence_of_trace("") == "no reason was given"


def test_workers_without_greenroom_are_told_as_such() -> None:
    trace = "Traceback:\nray.exceptions.RaySystemError: System error: No module named 'deployments'\ntraceback: ...\n"
    assert sentence_of_trace(trace).startswith(
        "the cluster's workers cannot import Greenroom: install it on every node"
    )


def test_another_version_of_ray_or_python_is_named() -> None:
    assert sentence_of_connection(RuntimeError(MISMATCH), "10.0.0.1:6379") == (
        "the Ray cluster at 10.0.0.1:6379 runs Ray 2.9.3, and this command Ray 2.60.0: "
        "use the same version on both sides"
    )
    other_python = MISMATCH.replace("2.9.3", "2.60.0").replace("Python: 3.11.7", "Python: 3.12.1", 1)
    assert sentence_of_connection(RuntimeError(other_python), "a:1") == (
        "the Ray cluster at a:1 runs Python 3.12.1, and this command Python 3.11.7: use the same version on both sides"
    )


def test_a_missing_token_is_named() -> None:
    error = ConnectionError("Failed to connect to Ray cluster at a:1")
    error.__cause__ = RuntimeError("RPC error: InvalidAuthToken: Authentication token is missing or incorrect.")
    assert "wants another authentication token: set RAY_AUTH_MODE=token" in sentence_of_connection(error, "a:1")


def test_any_other_failure_to_connect_is_told_in_one_line() -> None:
    sentence = sentence_of_connection(RuntimeError("it\nbroke\n" * 9), "a:1")
    assert sentence == "no connection to the Ray cluster at a:1: it"

"""Calls that are made again until they succeed, or for as long as their caller waits."""

from __future__ import annotations

import pytest

from actors.calls.ray import patiently


class Attempts:
    """Fails with each of these errors in turn, then succeeds."""

    def __init__(self, *errors: Exception) -> None:
        self.errors = list(errors)
        self.num_made = 0

    async def __call__(self) -> str:
        self.num_made += 1
        if self.errors:
            raise self.errors.pop(0)
        return "done"


async def test_an_attempt_that_fails_is_made_again_at_once_and_then_after_a_while() -> None:
    attempts = Attempts(KeyError(1), ValueError(2), KeyError(3))
    assert await patiently(attempts, (KeyError, ValueError), 60.0) == "done"
    assert attempts.num_made == 4
    assert await patiently(Attempts(KeyError(1)), KeyError, 60.0, retry_s=1e9) == "done", "the second comes at once"


async def test_the_error_of_the_last_attempt_is_raised_when_the_time_is_over() -> None:
    attempts = Attempts(KeyError(1), KeyError(2))
    with pytest.raises(KeyError, match="1"):
        await patiently(attempts, KeyError, 0.0)
    assert attempts.num_made == 1


async def test_other_errors_are_raised_at_once() -> None:
    attempts = Attempts(KeyError(1), ValueError(2))
    with pytest.raises(ValueError, match="2"):
        await patiently(attempts, KeyError, 60.0)
    assert attempts.num_made == 2

"""The tree of errors, against its drawing, the README and what crosses a process or a connection."""

import pickle
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from api import errors
from api.client.remote_errors import error_of
from api.errors import Conflict, Fenced, GreenroomError, LengthExceeded, NotFound, TurnRunning

README = (Path(__file__).parents[2] / "README.md").read_text()

NEVER_ANSWERED = {
    *("conflict", "not_found"),
    *("closed", "end_of_events", "generation_unread"),
    *("id_taken", "in_use", "not_last"),
}
"""Codes with a status that no table of the README names: of a whole branch, or raised beside the caller only."""


def tree(kind: type[GreenroomError]) -> Iterator[type[GreenroomError]]:
    yield kind
    for child in kind.__subclasses__():
        if child.__module__ == errors.__name__:
            yield from tree(child)


KINDS = list(tree(GreenroomError))


def test_the_drawing_is_the_tree() -> None:
    lines = re.findall(r"^[ │├└─]*([A-Z]\w+) +(\d{3})? +([a-z_]+)( +retryable)?$", errors.__doc__ or "", re.MULTILINE)
    drawn = {(name, int(status or 500), code, bool(retryable)) for name, status, code, retryable in lines}
    assert drawn == {(kind.__name__, kind.status, kind.code, kind.retryable) for kind in KINDS}


def test_each_situation_has_a_code_of_its_own() -> None:
    assert len({kind.code for kind in KINDS}) == len(KINDS)


def test_the_readme_names_the_codes_that_are_answered_with_their_status() -> None:
    named: set[tuple[int, str]] = set()
    for statuses, codes in re.findall(r"^\| ([45]\d\d[\d, ]*) \| (`.*`) \|$", README, re.MULTILINE):
        numbers, names = statuses.split(", "), codes.split(", ")
        numbers *= len(names) if len(numbers) == 1 else 1
        named |= {(int(number), name.strip("`")) for number, name in zip(numbers, names, strict=True)}
    shown = {(kind.status, kind.code) for kind in KINDS if kind.status != 500}
    assert named <= shown
    assert {code for _, code in shown - named} == NEVER_ANSWERED


@pytest.mark.parametrize("kind", KINDS)
def test_an_error_comes_back_from_its_code_as_itself(kind: type[GreenroomError]) -> None:
    message = "prefix 1 + current 2 exceeds 3" if kind is LengthExceeded else "it's said"
    found = error_of(kind.code, message)
    assert type(found) is (GreenroomError if kind is Fenced else kind)
    again = pickle.loads(pickle.dumps(found))
    assert (type(again), str(again)) == (type(found), str(found))


def test_who_expects_the_branch_gets_its_kinds() -> None:
    assert issubclass(TurnRunning, Conflict)
    assert not issubclass(NotFound, Conflict)
    assert type(error_of("conflict", "an earlier server's word")) is Conflict

"""Why a command cannot do what was asked: one sentence, made from whatever went wrong."""

from __future__ import annotations

import re
from collections.abc import Sequence

from pydantic import ValidationError
from pydantic_core import ErrorDetails

_LONGEST = 400
_NUM_PROBLEMS = 3
_OURS = re.compile(r"\bapi\.errors\.\w+: (.+)")
_ANY = re.compile(r"^\s*((?:\w+\.)*\w*(?:Error|Exception|Timeout|NotFound|Exhausted)): (.+)", re.MULTILINE)
_COLOURS = re.compile(r"\x1b\[[0-9;]*m")


class CommandFailed(Exception):
    """The command ends with exit code 1 and this sentence, which is all that an operator needs."""


def sentence_of_validation(error: ValidationError) -> str:
    """The fields that are wrong, and what is wrong with each, without pydantic's vocabulary."""
    details = error.errors(include_url=False, include_input=False, include_context=False)
    causes = [detail for detail in details if not _is_consequence(detail["loc"], details)]
    problems = []
    for detail in causes[:_NUM_PROBLEMS]:
        location, text = detail["loc"], detail["msg"].removeprefix("Value error, ")
        if detail["type"] in ("extra_forbidden", "unexpected_keyword_argument"):
            text = "no such setting"
            if "api_keys" in location:  # it might be a key, written in the wrong place
                location, text = location[:-1], "a setting that is none of key, key_file, key_env and owner"
        field = ".".join(str(step) for step in location)
        problems.append(f"{field}: {text[0].lower()}{text[1:]}" if field else text)
    rest = len(causes) - len(problems)
    return "; ".join(problems) + (f"; and {rest} more" if rest > 0 else "")


def _is_consequence(location: tuple[int | str, ...], details: Sequence[ErrorDetails]) -> bool:
    """A list whose entries are wrong is also reported as too short."""
    return any(len(other["loc"]) > len(location) and other["loc"][: len(location)] == location for other in details)


def sentence_of_system(error: OSError) -> str:
    """What the operating system says, and of which file."""
    reason = error.strerror or str(error) or type(error).__name__
    return f"{error.filename}: {reason}" if error.filename else reason


def sentence_of_trace(text: str) -> str:
    """The cause in what Serve says of a deployment that did not start: our own error if there is one, else the last."""
    text = _COLOURS.sub("", text)
    if "No module named 'deployments'" in text or "No module named 'actors'" in text:
        return "the cluster's workers cannot import Greenroom: install it on every node, in the Python that runs Ray"
    if ours := _OURS.findall(text):
        return shortened(ours[-1])
    if others := _ANY.findall(text):
        kind, words = others[-1]
        return shortened(f"{kind.rsplit('.', 1)[-1]}: {words}")
    lines = [line for line in text.splitlines() if line.strip()]
    return shortened(lines[-1]) if lines else "no reason was given"


def sentence_of_connection(error: BaseException, address: str) -> str:
    """Why this process cannot use the Ray cluster at an address."""
    text = " ".join(str(cause) for cause in (error, error.__cause__, error.__context__) if cause)
    if "Version mismatch" in text:
        return _mismatch(text, address)
    if "AuthenticationError" in text or "uthentication" in text or "InvalidAuthToken" in text:
        return (
            f"the Ray cluster at {address} wants another authentication token: set RAY_AUTH_MODE=token, "
            "and RAY_AUTH_TOKEN_PATH to the file with the cluster's token"
        )
    return f"no connection to the Ray cluster at {address}: {shortened(str(error) or type(error).__name__)}"


def _mismatch(text: str, address: str) -> str:
    rays, pythons = re.findall(r"Ray: (\S+)", text), re.findall(r"Python: (\S+)", text)
    if len(rays) != 2 or len(pythons) != 2:
        return f"the Ray cluster at {address} runs other versions than this process: {shortened(text)}"
    differing = [
        f"{name} {theirs}, and this command {name} {mine}"
        for name, (theirs, mine) in (("Ray", rays), ("Python", pythons))
        if theirs != mine
    ]
    return f"the Ray cluster at {address} runs {'; '.join(differing)}: use the same version on both sides"


def shortened(text: str) -> str:
    """The first line, and not more of it than an operator reads."""
    line = text.strip().splitlines()[0].strip() if text.strip() else ""
    return line if len(line) <= _LONGEST else line[: _LONGEST - 1] + "…"

"""Sources are read whatever the interpreter is doing meanwhile."""

from __future__ import annotations

import ast
from typing import Any

import pytest

from actors.inferlets.program import check
from api.errors import InvalidRequest

SOURCE = "from api.inferlet import inferlet\n\n@inferlet\nasync def main(args):\n    pass\n"


@pytest.mark.parametrize(("num_failures", "is_read"), [(0, True), (2, True), (1000, False)])
def test_an_interpreter_that_miscounts_the_depth_of_a_source_reads_it_again(
    num_failures: int, is_read: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, failures = ast.parse, iter(range(num_failures))

    def parse(*arguments: Any) -> Any:
        if next(failures, None) is not None:
            raise SystemError("AST constructor recursion depth mismatch (before=159, after=211)")
        return real(*arguments)

    monkeypatch.setattr(ast, "parse", parse)
    if is_read:
        check(SOURCE, "p.py")
    else:
        with pytest.raises(InvalidRequest, match="nested too deeply"):
            check(SOURCE, "p.py")

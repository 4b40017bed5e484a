"""The command in a folder that has packages of our names."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("package", ["api", "actors"])
def test_a_package_that_shadows_ours_is_named(package: str, tmp_path: Path) -> None:
    (tmp_path / package).mkdir()
    (tmp_path / package / "__init__.py").write_text("")
    result = run(tmp_path)
    assert result.returncode == 1
    assert result.stdout == ""
    assert result.stderr.startswith(f"greenroom: the package '{package}' in {tmp_path} shadows Greenroom's own in")
    assert result.stderr.count("\n") == 1


def test_a_folder_of_the_name_that_is_no_package_does_not_matter(tmp_path: Path) -> None:
    (tmp_path / "api").mkdir()
    assert run(tmp_path).returncode == 0


def run(folder: Path) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"PYTHONPATH": f"{folder}{os.pathsep}{ROOT}"}
    command = [
        sys.executable,
        "-P",
        "-c",
        "import sys; sys.argv[1:] = ['--help']; from deployments.entry import main; main()",
    ]
    return subprocess.run(command, env=environment, cwd=folder, capture_output=True, text=True, timeout=60)

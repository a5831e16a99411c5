"""The public types, as a user's strict type checker sees them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import junetts

ROOT = Path(__file__).parents[2]


def check(path: Path, cache: Path) -> subprocess.CompletedProcess[str]:
    """Run mypy as a user would: strictly, in another directory, without our settings."""
    command = [
        sys.executable,
        "-m",
        "mypy",
        "--strict",
        "--config-file=",
        "--cache-dir",
        str(cache),
    ]
    return subprocess.run([*command, str(path)], capture_output=True, text=True, cwd=cache)


@pytest.mark.timeout(120)
def test_user_code_is_well_typed(tmp_path: Path) -> None:
    """Typical code passes ``mypy --strict``; a mistake in it does not."""
    good = check(ROOT / "tests" / "typing" / "user_code.py", tmp_path)
    assert good.returncode == 0, good.stdout + good.stderr
    wrong = tmp_path / "wrong.py"
    wrong.write_text("import junetts\njunetts.synthesize(b'bytes').save(3)\n", encoding="utf-8")
    bad = check(wrong, tmp_path)
    assert bad.returncode == 1
    assert bad.stdout.count("error:") == 2


def test_the_package_says_that_it_is_typed() -> None:
    """Type checkers look for this file."""
    assert (Path(junetts.__file__).parent / "py.typed").exists()

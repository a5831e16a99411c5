"""The list of mutants speaks of the source as it is."""

from __future__ import annotations

from pathlib import Path

import pytest

from mutation.mutant import Target
from mutation.mutants import TARGETS

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("target", TARGETS, ids=lambda target: target.file)
def test_every_mutant_fits(target: Target) -> None:
    """Each occurs once, changes something, and is still Python; none is listed twice."""
    source = (ROOT / "src" / "junetts" / target.file).read_text(encoding="utf-8")
    broken = [mutant.applied(source) for mutant in target.mutants]
    assert source not in broken
    assert len(set(broken)) == len(broken)
    for one in broken:
        compile(one, target.file, "exec")


@pytest.mark.parametrize("target", TARGETS, ids=lambda target: target.file)
def test_the_tests_exist(target: Target) -> None:
    """A test file that was renamed would notice nothing."""
    assert all((ROOT / "tests" / name).is_file() for name in target.tests)

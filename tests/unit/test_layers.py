"""Imports point down; the project's own contracts decide."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
CHECK = "from importlinter.cli import lint_imports; raise SystemExit(lint_imports(no_cache=True))"


@pytest.mark.timeout(60)
def test_the_import_contracts_hold() -> None:
    """import-linter, with the contracts in pyproject.toml, finds nothing to say.

    In a process of its own, because it silences all loggers that there are.
    """
    done = subprocess.run(
        [sys.executable, "-c", CHECK], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout

"""Importing costs next to nothing."""

from __future__ import annotations

import subprocess
import sys

HEAVY = ("numpy", "pydantic", "httpx", "anyio", "websockets", "torch", "typer", "asyncio", "ssl")


def run(code: str) -> str:
    """What a fresh interpreter prints."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


def test_importing_junetts_imports_nothing_heavy() -> None:
    """Neither third parties nor the event loop are loaded by ``import junetts``."""
    code = f"import junetts, sys; print([m for m in {HEAVY} if m in sys.modules])"
    assert run(code) == "[]"


def test_values_and_errors_are_light() -> None:
    """Errors and values can be used without any of the heavy modules either."""
    names = "JuneTtsError, Voice, Prosody, Sampling, AudioChunk, SpeechReport"
    code = f"from junetts import {names}; import sys; Voice('june'); Prosody(speed=1.1)\n"
    code += f"print([m for m in {HEAVY} if m in sys.modules])"
    assert run(code) == "[]"


def test_a_star_import_resolves_every_name() -> None:
    """``from junetts import *`` gives all of `__all__`."""
    code = "from junetts import *; import junetts\n"
    code += "print([name for name in junetts.__all__ if name not in globals()])"
    assert run(code) == "[]"

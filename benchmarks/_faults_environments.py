"""The peers' virtual environments, made once from the package index and then reused."""

from __future__ import annotations

import os
import subprocess
import sys
import venv
from pathlib import Path

REQUIREMENTS = Path(__file__).resolve().parent / "requirements-faults.txt"
STAMP = "made-from"


class DoesNotInstallError(Exception):
    """What pip said last about a peer that cannot be installed here."""


def python_of(packages: tuple[str, ...], folder: Path) -> Path:
    """The interpreter of an environment with these packages, at the versions that are pinned.

    Raises:
        DoesNotInstallError: if pip cannot install them.
    """
    python = (folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")).absolute()
    wanted = "\n".join([sys.version, *packages, REQUIREMENTS.read_text(encoding="utf-8")])
    stamp = folder / STAMP
    if not (stamp.exists() and stamp.read_text(encoding="utf-8") == wanted):
        if folder.exists() and any(folder.iterdir()) and not (folder / "pyvenv.cfg").exists():
            raise SystemExit(f"{folder} is not a virtual environment; it is left as it is")
        venv.create(folder, clear=True, symlinks=os.name != "nt", with_pip=True)
        _install(python, packages)
        stamp.write_text(wanted, encoding="utf-8")
    return python


def _install(python: Path, packages: tuple[str, ...]) -> None:
    install = ["-m", "pip", "install", "--quiet", "--constraint", str(REQUIREMENTS), *packages]
    done = subprocess.run([python, *install], capture_output=True, text=True, check=False)
    if done.returncode:
        raise DoesNotInstallError(_reason(done.stdout + done.stderr))


def _reason(log: str) -> str:
    """The first line of pip's that says what is missing, else its last one."""
    lines = [line.strip() for line in log.splitlines() if "error" in line.lower()]
    fatal = [line for line in lines if "fatal error" in line]
    return next(iter([*fatal, *reversed(lines)]), "pip failed")

"""The virtual environment of the real fish-speech, made once and then reused.

Its server runs there, and so does whatever compares our engine with upstream's: what junetts
depends on is installed, junetts itself is not, because it changes from run to run.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import tomllib
import venv
from pathlib import Path

HERE = Path(__file__).resolve().parent
REQUIREMENTS = HERE / "requirements-server.txt"
REQUIREMENTS_NODEPS = HERE / "requirements-server-nodeps.txt"
PROJECT = HERE.parents[1] / "pyproject.toml"
CODEC_CONFIG = HERE / "s1_tiny_codec.yaml"
CHECKPOINT_MAKER = HERE / "make_checkpoint.py"
CHECKPOINT_SOURCE = HERE.parent / "data" / "s1-tiny"
STAMP = "made-from"


def python_of(env: Path) -> Path:
    """Return the interpreter of the virtual environment at `env`."""
    return env / ("Scripts/python.exe" if os.name == "nt" else "bin/python")


def checkpoint_of(env: Path) -> Path:
    """Return the directory of the tiny checkpoint that belongs to `env`."""
    return env / "s1-tiny"


def our_dependencies() -> list[str]:
    """Return what junetts needs to speak with a model on this machine."""
    project = tomllib.loads(PROJECT.read_text(encoding="utf-8"))["project"]
    needed: list[str] = [*project["dependencies"], *project["optional-dependencies"]["local"]]
    return needed


def fingerprint() -> str:
    """Return a digest of everything that the environment is made from."""
    inputs = [REQUIREMENTS, REQUIREMENTS_NODEPS, HERE.parent / "constraints.txt"]
    inputs += [CODEC_CONFIG, CHECKPOINT_MAKER, *sorted(CHECKPOINT_SOURCE.iterdir())]
    digest = hashlib.sha256("\n".join([sys.version, *our_dependencies()]).encode())
    for path in inputs:
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()


def is_current(env: Path) -> bool:
    """Tell whether `env` was made, to the end, from what is here now."""
    stamp = env / STAMP
    return stamp.exists() and stamp.read_text() == fingerprint()


def run(python: Path, *arguments: str | Path) -> None:
    """Run that interpreter, with its output on stderr; raise if it fails."""
    subprocess.run([python, *arguments], check=True, stdout=sys.stderr)


def install(python: Path) -> None:
    """Install upstream and what it needs, and what junetts needs beside it."""
    ours = our_dependencies()
    run(python, "-m", "pip", "install", "--quiet", "-r", REQUIREMENTS, *ours)
    run(python, "-m", "pip", "install", "--quiet", "--no-deps", "-r", REQUIREMENTS_NODEPS)


def complete(python: Path) -> None:
    """Add what the package expects around itself: a project root and our codec's sizes."""
    code = "import sysconfig; print(sysconfig.get_path('purelib'))"
    found = subprocess.run([python, "-c", code], check=True, capture_output=True, text=True)
    packages = Path(found.stdout.strip())
    (packages / ".project-root").touch()
    shutil.copy(CODEC_CONFIG, packages / "fish_speech" / "configs" / CODEC_CONFIG.name)


def make(env: Path) -> Path:
    """Make the environment at `env`, unless it is current, and return its interpreter."""
    python = python_of(env)
    if is_current(env):
        return python
    if env.exists() and any(env.iterdir()) and not (env / "pyvenv.cfg").exists():
        raise SystemExit(f"{env} is not a virtual environment; it is left as it is")
    venv.create(env, clear=True, symlinks=os.name != "nt", with_pip=True)
    install(python)
    complete(python)
    checkpoint_of(env).mkdir()
    run(python, CHECKPOINT_MAKER, CHECKPOINT_SOURCE, checkpoint_of(env))
    (env / STAMP).write_text(fingerprint())
    return python


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python tests/interop/server_env.py PATH")
    sys.stdout.write(f"{make(Path(sys.argv[1]).resolve())}\n")

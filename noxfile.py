"""Every check of the project: `nox` runs them all, `nox -s NAME` one of them."""

from __future__ import annotations

import shutil
from pathlib import Path

import nox

nox.needs_version = ">=2024.10"
nox.options.reuse_existing_virtualenvs = True
nox.options.error_on_missing_interpreters = True
nox.options.sessions = ["lint", "types", "imports", "tests", "faults", "leaks", "interop", "docs"]

CONSTRAINTS = "tests/constraints.txt"
PYTEST = ["python", "-m", "pytest", "--no-skips"]


def install_wheel(session: nox.Session, extras: str) -> None:
    """Build the wheel as users get it, and install that, not the source tree."""
    session.env["OMP_NUM_THREADS"] = "1"  # the tests' tensors are so small that more cost time
    folder = Path(session.create_tmp()) / "wheel"
    shutil.rmtree(folder, ignore_errors=True)
    session.install("build")
    session.run("python", "-m", "build", "--wheel", "--outdir", str(folder), silent=True)
    wheel = next(folder.glob("*.whl"))
    session.install("--constraint", CONSTRAINTS, f"{wheel}[{extras}]")
    session.install("--force-reinstall", "--no-deps", str(wheel))


@nox.session
def lint(session: nox.Session) -> None:
    """Formatting and lint."""
    session.install("ruff", "--constraint", CONSTRAINTS)
    session.run("ruff", "format", "--check", ".")
    session.run("ruff", "check", ".")


@nox.session
def types(session: nox.Session) -> None:
    """`mypy --strict` over the package, the tests' tools, and a user's file."""
    install_wheel(session, "demo,play,local,test")
    session.install("nox")
    session.run("mypy", "--strict", "src", "noxfile.py")
    session.run("mypy", "--strict", "tests/typing")


@nox.session
def imports(session: nox.Session) -> None:
    """The layers, by import-linter."""
    session.install("-e", ".[test]", "--constraint", CONSTRAINTS)
    session.run("lint-imports")


@nox.session
def tests(session: nox.Session) -> None:
    """Unit, property and contract tests on the built wheel, with coverage."""
    install_wheel(session, "demo,play,local,test")
    session.run("coverage", "erase")
    session.run(*PYTEST, "-n", "logical", "--cov", "--cov-report=", *session.posargs)
    if not session.posargs:
        session.run("coverage", "report", "--fail-under=95")


@nox.session
def faults(session: nox.Session) -> None:
    """Every fault, everywhere, in every way to speak: the matrix, and its counts."""
    install_wheel(session, "demo,play,local,test")
    session.run(*PYTEST, "tests/faults", *session.posargs)


@nox.session
def leaks(session: nox.Session) -> None:
    """Thousands of utterances leave nothing behind."""
    install_wheel(session, "demo,local,test")
    session.run(*PYTEST, "tests/leaks", *session.posargs)


@nox.session
def interop(session: nox.Session) -> None:
    """Against the real peers: fish-speech, its server and its engine, and the official SDK."""
    install_wheel(session, "demo,local,test")
    session.install("-r", "tests/interop/requirements-client.txt")
    environment = Path(".nox", "interop-server")
    session.run("python", "tests/interop/server_env.py", str(environment))
    session.run(*PYTEST, "tests/interop", *session.posargs)


@nox.session
def docs(session: nox.Session) -> None:
    """The examples in the documentation run, and its pages build without a broken link."""
    install_wheel(session, "demo,local,test,docs")
    session.run(*PYTEST, "docs", "README.md", *session.posargs)
    session.run("mkdocs", "build", "--strict", "--quiet", "--site-dir", session.create_tmp())


@nox.session
def long(session: nox.Session) -> None:
    """The property tests with 100,000 examples each; not part of the default run."""
    install_wheel(session, "demo,local,test")
    session.run(*PYTEST, "-m", "long", "--timeout=3600", *session.posargs)


@nox.session
def mutants(session: nox.Session) -> None:
    """Failover, broken on purpose in hundreds of ways; not part of the default run."""
    install_wheel(session, "demo,play,local,test")
    paths = {"PYTHONPATH": "tests"}
    session.run("python", "-m", "mutation.run", *session.posargs, env=paths)


@nox.session
def bench(session: nox.Session) -> None:
    """The benchmarks behind the README's numbers; not part of the default run."""
    install_wheel(session, "demo,test")
    session.install("-r", "benchmarks/requirements.txt")
    session.run("python", "benchmarks/wire.py", *session.posargs)
    session.run("python", "benchmarks/failover.py")

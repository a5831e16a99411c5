"""The commands' frame: arguments in, exit status out."""

from __future__ import annotations

import builtins
import errno
import sys
from typing import TYPE_CHECKING, NoReturn

import pytest

from junetts.__main__ import main
from junetts._errors import BackendUnavailableError
from junetts.cli import failures

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@pytest.fixture
def junetts(monkeypatch: pytest.MonkeyPatch) -> Callable[..., int]:
    """Run the command line in this process; gives the exit status."""

    def run(*arguments: str) -> int:
        monkeypatch.setattr(sys, "argv", ["junetts", *arguments])
        with pytest.raises(SystemExit) as left:
            main()
        assert isinstance(left.value.code, int)
        return left.value.code

    return run


def raising(error: BaseException) -> Callable[..., NoReturn]:
    """A function that fails."""

    def fail(*_: object, **__: object) -> NoReturn:
        raise error

    return fail


def test_say(
    junetts: Callable[..., int], surrounding: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Options reach the order."""
    assert junetts("say", "Hi.", "-o", "x.wav", "--backend", "demo", "--speed", "2") == 0
    assert (surrounding / "x.wav").exists()
    assert "by demo" in capsys.readouterr().err


def test_settings_and_doctor(
    junetts: Callable[..., int], surrounding: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """``--config`` and ``--json`` reach the other commands."""
    (surrounding / "mine.toml").write_text('backends = ["demo"]')
    assert junetts("config", "--config", "mine.toml") == 0
    assert 'backends = ["demo"]  # mine.toml' in capsys.readouterr().out
    assert junetts("doctor", "--config", "mine.toml", "--json") == 0
    assert '"speaks_with": "demo"' in capsys.readouterr().out


def test_version(junetts: Callable[..., int], capsys: pytest.CaptureFixture[str]) -> None:
    """The version is that of the installed package."""
    assert junetts("--version") == 0
    assert capsys.readouterr().out.startswith("junetts 0.")


def test_usage(junetts: Callable[..., int], capsys: pytest.CaptureFixture[str]) -> None:
    """Wrong usage is 2, and so is none at all."""
    assert junetts() == 2
    assert junetts("say", "x", "--backend", "clowd") == 2
    assert "--backend must be one of" in capsys.readouterr().err
    assert junetts("say", "x", "-o", "x.txt") == 2


@pytest.mark.parametrize(
    ("error", "status", "complaint"),
    [
        (KeyboardInterrupt(), 130, ""),
        (BackendUnavailableError("gone"), 1, "junetts: gone\n"),
    ],
)
def test_what_a_command_raises(
    junetts: Callable[..., int],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    error: BaseException,
    status: int,
    complaint: str,
) -> None:
    """Errors and Ctrl-C become an exit status and at most two lines."""
    monkeypatch.setattr("junetts.cli.settings.show_settings", raising(error))
    assert junetts("config") == status
    assert capsys.readouterr().err.startswith(complaint)


@pytest.mark.parametrize(
    ("error", "status", "complaint"),
    [
        (BrokenPipeError(errno.EPIPE, "Broken pipe"), 141, ""),
        (OSError(errno.ENOSPC, "No space left"), 1, "junetts: No space left\n"),
    ],
)
def test_stdout_takes_no_more(
    junetts: Callable[..., int],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    error: OSError,
    status: int,
    complaint: str,
) -> None:
    """A reader that has gone is no failure, a full disk is; the rest then goes nowhere."""
    monkeypatch.setattr("junetts.cli.settings.show_settings", raising(error))
    with (tmp_path / "out").open("w") as stdout:
        monkeypatch.setattr(sys, "stdout", stdout)
        assert junetts("config") == status
        stdout.write("late")
    assert (tmp_path / "out").read_text() == ""
    assert capsys.readouterr().err == complaint
    monkeypatch.setattr(sys, "stdout", None)
    failures.drop_stdout()


@pytest.mark.parametrize(
    ("error", "status"),
    [(ModuleNotFoundError(name="rich.console"), 1), (KeyboardInterrupt(), 130)],
)
def test_what_importing_raises(
    junetts: Callable[..., int],
    monkeypatch: pytest.MonkeyPatch,
    error: BaseException,
    status: int,
) -> None:
    """A missing extra, or Ctrl-C while modules are loaded, is no traceback."""
    load = builtins.__import__

    def broken(name: str, *rest: object) -> object:
        if name == "junetts.cli.app":
            raise error
        return load(name, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(builtins, "__import__", broken)
    assert junetts("--version") == status


def test_foreign_missing_module(
    junetts: Callable[..., int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A module that is missing for another reason is not explained away."""
    monkeypatch.setitem(sys.modules, "junetts.cli.app", None)
    with pytest.raises(ModuleNotFoundError):
        junetts("--version")

"""Failures as a person at a terminal reads them: one line, and what to do about it."""

from __future__ import annotations

import errno
import os
import signal
import sys

from junetts._errors import (
    BackendUnavailableError,
    CheckpointError,
    JuneTtsError,
    NoBackendAvailableError,
)

FAILED = 1
INTERRUPTED = 130  # what a shell expects of a command that Ctrl-C has ended
BROKEN_PIPE = 128 + getattr(signal, "SIGPIPE", 13)


def printable(text: str) -> str:
    """Text on one line, free of what could move a terminal's cursor."""
    first, *rest = [line.strip() for line in text.splitlines()] or [""]
    line = f"{first} {'; '.join(rest)}" if rest else first
    return "".join(character if character.isprintable() else "?" for character in line)


def say_on_stderr(line: str) -> None:
    """One line for people, never mixed with audio or JSON."""
    if sys.stderr is not None:
        sys.stderr.write(f"{printable(line)}\n")


def complain(error: JuneTtsError) -> None:
    """The error in one line, and in another what can be done, if that is known."""
    say_on_stderr(f"junetts: {error}")
    hint = hint_of(error)
    if hint and hint not in str(error):
        say_on_stderr(f"hint: {hint}")


def hint_of(error: JuneTtsError) -> str | None:
    """What a person can do about an error."""
    if error.hint:
        return error.hint
    if isinstance(error, CheckpointError):
        return None  # `doctor` would find no more
    if isinstance(error, (BackendUnavailableError, NoBackendAvailableError)):
        return "`junetts doctor` checks every backend"
    return None


def is_broken_pipe(error: BaseException) -> bool:
    """Whether the reader of our output has gone, which is its right and no failure to explain."""
    return isinstance(error, OSError) and error.errno == errno.EPIPE


def drop_stdout() -> None:
    """Let the interpreter's last flush go nowhere: the reader of our output has gone."""
    if sys.stdout is not None:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())

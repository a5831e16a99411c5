"""How far a long text has come, on a terminal."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from junetts._report import SpeechReport

LONG_TEXT_CHARACTERS = 300
_INTERVAL_S = 0.1

Show = Callable[[SpeechReport], None]


@contextmanager
def progress(text: str) -> Iterator[Callable[[Callable[[], SpeechReport]], None]]:
    """Something to call after every chunk with a way to get the report.

    It shows nothing for a short text, or if stderr is no terminal.
    """
    if len(text) < LONG_TEXT_CHARACTERS or sys.stderr is None or not sys.stderr.isatty():
        yield lambda _: None
        return
    from rich.console import Console
    from rich.live import Live
    from rich.text import Text

    console = Console(stderr=True)
    # Refreshed from here: a thread of its own would have to be stopped on every way out.
    with Live("", console=console, auto_refresh=False, transient=True) as live:
        yield _Throttled(
            lambda report: live.update(Text(progress_line(report, len(text))), refresh=True)
        )


class _Throttled:
    """Calls on at most ten times a second: a report of a long text is work to make."""

    def __init__(self, show: Show, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._show = show
        self._clock = clock
        self._due = 0.0

    def __call__(self, report: Callable[[], SpeechReport]) -> None:
        now = self._clock()
        if now >= self._due:
            self._due = now + _INTERVAL_S
            self._show(report())


def progress_line(report: SpeechReport, n_characters: int) -> str:
    """Segments done, how much of a text of so many characters that is, seconds of audio, TTFA."""
    n_spoken = sum(segment.state == "spoken" for segment in report.segments)
    percent = 100 * len(report.spoken_text) // n_characters
    segments = f"{n_spoken} segment{'' if n_spoken == 1 else 's'} spoken ({percent} %)"
    return f"{segments}, {report.audio_s:.1f} s of speech{first_audio(report)}"


def first_audio(report: SpeechReport) -> str:
    """When the first audio came, in brackets; nothing if there was none."""
    if report.ttfa_s is None:
        return ""
    if report.ttfa_s < 1:
        return f" (first audio after {report.ttfa_s * 1000:.0f} ms)"
    return f" (first audio after {report.ttfa_s:.1f} s)"


def summary_line(report: SpeechReport | None, name: str) -> str:
    """What has become of the text, and where it went; None is a report that was not begun."""
    if report is None:
        return f"{name}: no speech"
    speaker = f" by {report.backend}" if report.backend else ""
    if not report.audio_s:
        what = "nothing to say" if report.outcome == "complete" else "no speech"
        return f"{name}: {what}"
    ending = "" if report.outcome == "complete" else f", {report.outcome}"
    return f"{name}: {report.audio_s:.1f} s of speech{speaker}{ending}{first_audio(report)}"

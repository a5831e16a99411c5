"""What is said on stderr: progress, summaries, complaints."""

from __future__ import annotations

import io
import sys
from dataclasses import replace

import pytest

from junetts._errors import BackendUnavailableError, ConfigError, NoBackendAvailableError
from junetts._report import SegmentReport, SpeechReport
from junetts.cli.failures import complain, printable, say_on_stderr
from junetts.cli.progress import _Throttled, progress, progress_line, summary_line

SEGMENTS = tuple(
    SegmentReport(index=n, text="x", state=state, backend="demo", start_s=0.0, duration_s=1.0)
    for n, state in enumerate(("spoken", "spoken", "speaking"))
)
REPORT = SpeechReport(
    outcome="complete",
    spoken_text="x",
    unspoken_text="",
    segments=SEGMENTS,
    attempts=(),
    handovers=(),
    backend="demo",
    sample_rate=8000,
    ttfa_s=0.0084,
    rtf=None,
    audio_s=2.25,
    characters=1,
    utf8_bytes=1,
    cost_usd=0.0,
)


class Terminal(io.StringIO):
    """A text stream that says it is a terminal."""

    def isatty(self) -> bool:
        """So it says."""
        return True


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({}, "x.wav: 2.2 s of speech by demo (first audio after 8 ms)"),
        ({"ttfa_s": 1.234}, "x.wav: 2.2 s of speech by demo (first audio after 1.2 s)"),
        (
            {"outcome": "cancelled"},
            "x.wav: 2.2 s of speech by demo, cancelled (first audio after 8 ms)",
        ),
        ({"audio_s": 0.0, "backend": None, "ttfa_s": None}, "x.wav: nothing to say"),
        ({"audio_s": 0.0, "outcome": "failed"}, "x.wav: no speech"),
    ],
)
def test_summary(changes: dict[str, object], line: str) -> None:
    """One line says what there is, by whom, and how soon it came."""
    assert summary_line(replace(REPORT, **changes), "x.wav") == line  # type: ignore[arg-type]


def test_progress_line() -> None:
    """Segments done, their part of the text, seconds of audio, time to the first audio."""
    expected = "2 segments spoken (33 %), 2.2 s of speech (first audio after 8 ms)"
    assert progress_line(REPORT, 3) == expected
    one = replace(REPORT, segments=SEGMENTS[1:], ttfa_s=None)
    assert progress_line(one, 1) == "1 segment spoken (100 %), 2.2 s of speech"


def test_progress_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """A long text shows how far it has come, and leaves no trace at the end."""
    monkeypatch.setenv("TERM", "xterm")
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    with progress("word " * 1000) as show:
        show(lambda: REPORT)
    assert "2 segments spoken (0 %)" in terminal.getvalue()


@pytest.mark.parametrize(
    ("text", "stream"), [("short", Terminal()), ("word " * 1000, io.StringIO()), ("x" * 999, None)]
)
def test_no_progress(
    text: str, stream: io.StringIO | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A short text, a log file or a closed stderr sees none."""
    monkeypatch.setattr(sys, "stderr", stream)
    with progress(text) as show:
        show(lambda: pytest.fail("nobody wants a report"))
    assert stream is None or stream.getvalue() == ""


def test_reports_are_asked_for_ten_times_a_second() -> None:
    """However many chunks come, reports are only made when one is due."""
    now = 5.0
    shown: list[float] = []
    show = _Throttled(lambda report: shown.append(now), clock=lambda: now)
    for _ in range(30):
        show(lambda: REPORT)
        now += 0.02
    assert len(shown) == pytest.approx(6, abs=1)


def test_one_line() -> None:
    """Lists become one line, and control characters cannot play with the terminal."""
    assert printable("a:\n  b: c\n  d\n") == "a: b: c; d"
    assert printable("\x1b[2Jx\r\n") == "?[2Jx"
    assert printable("") == ""


def test_complaints(capsys: pytest.CaptureFixture[str]) -> None:
    """One line for the error and one for the hint, unless it says the same."""
    causes = [(name, BackendUnavailableError("gone", backend=name)) for name in ("a", "b")]
    complain(NoBackendAvailableError(causes))
    complain(ConfigError("wrong"))
    complain(ConfigError("do it", hint="do it"))
    assert capsys.readouterr().err.splitlines() == [
        "junetts: no backend could speak: a: gone; b: gone",
        "hint: `junetts doctor` checks every backend",
        "junetts: wrong",
        "junetts: do it",
    ]


def test_closed_stderr(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without stderr there is nobody to tell."""
    monkeypatch.setattr(sys, "stderr", None)
    say_on_stderr("x")

"""The report is a value."""

from __future__ import annotations

import dataclasses
import json
import pickle
from pathlib import Path

import pytest

import junetts
from fakes import RATE_HZ, FakeBackend
from junetts._report import SpeechReport


@pytest.fixture(scope="module")
def report() -> SpeechReport:
    """A report of real work."""
    config = {"backends": [FakeBackend()], "sample_rate": RATE_HZ}
    return junetts.synthesize("Hello there. Good bye.", config=config).report


def test_a_report_is_frozen(report: SpeechReport) -> None:
    """Nobody edits history."""
    with pytest.raises(dataclasses.FrozenInstanceError):
        report.outcome = "failed"  # type: ignore[misc]


def test_a_report_can_be_written_down(report: SpeechReport, tmp_path: Path) -> None:
    """As JSON, and pickled: it holds nothing but plain values."""
    written = json.loads(json.dumps(dataclasses.asdict(report)))
    assert written["outcome"] == "complete"
    assert [one["text"] for one in written["segments"]] == ["Hello there. ", "Good bye."]
    assert pickle.loads(pickle.dumps(report)) == report  # noqa: S301  our own bytes


def test_the_segments_are_the_utterance(report: SpeechReport) -> None:
    """Texts and durations of the segments add up."""
    assert "".join(one.text for one in report.segments) == report.spoken_text
    assert sum(one.duration_s for one in report.segments) == pytest.approx(report.audio_s)
    assert report.segments[1].start_s == pytest.approx(report.segments[0].duration_s)

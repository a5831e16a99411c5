"""What befell an utterance: told at once, reported once it was heard."""

from __future__ import annotations

from junetts._chronicle import Chronicle
from junetts._events import (
    AttemptFailed,
    BackendChosen,
    BrokeOff,
    Finished,
    HandedOver,
    UtteranceEvent,
    VoiceSubstituted,
)
from junetts._report import Attempt, Handover, SpeechReport, Substitution

ATTEMPT = Attempt(backend="a", reason="gone")
FIRST = Handover(from_backend="a", to_backend="b", segment=0, reason="gone")
SECOND = Handover(from_backend="b", to_backend="c", segment=1, reason="gone, too")
OTHER_VOICE = Substitution(backend="b", reason="does not know june")


def no_report() -> SpeechReport:
    """Nobody wants it."""
    raise AssertionError


def test_what_was_not_heard_is_not_reported() -> None:
    """A handover counts from the new backend's first sound, in order; an attempt at once."""
    chronicle = Chronicle(number=1, tell=None)
    chronicle.observe(AttemptFailed(utterance=1, attempt=ATTEMPT))
    chronicle.observe(VoiceSubstituted(utterance=1, substitution=OTHER_VOICE))
    chronicle.observe(HandedOver(utterance=1, handover=FIRST))
    chronicle.observe(HandedOver(utterance=1, handover=SECOND))
    assert chronicle.attempts == [ATTEMPT]
    chronicle.heard("a")
    assert (chronicle.handovers, chronicle.substitutions) == ([], [])
    chronicle.heard("b")
    assert (chronicle.handovers, chronicle.substitutions) == ([FIRST], [OTHER_VOICE])
    chronicle.heard("c")
    assert chronicle.handovers == [FIRST, SECOND]


def test_who_speaks_now() -> None:
    """Nobody does between a failure and the next one's sound."""
    chronicle = Chronicle(number=1, tell=None)
    assert chronicle.speaker is None
    chronicle.observe(BackendChosen(utterance=1, backend="a"))
    assert chronicle.speaker == "a"
    chronicle.observe(BrokeOff(utterance=1, backend="a", reason="gone"))
    assert chronicle.speaker is None


def test_nothing_follows_the_end() -> None:
    """A backend may take one more step after it was cancelled; the report is out by then."""
    told: list[UtteranceEvent] = []
    chronicle = Chronicle(number=7, tell=told.append)
    report = an_empty_report()
    chronicle.finish(lambda: report)
    chronicle.finish(no_report)
    chronicle.observe(AttemptFailed(utterance=7, attempt=ATTEMPT))
    chronicle.observe(BackendChosen(utterance=7, backend="a"))
    assert told == [Finished(utterance=7, report=report)]
    assert (chronicle.attempts, chronicle.speaker) == ([], None)


def test_without_a_listener_no_report_is_made() -> None:
    """It costs time in proportion to the text."""
    Chronicle(number=1, tell=None).finish(no_report)


def an_empty_report() -> SpeechReport:
    """Of an utterance without text."""
    return SpeechReport(
        outcome="complete",
        spoken_text="",
        unspoken_text="",
        segments=(),
        attempts=(),
        handovers=(),
        backend=None,
        sample_rate=8000,
        ttfa_s=None,
        rtf=None,
        audio_s=0.0,
        characters=0,
        utf8_bytes=0,
        cost_usd=0.0,
    )

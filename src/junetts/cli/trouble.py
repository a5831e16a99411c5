"""What keeps speech going when something fails, told to people in one line each."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from junetts._events import (
    AttemptFailed,
    BackendChosen,
    Event,
    HandedOver,
    Retrying,
    VoiceSubstituted,
)
from junetts._report import Handover, SegmentReport
from junetts.cli.failures import say_on_stderr

_QUOTED_CHARACTERS = 40


class Trouble:
    """Listens to the events of one utterance.

    Guarantees: a retry, a handover, a preferred backend that was passed over, and a voice that is
    not the one asked for are told, each in one line as it happens; breakers and races are not.

    Args:
        segments: gives the segments known so far, of which a handover quotes one.
        say: takes a line.
    """

    def __init__(
        self,
        segments: Callable[[], Sequence[SegmentReport]],
        *,
        say: Callable[[str], None] = say_on_stderr,
    ) -> None:
        self._segments = segments
        self._say = say
        self._reasons: dict[str, str] = {}  # the latest of each backend
        self._has_sound = False

    def __call__(self, event: Event) -> None:
        """Tell what is worth a line."""
        match event:
            case AttemptFailed(attempt=attempt):
                self._reasons[attempt.backend] = attempt.reason
            case Retrying(backend=backend, delay_s=delay_s):
                why = self._reasons.get(backend, "failed")
                self._say(f"{backend}: {why}; trying again{_in(delay_s)}")
            case BackendChosen(backend=backend) if not self._has_sound:
                self._has_sound = True
                for former, reason in self._reasons.items():
                    if former != backend:
                        self._say(f"{backend} speaks for {former}: {reason}")
            case HandedOver(handover=handover):
                self._say(self._handover_line(handover))
            case VoiceSubstituted(substitution=substitution):
                self._say(f"{substitution.backend} speaks in another voice: {substitution.reason}")

    def _handover_line(self, handover: Handover) -> str:
        """Who goes on for whom, where in the text, and why."""
        text = self._segments()[handover.segment].text[handover.resumed_at :]
        who = f"{handover.to_backend} goes on for {handover.from_backend}"
        return f"{who} with {_quoted(text)}: {handover.reason}"


def _in(delay_s: float) -> str:
    """When that is, if it can be noticed."""
    if delay_s < 0.05:
        return ""
    return f" in {delay_s:.1f} s" if delay_s < 10 else f" in {delay_s:.0f} s"


def _quoted(text: str) -> str:
    """The beginning of a text, on one line."""
    line = " ".join(text.split())
    if len(line) <= _QUOTED_CHARACTERS:
        return f'"{line}"'
    return f'"{line[:_QUOTED_CHARACTERS].rstrip()}..."'

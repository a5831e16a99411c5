"""What befell an utterance: for its report, and for whoever listens to events."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

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

Tell = Callable[[UtteranceEvent], None]


class Chronicle:
    """Enters events as they happen.

    Guarantees: events are told at once, `Finished` last and once; a handover or a substitution
    counts from the first sound of the new backend that is handed out, so that a report tells
    what was heard.

    Attributes:
        speaker: the backend that makes the audio now, if one does.
    """

    def __init__(self, *, number: int, tell: Tell | None) -> None:
        self.attempts: list[Attempt] = []
        self.handovers: list[Handover] = []
        self.substitutions: list[Substitution] = []
        self.speaker: str | None = None
        self._number = number
        self._tell = tell
        self._unheard: deque[Handover | Substitution] = deque()
        self._is_finished = False

    def observe(self, event: UtteranceEvent) -> None:
        """Take an event in; none after the end."""
        if self._is_finished:
            return
        if isinstance(event, BackendChosen):
            self.speaker = event.backend
        elif isinstance(event, BrokeOff):
            self.speaker = None
        elif isinstance(event, AttemptFailed):
            self.attempts.append(event.attempt)
        elif isinstance(event, HandedOver):
            self._unheard.append(event.handover)
        elif isinstance(event, VoiceSubstituted):
            self._unheard.append(event.substitution)
        if self._tell is not None:
            self._tell(event)

    def heard(self, backend: str) -> None:
        """Say that sound of this backend was handed out."""
        while self._unheard and _speaker(self._unheard[0]) == backend:
            what = self._unheard.popleft()
            if isinstance(what, Handover):
                self.handovers.append(what)
            else:
                self.substitutions.append(what)

    def finish(self, report: Callable[[], SpeechReport]) -> None:
        """Say that the utterance has ended; the report is only made for one who wants it."""
        if self._tell is not None and not self._is_finished:
            self._tell(Finished(utterance=self._number, report=report()))
        self._is_finished = True


def _speaker(what: Handover | Substitution) -> str:
    return what.to_backend if isinstance(what, Handover) else what.backend

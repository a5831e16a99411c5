"""What happens while text is spoken, as it happens: typed events for an application to show."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from junetts._report import Attempt, Handover, SpeechReport, Substitution


@dataclass(frozen=True, slots=True, kw_only=True)
class BackendChosen:
    """A backend has its first sound ready and speaks from here on."""

    utterance: int
    backend: str


@dataclass(frozen=True, slots=True, kw_only=True)
class FirstAudio:
    """The first sound of an utterance is on its way to the listener."""

    utterance: int
    backend: str
    after_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class AttemptFailed:
    """A backend failed before any sound, or another was sooner; nothing of it was heard."""

    utterance: int
    attempt: Attempt


@dataclass(frozen=True, slots=True, kw_only=True)
class Retrying:
    """A backend that failed before any sound is tried again in ``delay_s`` seconds."""

    utterance: int
    backend: str
    delay_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Hedged:
    """There is no sound yet, so that another backend was started beside the first."""

    utterance: int
    slow_backend: str
    backend: str


@dataclass(frozen=True, slots=True, kw_only=True)
class BrokeOff:
    """A backend failed after sound; another may go on."""

    utterance: int
    backend: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class HandedOver:
    """One backend goes on for another, after sound.

    The report has it from the first sound of the new one that is handed out.
    """

    utterance: int
    handover: Handover


@dataclass(frozen=True, slots=True, kw_only=True)
class VoiceSubstituted:
    """A backend that does not know the voice speaks in its own, as the settings allow."""

    utterance: int
    substitution: Substitution


@dataclass(frozen=True, slots=True, kw_only=True)
class Finished:
    """An utterance has ended for its listener, well or not; nothing more of it will be heard."""

    utterance: int
    report: SpeechReport


@dataclass(frozen=True, slots=True, kw_only=True)
class BreakerOpened:
    """A backend is left alone because it failed.

    ``probe_in_s`` is when it will be looked at again; None is not before its key or credit has
    changed.
    """

    backend: str
    reason: str
    probe_in_s: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class BreakerHalfOpened:
    """A backend answered a probe: one utterance will try it."""

    backend: str


@dataclass(frozen=True, slots=True, kw_only=True)
class BreakerClosed:
    """A backend works again."""

    backend: str


UtteranceEvent: TypeAlias = (
    BackendChosen
    | FirstAudio
    | AttemptFailed
    | Retrying
    | Hedged
    | BrokeOff
    | HandedOver
    | VoiceSubstituted
    | Finished
)
BreakerEvent: TypeAlias = BreakerOpened | BreakerHalfOpened | BreakerClosed
Event: TypeAlias = UtteranceEvent | BreakerEvent


def log_line(event: Event) -> str | None:
    """What a log says of an event: what failed and who goes on, never a text; None for the rest."""
    match event:
        case BreakerOpened(backend=backend):
            return f"{backend} failed and is left alone"
        case BreakerClosed(backend=backend):
            return f"{backend} works again"
        case HandedOver(handover=handover):
            return f"{handover.to_backend} goes on for {handover.from_backend}"
        case VoiceSubstituted(substitution=substitution):
            return f"{substitution.backend} speaks in another voice"
        case _:
            return None

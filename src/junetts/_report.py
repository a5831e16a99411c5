"""What happened: the report that every utterance ends with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Outcome = Literal["speaking", "complete", "cancelled", "truncated", "failed"]
SegmentState = Literal["unspoken", "speaking", "spoken", "truncated", "abandoned"]
Provenance = Literal["native", "aligned", "estimated"]


@dataclass(frozen=True, slots=True, kw_only=True)
class WordTime:
    """When a word is heard, in seconds from the start of its segment.

    ``provenance`` says how it is known: told by the synthesiser (``native``), aligned by the
    server (``aligned``) or computed from the length of the text (``estimated``).
    """

    text: str
    start_s: float
    end_s: float
    provenance: Provenance


@dataclass(frozen=True, slots=True, kw_only=True)
class SegmentReport:
    """One segment: its text, who spoke it, and how much of it was handed out.

    ``start_s`` and ``duration_s`` are seconds of the utterance's audio; ``state`` is ``spoken``
    only if all of the segment's audio was handed out, ``truncated`` if the backend cut it short
    and ``abandoned`` if it was left.
    """

    index: int
    text: str
    state: SegmentState
    backend: str | None
    start_s: float
    duration_s: float
    words: tuple[WordTime, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """A backend that was tried without any sound, and why: it failed, or another was sooner."""

    backend: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Handover:
    """One backend continuing for another, after sound, at the given segment.

    ``resumed_at`` is where in the segment's text it goes on: 0 is its beginning. It is known from
    word times or estimated, as ``resumed_by`` says; None where nothing had to be known.
    """

    from_backend: str
    to_backend: str
    segment: int
    reason: str
    resumed_at: int = 0
    resumed_by: Provenance | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Substitution:
    """A backend that spoke in another voice than the one asked for or configured before it."""

    backend: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SpeechReport:
    """How an utterance ended and what was heard.

    Attributes:
        outcome: ``complete``, ``cancelled``, ``truncated`` (the backend ran into its token
            limit) or ``failed``; ``speaking`` in a snapshot taken before the end.
        spoken_text: the text up to the first segment whose audio was not handed out in full.
        unspoken_text: the rest; the two joined are the text that was given.
        segments: each segment's own record.
        attempts: backends that failed before any sound.
        handovers: backends that were replaced after sound.
        substitutions: backends that spoke in another voice than the one asked for.
        backend: the backend that spoke last, if any did.
        sample_rate: of the audio handed out, in Hz.
        ttfa_s: seconds from the request to the first audio; None if there was none.
        rtf: seconds of work per second of audio; None if there was none.
        audio_s: seconds of audio handed out.
        characters: length of the text.
        utf8_bytes: length of the text in UTF-8, the unit of the cloud's prices.
        cost_usd: list price of the segments that began to be heard; what was asked for and not
            heard, as by who loses a race, may be charged as well.
    """

    outcome: Outcome
    spoken_text: str
    unspoken_text: str
    segments: tuple[SegmentReport, ...]
    attempts: tuple[Attempt, ...]
    handovers: tuple[Handover, ...]
    substitutions: tuple[Substitution, ...] = ()
    backend: str | None
    sample_rate: int
    ttfa_s: float | None
    rtf: float | None
    audio_s: float
    characters: int
    utf8_bytes: int
    cost_usd: float

"""The seam: what a backend is, and what it yields."""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Literal, Protocol, runtime_checkable

from junetts._audio import AudioFormat
from junetts._report import WordTime
from junetts._utterance import Segment, Utterance

SegmentEnd = Literal["complete", "truncated"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Capabilities:
    """What a backend can do, so that nothing is asked of it that it would silently ignore.

    Attributes:
        sample_rate: of the audio that it produces, in Hz.
        formats: media types or container names that it may send.
        voice: the configured one, which speaks where none is asked for; None is the model's own.
        voice_ids: it knows voices by name.
        cloning: it can imitate a recording.
        speed: it can change pace.
        volume: it can change loudness itself; where it cannot, junetts scales the samples.
        seed: the same seed gives the same speech.
        word_times: it tells when each word is heard.
        streaming_audio: sound begins before a segment is finished.
        streaming_text: a segment's text may be sent while earlier audio arrives.
        price_usd_per_million_bytes: of UTF-8 text; 0 where speaking is free.
    """

    sample_rate: int
    formats: tuple[str, ...] = ("pcm",)
    voice: str | None = None
    voice_ids: bool = False
    cloning: bool = False
    speed: bool = False
    volume: bool = False
    seed: bool = False
    word_times: bool = False
    streaming_audio: bool = True
    streaming_text: bool = False
    price_usd_per_million_bytes: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Health:
    """What a probe found, and what speaking has taught.

    Attributes:
        status: ``busy`` is alive but occupied.
        detail: what was found, in words.
        hint: what a person can do if it is not ``ok``.
        breaker: ``open`` is left alone because it failed, ``half_open`` is tried by one
            utterance; filled in by a client, not by the backend.
        failure: what the breaker opened for.
        probe_in_s: when it will be looked at again by itself, if it will.
    """

    status: Literal["ok", "busy", "unavailable"]
    detail: str
    hint: str | None = None
    breaker: Literal["closed", "open", "half_open"] = "closed"
    failure: str | None = None
    probe_in_s: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class BackendAudio:
    """Some bytes of one segment, as the backend made them.

    Segments come in order, and bytes of one segment are consecutive. ``end`` is set on the
    segment's last item, which may be empty; word times replace those sent earlier for it.
    ``backend`` is filled in for backends by what wraps them, and so is ``offset``: how many
    characters of the segment another backend had spoken before this one went on.
    """

    segment: int
    format: AudioFormat
    data: bytes = b""
    end: SegmentEnd | None = None
    words: tuple[WordTime, ...] | None = None
    backend: str = ""
    offset: int = 0


@runtime_checkable
class TtsBackend(Protocol):
    """Speaks segments of text; failover, deadlines and word times work the same for all.

    Guarantees that an implementation gives:

    - ``speak`` takes segments as they come and yields audio of each, in order, each segment
      closed by an item with ``end``; it returns when the segments end.
    - Failure is a `JuneTtsError`; foreign errors are translated at the backend's edge.
      Before any audio was yielded it is a `BackendUnavailableError` or `InvalidRequestError`.
    - Leaving the context early stops generation, releases the connection and sends no more text.
    - It may be called for several utterances at once.

    A segment's silence or missing audio, deadlines, containers and sample rates are not its
    concern: every configured backend is wrapped by one that deals with them.
    """

    @property
    def name(self) -> str:
        """The backend's name in the configuration."""

    @property
    def capabilities(self) -> Capabilities:
        """What it can do."""

    async def warmup(self) -> None:
        """Do beforehand what the first utterance would otherwise wait for."""

    async def probe(self) -> Health:
        """Look whether it could speak now, cheaply and never with the user's text."""

    def speak(
        self, utterance: Utterance, segments: AsyncIterable[Segment]
    ) -> AbstractAsyncContextManager[AsyncIterator[BackendAudio]]:
        """Speak segments as they arrive."""

    async def aclose(self) -> None:
        """Release everything; may be called more than once."""

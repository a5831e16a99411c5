"""The ``local`` backend with upstream's own engine, the package ``fish-speech``."""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Callable
from contextlib import aclosing, asynccontextmanager
from functools import partial
from threading import Event
from typing import Protocol, TypeVar

from anyio import CancelScope, to_thread

from junetts._audio import AudioFormat
from junetts._backend import BackendAudio, Capabilities, Health
from junetts._config_sections import LocalSection
from junetts._errors import InvalidRequestError, JuneTtsError, UnknownVoiceError
from junetts._fishwire.speaker_tags import attributed, without_tags
from junetts._segmentation import is_speakable
from junetts._utterance import Segment, Utterance, Voice, require_number
from junetts.backends._fish_speech_request import MAX_NEW_TOKENS, SpokenSegment, UpstreamRequest
from junetts.backends._serial_thread import SerialThread

SAMPLE_RATE = 44_100  # of every published checkpoint
CLOSE_TIMEOUT_S = 1.0  # a token takes far less; loading and decoding are left to end by themselves
NO_STREAMING = "it makes each sentence whole before its first sound"

logger = logging.getLogger("junetts")
T = TypeVar("T")


class UpstreamEngine(Protocol):
    """What is wanted of the package, once it is loaded."""

    @property
    def description(self) -> str:
        """The package's version, the checkpoint, the device and the precision."""

    def speak(self, request: UpstreamRequest, *, is_wanted: Callable[[], bool]) -> SpokenSegment:
        """Speak one segment; returns when all of it has been made, or raises once unwanted."""


class FishSpeechBackend:
    """Speaks a checkpoint with the engine that it was published with, for comparison.

    **It does not stream within a batch**: upstream makes all tokens of a segment before it
    decodes any, so that sound begins when the segment is finished, and later the longer it is.
    ``engine = "stream"`` speaks the same checkpoint without that wait.

    Guarantees: one segment is made at a time, in order of arrival, whichever utterance it belongs
    to; who leaves while waiting is not spoken for, and who leaves later is free at once, and
    ends the segment in hand at its next token. Reading the prompt and decoding can not be
    interrupted: they are finished in the background, and the next segment waits for that.

    The package and the checkpoint are loaded by `warmup`, or else by the first segment. A seed
    is honoured by seeding torch, numpy and `random` while a segment is made.

    Args:
        load: makes the engine; called in the thread where everything of upstream happens.
        inspect: says what would be loaded, or raises why it can not be; called in a thread.
    """

    capabilities = Capabilities(
        sample_rate=SAMPLE_RATE, cloning=True, seed=True, streaming_audio=False
    )

    def __init__(
        self,
        section: LocalSection,
        *,
        name: str = "local",
        load: Callable[[LocalSection], UpstreamEngine] | None = None,
        inspect: Callable[[LocalSection], str] | None = None,
    ) -> None:
        self.name = name
        self._section = section
        self._load = load or _load
        self._inspect = inspect or _inspect
        self._thread = SerialThread("junetts-fish-speech")
        self._engine: UpstreamEngine | None = None

    def __repr__(self) -> str:
        return f"FishSpeechBackend({self._section.checkpoint!r}, name={self.name!r})"

    async def warmup(self) -> None:
        """Load the package and the checkpoint; leaving early does not stop the loading.

        Raises:
            BackendUnavailableError: if the package is not installed, or lacks what is needed.
            CheckpointError: if the checkpoint is missing, damaged or of an unknown kind.
        """
        await self._call(self._loaded)

    async def probe(self) -> Health:
        """Look whether the package and the checkpoint's files are there; nothing is loaded."""
        if self._engine is not None:
            return Health(status="ok", detail=f"{self._engine.description}; {NO_STREAMING}")
        try:
            found = await to_thread.run_sync(self._inspect, self._section)
        except JuneTtsError as error:
            return Health(status="unavailable", detail=error.message, hint=error.hint)
        return Health(status="ok", detail=f"{found}; {NO_STREAMING}")

    @asynccontextmanager
    async def speak(
        self, utterance: Utterance, segments: AsyncIterable[Segment]
    ) -> AsyncIterator[AsyncIterator[BackendAudio]]:
        """Speak segments as they arrive, each without knowledge of those before it.

        Raises:
            InvalidRequestError: on entering, for what upstream can not do.
            UnknownVoiceError: on entering, for a voice without a recording to imitate.
        """
        request, left = self._request(utterance), Event()
        try:
            async with aclosing(self._spoken(request, segments, left)) as audio:
                yield audio
        finally:
            left.set()

    async def aclose(self) -> None:
        """Stop at the next token, and forget the model."""
        thread = self._thread.close()
        if thread is not None:
            with CancelScope(shield=True):
                await to_thread.run_sync(thread.join, CLOSE_TIMEOUT_S)
        self._engine = None

    def _request(self, utterance: Utterance) -> UpstreamRequest:
        try:
            self._require_voice(utterance.voice)
            voice, sampling = utterance.voice or Voice(), utterance.sampling
            if sampling.max_new_tokens is None:
                self._require_limit()
            return UpstreamRequest.of(
                sampling, references=voice.clips, max_new_tokens=self._section.max_new_tokens
            )
        except InvalidRequestError as error:
            error.backend = error.backend or self.name
            raise

    def _require_voice(self, voice: Voice | None) -> None:
        if voice is not None and not voice.clips:
            raise UnknownVoiceError(
                "the local backend knows no voices by name; it imitates recordings",
                field="voice",
                backend=self.name,
                hint='give it one: voice=Voice.clone("june.wav", "the words spoken in it")',
            )

    def _require_limit(self) -> None:
        require_number(
            "local.max_new_tokens",
            self._section.max_new_tokens,
            minimum=2,
            maximum=MAX_NEW_TOKENS,
            integer=True,
        )

    async def _spoken(
        self, request: UpstreamRequest, segments: AsyncIterable[Segment], left: Event
    ) -> AsyncGenerator[BackendAudio, None]:
        speaker = ""
        last = AudioFormat(sample_rate=SAMPLE_RATE)
        async for segment in segments:
            if not is_speakable(without_tags(segment.text)):  # the model would babble
                yield BackendAudio(segment=segment.index, format=last, end="complete")
                continue
            text, speaker = attributed(segment.text, speaker)
            spoken = await self._call(partial(self._make, request.saying(text), left))
            last = AudioFormat(sample_rate=spoken.sample_rate)
            yield BackendAudio(segment=segment.index, format=last, data=spoken.pcm, end=spoken.end)

    def _make(self, request: UpstreamRequest, left: Event) -> SpokenSegment:
        def is_wanted() -> bool:
            return not (left.is_set() or self._thread.is_closed)

        return self._loaded().speak(request, is_wanted=is_wanted)

    def _loaded(self) -> UpstreamEngine:
        """The engine, loaded if need be; called in the thread, so that only one is loading."""
        if self._engine is not None:
            return self._engine
        engine = self._load(self._section)
        logger.info("%s; %s", engine.description, NO_STREAMING)
        if not self._thread.is_closed:  # or it would be kept for nobody
            self._engine = engine
        return engine

    async def _call(self, function: Callable[[], T]) -> T:
        try:
            return await self._thread.call(function)
        except JuneTtsError as error:
            error.backend = error.backend or self.name
            raise


def _load(section: LocalSection) -> UpstreamEngine:
    from junetts.backends._fish_speech_package import load  # torch: not before it is needed

    return load(section)


def _inspect(section: LocalSection) -> str:
    from junetts.backends._fish_speech_package import inspect

    return inspect(section)

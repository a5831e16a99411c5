"""A backend in this process that speaks with a tone voice, and remembers what it was asked for."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Awaitable, Callable
from collections.abc import Set as AbstractSet
from contextlib import aclosing, asynccontextmanager
from dataclasses import replace

from junetts._audio import BYTES_PER_SAMPLE, AudioFormat
from junetts._backend import BackendAudio, Capabilities, Health
from junetts._errors import BackendUnavailableError, JuneTtsError, UnknownVoiceError
from junetts._report import WordTime
from junetts._utterance import Segment, Utterance, Voice
from junetts.testing.tone_voice import ToneVoice

Perform = Callable[[Segment, AsyncIterator[BackendAudio]], AsyncIterator[BackendAudio]]
Pace = Callable[[BackendAudio], Awaitable[object]]


class ToneBackend:
    """Speaks each segment in pieces, with the true times of the words heard so far.

    Several may share one voice, so that it can tell what was heard of all of them together.

    Args:
        voice: what it speaks with.
        name: what reports and errors call it.
        sample_rate: of its audio, in Hz; the voice's own by default.
        chunk_s: length of one piece, in seconds of sound.
        pace: awaited before each item that it yields; hold it back to hold back audio.
        word_times: whether it tells when words are heard.
        voice_ids: voices that it knows, by ``Voice.id``, ``cloud_id`` or ``server_id``; None
            takes any voice that has one of these. Anything else is refused.
        perform: what becomes of a segment: given it and the audio that it would be, what is
            yielded instead, which may fail, hang, leave out, repeat or distort.
        refuses: raised, if not None, when it is to speak or to warm up; may be set at any time.

    Attributes:
        health: what a probe finds; may be set at any time.
        given: the segments that it was handed, in the order of arrival.
        utterances: what it was asked for, one per call of `speak`.
        n_open: how many utterances hold it now.
        n_bytes: how much audio it has yielded.
        n_warmups: how often it was warmed up.
        n_probes: how often it was probed.
        n_closed: how often it was closed.
    """

    def __init__(
        self,
        voice: ToneVoice,
        *,
        name: str = "tone",
        sample_rate: int | None = None,
        chunk_s: float = 0.1,
        pace: Pace | None = None,
        word_times: bool = True,
        voice_ids: AbstractSet[str] | None = None,
        perform: Perform | None = None,
        refuses: JuneTtsError | None = None,
    ) -> None:
        if chunk_s <= 0:
            raise ValueError(f"chunk_s must be more than 0 s, not {chunk_s}")
        self.name = name
        self.refuses = refuses
        self.health = Health(status="ok", detail="a tone voice is always well")
        self.given: list[Segment] = []
        self.utterances: list[Utterance] = []
        self.n_open = self.n_bytes = self.n_warmups = self.n_probes = self.n_closed = 0
        self._voice = voice
        self._format = AudioFormat(sample_rate=sample_rate or voice.sample_rate)
        self._chunk_bytes = BYTES_PER_SAMPLE * max(1, round(chunk_s * self._format.sample_rate))
        self._pace = pace
        self._has_word_times = word_times
        self._voice_ids = voice_ids
        self._perform = perform

    @property
    def capabilities(self) -> Capabilities:
        """Voices by name, and word times if they are wanted."""
        return Capabilities(
            sample_rate=self._format.sample_rate,
            voice_ids=True,
            word_times=self._has_word_times,
        )

    async def warmup(self) -> None:
        """Count.

        Raises:
            JuneTtsError: what it ``refuses`` with.
        """
        self.n_warmups += 1
        self._refuse()

    async def probe(self) -> Health:
        """Say what ``health`` is."""
        self.n_probes += 1
        return self.health

    @asynccontextmanager
    async def speak(
        self, utterance: Utterance, segments: AsyncIterable[Segment]
    ) -> AsyncIterator[AsyncIterator[BackendAudio]]:
        """Speak segments as they arrive.

        Raises:
            UnknownVoiceError: for a voice that it does not know.
            JuneTtsError: what it ``refuses`` with.
        """
        self.utterances.append(replace(utterance, observe=None))
        self.n_open += 1
        try:
            self._refuse()
            self._refuse_unknown(utterance.voice)
            async with aclosing(self._spoken(segments)) as audio:
                yield audio
        finally:
            self.n_open -= 1

    async def aclose(self) -> None:
        """Speak no more; may be called more than once."""
        self.n_closed += 1

    def _refuse(self) -> None:
        if self.n_closed:
            raise BackendUnavailableError(
                "the backend is closed", backend=self.name, retryable=False
            )
        if self.refuses is not None:
            raise self.refuses

    def _refuse_unknown(self, voice: Voice | None) -> None:
        if voice is None:
            return
        names = {voice.id, voice.cloud_id, voice.server_id} - {None}
        if not (names if self._voice_ids is None else names & self._voice_ids):
            raise UnknownVoiceError(
                f"the voice is none of those known here: {voice!r}",
                field="voice",
                backend=self.name,
            )

    async def _spoken(self, segments: AsyncIterable[Segment]) -> AsyncGenerator[BackendAudio, None]:
        async for segment in segments:
            self.given.append(segment)
            async with aclosing(self._performed(segment)) as audio:
                async for item in audio:
                    self.n_bytes += len(item.data)
                    yield item

    async def _performed(self, segment: Segment) -> AsyncGenerator[BackendAudio, None]:
        """A segment's audio, or what ``perform`` makes of it; both are closed afterwards."""
        async with aclosing(self._audio(segment)) as audio:
            if self._perform is None:
                async for item in audio:
                    yield item
                return
            performed = self._perform(segment, audio)
            try:
                async for item in performed:
                    yield item
            finally:
                if isinstance(performed, AsyncGenerator):
                    await performed.aclose()

    async def _audio(self, segment: Segment) -> AsyncGenerator[BackendAudio, None]:
        rate = self._format.sample_rate
        pcm = self._voice.speak(segment.text, sample_rate=rate)
        words = self._voice.words(segment.text) if self._has_word_times else ()
        for start in range(0, len(pcm), self._chunk_bytes):
            data = pcm[start : start + self._chunk_bytes]
            n_samples = (start + len(data)) // BYTES_PER_SAMPLE
            heard_s = (n_samples + 1) / rate  # a word that ends within the next sample has ended
            known = tuple(word for word in words if word.end_s <= heard_s)
            yield await self._item(segment, data, words=known)
        yield await self._item(segment, is_last=True)

    async def _item(
        self,
        segment: Segment,
        data: bytes = b"",
        *,
        words: tuple[WordTime, ...] = (),
        is_last: bool = False,
    ) -> BackendAudio:
        item = BackendAudio(
            segment=segment.index,
            format=self._format,
            data=data,
            end="complete" if is_last else None,
            words=words or None,
            backend=self.name,
        )
        if self._pace is not None:
            await self._pace(item)
        return item

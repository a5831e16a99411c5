"""A backend whose audio is canonical, audible and on time."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import AsyncIterable, AsyncIterator, Iterator
from contextlib import (
    AbstractAsyncContextManager,
    AsyncExitStack,
    asynccontextmanager,
    contextmanager,
)
from types import TracebackType

from anyio import move_on_after, to_thread

from junetts._audio import BYTES_PER_SAMPLE, AudioFormat
from junetts._backend import BackendAudio, Capabilities, Health, SegmentEnd, TtsBackend
from junetts._canonical import CanonicalPcm
from junetts._errors import (
    BackendUnavailableError,
    InvalidRequestError,
    JuneTtsError,
    NoAudioError,
    RemoteProtocolError,
    UnknownVoiceError,
)
from junetts._report import WordTime
from junetts._segmentation import is_speakable
from junetts._utterance import Segment, Utterance
from junetts._watch import Watch

MAX_CHUNK_BYTES = 16_384  # 0.19 s at 44.1 kHz: what a listener who leaves is overcharged at most
MAX_SILENCE_S = 10.0  # exact zeros held back before a segment counts as silent
CLEANUP_TIMEOUT_S = 5.0  # of a backend that was left; the next one may be waiting for it

_logger = logging.getLogger("junetts")


class GuardedBackend:
    """Wraps any backend; what it adds is the same for all of them.

    Guarantees: audio is signed 16 bit little-endian mono at ``sample_rate``, in items of at most
    16 KiB; entering `speak` waits for the first sound, so that errors raised there come before
    any and errors raised while iterating come after; speakable text that yields nothing audible
    is a `NoAudioError`; no sound in time is a `BackendTimeoutError`, where only time counts
    during which there was text to speak and someone listening. How speech ended is decided by
    its audio: a cleanup that fails or hangs afterwards is logged, and changes nothing.
    """

    def __init__(self, backend: TtsBackend, *, sample_rate: int) -> None:
        self._backend = backend
        self._sample_rate = sample_rate

    def __repr__(self) -> str:
        return f"GuardedBackend({self.name!r})"

    @property
    def name(self) -> str:
        """The wrapped backend's name."""
        return self._backend.name

    @property
    def capabilities(self) -> Capabilities:
        """The wrapped backend's capabilities."""
        return self._backend.capabilities

    async def warmup(self) -> None:
        """Warm the wrapped backend up."""
        with _only_our_errors(self.name):
            await self._backend.warmup()

    async def probe(self) -> Health:
        """Probe the wrapped backend."""
        with _only_our_errors(self.name):
            return await self._backend.probe()

    async def aclose(self) -> None:
        """Close the wrapped backend."""
        await self._backend.aclose()

    @asynccontextmanager
    async def speak(
        self, utterance: Utterance, segments: AsyncIterable[Segment]
    ) -> AsyncIterator[AsyncIterator[BackendAudio]]:
        """Speak; see the class for what is guaranteed."""
        self._refuse_unsupported(utterance)
        watch = Watch(utterance, segments, backend=self.name)
        async with AsyncExitStack() as stack:
            stack.callback(watch.close)
            raw = await self._enter(stack, utterance, watch)
            pcm = CanonicalPcm(sample_rate=self._sample_rate, gain_db=self._gain_db(utterance))
            audio = _GuardedAudio(raw, watch, pcm, self._sample_rate)
            await audio.wait_for_sound()
            yield audio

    async def _enter(
        self, stack: AsyncExitStack, utterance: Utterance, watch: Watch
    ) -> AsyncIterator[BackendAudio]:
        with _only_our_errors(self.name):
            context = self._backend.speak(utterance, watch)
            return await watch.limit(_entered(context, stack, backend=self.name))

    def _refuse_unsupported(self, utterance: Utterance) -> None:
        if utterance.voice is not None and not (
            self.capabilities.voice_ids or self.capabilities.cloning
        ):
            raise UnknownVoiceError(
                "this backend has no voice but its own", field="voice", backend=self.name
            )
        speed = 1.0 if utterance.prosody is None else utterance.prosody.speed
        if speed != 1.0 and not self.capabilities.speed:
            raise InvalidRequestError(
                f"prosody.speed must be 1.0, not {speed!r}: this backend cannot change the pace",
                field="prosody.speed",
                backend=self.name,
            )

    def _gain_db(self, utterance: Utterance) -> float:
        if utterance.prosody is None or self.capabilities.volume:
            return 0.0
        return utterance.prosody.volume_db


async def _entered(
    context: AbstractAsyncContextManager[AsyncIterator[BackendAudio]],
    stack: AsyncExitStack,
    *,
    backend: str,
) -> AsyncIterator[BackendAudio]:
    """Enter a backend's context, to be left with the stack, in time and without an error."""

    async def leave(
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        try:
            with move_on_after(CLEANUP_TIMEOUT_S) as scope:
                await context.__aexit__(kind, error, traceback)
            if scope.cancelled_caught:
                _logger.warning("%s: its cleanup hung, and was given up", backend)
        except Exception as failure:  # (noqa: reviewed) logged: see GuardedBackend
            if failure is not error:
                _logger.warning("%s: its cleanup failed", backend, exc_info=failure)

    raw = await context.__aenter__()
    stack.push_async_exit(leave)
    return raw


class _GuardedAudio:
    """The wrapped backend's audio, made canonical item by item."""

    def __init__(
        self,
        raw: AsyncIterator[BackendAudio],
        watch: Watch,
        pcm: CanonicalPcm,
        sample_rate: int,
    ) -> None:
        self._raw = raw
        self._watch = watch
        self._pcm = pcm
        self._format = AudioFormat(sample_rate=sample_rate)
        self._max_silence = int(MAX_SILENCE_S * sample_rate) * BYTES_PER_SAMPLE
        self._ready: deque[BackendAudio] = deque()
        self._silence = bytearray()
        self._is_audible = False
        self._words: tuple[WordTime, ...] | None = None  # that came before any sound
        self._last: BaseException | None = None

    def __aiter__(self) -> _GuardedAudio:
        return self

    async def __anext__(self) -> BackendAudio:
        while not self._ready:
            await self._advance()
        return self._ready.popleft()

    async def wait_for_sound(self) -> None:
        """Return once there is something to hear, or nothing more will come."""
        while not any(item.data for item in self._ready):
            try:
                await self._advance()
            except StopAsyncIteration:
                return

    async def _advance(self) -> None:
        """Take one item from the backend; what it broke off with is raised after its audio."""
        if self._last is not None:
            raise self._last
        try:
            item = await self._watch.limit(anext(self._raw))
            self._accept(item)
            if item.end is not None:
                self._emit(await self._rest(), item.segment)
                self._end_segment(item.segment, item.end)
            self._watch.brought_nothing = not any(one.data or one.end for one in self._ready)
        except StopAsyncIteration as end:
            self._last = self._unfinished() or end
            self._keep_tail()
        except Exception as error:  # noqa: BLE001  (noqa: reviewed) raised after the audio
            self._last = _ours(error, self._watch.backend)
            self._keep_tail()

    def _accept(self, item: BackendAudio) -> None:
        if item.segment != next(iter(self._watch.owed), None):
            raise RemoteProtocolError(f"audio of segment {item.segment}, which is not owed next")
        if item.data:
            pcm = self._pcm.push(item.data, item.format)
            if self._may_pass(item, pcm):
                self._ready.append(item)
                return
            self._emit(pcm, item.segment)
        if item.words is not None:
            self._words = item.words
        if self._is_audible:
            self._hand_out_words(item.segment)

    def _hand_out_words(self, segment: int) -> None:
        """Word times follow the first sound of their segment, even if they came before it."""
        words, self._words = self._words, None
        if words is not None:
            self._ready.append(self._item(segment, words=words))

    def _may_pass(self, item: BackendAudio, pcm: bytes) -> bool:
        """Whether the item can be handed on as it is, which most can, and which costs least."""
        return (
            pcm is item.data
            and self._is_audible
            and item.end is None
            and item.words is None
            and item.backend == self._watch.backend
            and len(pcm) <= MAX_CHUNK_BYTES
        )

    async def _rest(self) -> bytes:
        if self._pcm.is_buffering:
            return await to_thread.run_sync(self._pcm.end_segment)
        return self._pcm.end_segment()

    def _emit(self, pcm: bytes, segment: int) -> None:
        if not pcm:
            return
        if not self._is_audible:
            pcm = self._after_silence(pcm, segment)
        self._hand_out(pcm, segment)

    def _hand_out(self, pcm: bytes, segment: int) -> None:
        if len(pcm) <= MAX_CHUNK_BYTES:
            if pcm:
                self._ready.append(self._item(segment, data=pcm))
            return
        for offset in range(0, len(pcm), MAX_CHUNK_BYTES):
            piece = pcm[offset : offset + MAX_CHUNK_BYTES]
            self._ready.append(self._item(segment, data=piece))

    def _after_silence(self, pcm: bytes, segment: int) -> bytes:
        """Hold exact zeros back until something audible follows them."""
        self._silence += pcm
        if pcm.count(0) < len(pcm):
            self._is_audible = self._watch.heard = True
            return self._take_silence()
        if len(self._silence) > self._max_silence:
            raise self._inaudible(segment, f"{MAX_SILENCE_S:g} s of zeros")
        return b""

    def _take_silence(self) -> bytes:
        silence = bytes(self._silence)
        self._silence.clear()
        return silence

    def _end_segment(self, index: int, end: SegmentEnd) -> None:
        segment = self._watch.owed.pop(index)
        if not self._is_audible:
            if is_speakable(segment.text, tags_count=False):
                what = "nothing but zeros" if self._silence else "no audio"
                raise self._inaudible(index, what)
            self._hand_out(self._take_silence(), index)
        self._hand_out_words(index)
        self._is_audible = False
        self._ready.append(self._item(index, end=end))

    def _inaudible(self, index: int, what: str) -> NoAudioError:
        return NoAudioError(f"success was claimed, but segment {index} is {what}")

    def _unfinished(self) -> RemoteProtocolError | None:
        if not self._watch.owed:
            if self._watch.has_all_text:
                return None
            return RemoteProtocolError(
                "speech ended before the text did", backend=self._watch.backend
            )
        index = min(self._watch.owed)
        return RemoteProtocolError(
            f"speech ended before segment {index} was finished", backend=self._watch.backend
        )

    def _keep_tail(self) -> None:
        """Hand out what a resampler still holds of a segment that broke off."""
        if not self._pcm.is_buffering and self._is_audible and self._watch.owed:
            self._emit(self._pcm.break_segment(), min(self._watch.owed))

    def _item(
        self,
        segment: int,
        *,
        data: bytes = b"",
        end: SegmentEnd | None = None,
        words: tuple[WordTime, ...] | None = None,
    ) -> BackendAudio:
        return BackendAudio(
            segment=segment,
            format=self._format,
            data=data,
            end=end,
            words=words,
            backend=self._watch.backend,
        )


@contextmanager
def _only_our_errors(backend: str) -> Iterator[None]:
    try:
        yield
    except Exception as error:  # noqa: BLE001  (noqa: reviewed) translated, not swallowed
        raise _ours(error, backend)  # noqa: B904  its cause is in place


def _ours(error: Exception, backend: str) -> JuneTtsError:
    """The error as one of ours that names the backend: a third party's may raise anything."""
    if isinstance(error, JuneTtsError):
        error.backend = error.backend or backend
        return error
    ours = BackendUnavailableError(
        f"the backend failed: {type(error).__name__}: {error}", backend=backend, retryable=False
    )
    ours.__cause__ = error
    return ours

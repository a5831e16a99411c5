"""Speech as it is made: the stream that `TTS.stream` and `junetts.stream` return."""

from __future__ import annotations

import weakref
from collections.abc import AsyncIterator, Iterator
from types import TracebackType
from typing import Protocol

from junetts._audio import AudioChunk
from junetts._errors import SynthesisInterruptedError, UsageError
from junetts._report import SpeechReport
from junetts._speaking import Speaking
from junetts._speech import Speech


class ChunkSource(Protocol):
    """Where a stream's chunks come from: this event loop, or one in another thread."""

    @property
    def number(self) -> int:
        """The utterance's number."""

    @property
    def report(self) -> SpeechReport:
        """The utterance's report."""

    async def next_chunk(self) -> AudioChunk:
        """The next chunk; raises `StopAsyncIteration` at the end."""

    def next_chunk_blocking(self) -> AudioChunk:
        """The next chunk, for a caller without an event loop; `StopIteration` at the end."""

    def flush(self) -> None:
        """Speak the text that is buffered."""

    def cancel(self) -> None:
        """Stop at once; nothing is handed out any more."""

    def abandon(self) -> None:
        """`cancel`, from wherever the garbage collector runs."""

    async def aclose(self) -> None:
        """Stop, and wait until everything is released."""

    def close(self) -> None:
        """`aclose` for a caller without an event loop."""


class SpeechStream:
    """One utterance's audio, chunk by chunk, as it is made.

    ::

        async with tts.stream("Hello.") as stream:
            async for chunk in stream:
                speaker.write(chunk.pcm)
        print(stream.report.outcome)

    Guarantees: chunks are consecutive; leaving the loop early, for whatever reason, stops the
    work at once (barge-in), and so does dropping the stream; after the end `report` says how it
    ended. A stream of `junetts.stream` can also be iterated with a plain ``for``.
    """

    def __init__(self, source: ChunkSource) -> None:
        self._source = source
        self._is_iterated = False
        # Weakly: the work must not keep alive what its abandonment is recognised by.
        self._finalizer = weakref.finalize(self, source.abandon)
        self._finalizer.atexit = False

    def __repr__(self) -> str:
        report = self.report
        return f"<SpeechStream: {report.audio_s:.2f} s, {report.outcome}>"

    @property
    def number(self) -> int:
        """The utterance's number, by which events name it; a client counts from 1.

        A stream of `junetts.stream` has a client of its own, and is thus number 1.
        """
        return self._source.number

    @property
    def report(self) -> SpeechReport:
        """How the utterance ended; a snapshot while it goes on."""
        return self._source.report

    def flush(self) -> None:
        """Speak the text that is buffered now, even if its sentence is not finished."""
        self._source.flush()

    def cancel(self) -> None:
        """Barge in: stop at once; no more chunks are handed out."""
        self._source.cancel()

    async def aclose(self) -> None:
        """Stop, and wait until everything is released. Does nothing after the end."""
        await self._source.aclose()

    async def __aenter__(self) -> SpeechStream:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.aclose()

    def __aiter__(self) -> AsyncIterator[AudioChunk]:
        self._claim()
        return _AsyncChunks(self, self._source)

    async def __anext__(self) -> AudioChunk:
        return await self._source.next_chunk()

    def close(self) -> None:
        """Like `aclose`, for the blocking API."""
        self._source.close()

    def __enter__(self) -> SpeechStream:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def __iter__(self) -> Iterator[AudioChunk]:
        self._claim()
        return _Chunks(self, self._source)

    def __next__(self) -> AudioChunk:
        return self._source.next_chunk_blocking()

    def _claim(self) -> None:
        if self._is_iterated:
            raise UsageError("a stream is spoken once; call stream() again to hear it again")
        self._is_iterated = True

    async def collect(self) -> Speech:
        """All of the speech.

        Raises:
            SynthesisInterruptedError: if it is not complete; carries what there is.
        """
        pcm = bytearray()
        try:
            async for chunk in self:
                pcm += chunk.pcm
        except SynthesisInterruptedError as error:
            error.speech = self._speech(pcm)
            raise
        return _finished(self._speech(pcm))

    def collect_blocking(self) -> Speech:
        """All of the speech, for the blocking API; raises as `collect` does."""
        pcm = bytearray()
        try:
            for chunk in self:
                pcm += chunk.pcm
        except SynthesisInterruptedError as error:
            error.speech = self._speech(pcm)
            raise
        return _finished(self._speech(pcm))

    def _speech(self, pcm: bytearray) -> Speech:
        report = self.report
        return Speech(pcm=bytes(pcm), sample_rate=report.sample_rate, report=report)


def _finished(speech: Speech) -> Speech:
    """The speech, if all was said; what is cut short is never returned as success."""
    report = speech.report
    if report.outcome == "complete":
        return speech
    why = {
        "truncated": "the backend ran into its token limit; raise sampling.max_new_tokens",
        "cancelled": "it was cancelled",
    }
    error = SynthesisInterruptedError(
        f"speech is incomplete: {why.get(report.outcome, report.outcome)}", backend=report.backend
    )
    error.speech, error.report = speech, report
    raise error


class _AsyncChunks:
    """What an ``async for`` loop holds: dropped with the loop, and the work with it."""

    def __init__(self, stream: SpeechStream, source: ChunkSource) -> None:
        self._stream = stream  # kept alive, for the caller may hold nothing but the loop
        self._source = source

    def __aiter__(self) -> _AsyncChunks:
        return self

    async def __anext__(self) -> AudioChunk:
        source = self._source
        try:
            return await source.next_chunk()
        finally:
            # Held while it waits, for the caller may hold nothing else; but not by a traceback.
            del self

    def __del__(self) -> None:
        self._source.abandon()


class _Chunks:
    """What a ``for`` loop holds: dropped with the loop, and the work with it."""

    def __init__(self, stream: SpeechStream, source: ChunkSource) -> None:
        self._stream = stream  # kept alive, for the caller may hold nothing but the loop
        self._source = source

    def __iter__(self) -> _Chunks:
        return self

    def __next__(self) -> AudioChunk:
        return self._source.next_chunk_blocking()

    def __del__(self) -> None:
        self._source.abandon()


class LoopSource:
    """Chunks of an utterance that is spoken in the consumer's own event loop."""

    def __init__(self, speaking: Speaking) -> None:
        self._speaking = speaking

    @property
    def number(self) -> int:
        """The utterance's number."""
        return self._speaking.number

    @property
    def report(self) -> SpeechReport:
        """The utterance's report."""
        return self._speaking.report

    async def next_chunk(self) -> AudioChunk:
        """The next chunk."""
        speaking = self._speaking
        while True:
            item = speaking.take_ready() or await speaking.take()
            if item is None:
                raise StopAsyncIteration
            chunk = speaking.hand_out(item)
            if chunk is not None:
                speaking.take_markers()
                return chunk

    def next_chunk_blocking(self) -> AudioChunk:
        """Refused: it would block the event loop that makes the audio."""
        raise UsageError("this stream belongs to an async client: write `async for`, not `for`")

    def flush(self) -> None:
        """Speak what is buffered."""
        self._speaking.flush()

    def cancel(self) -> None:
        """Stop at once."""
        self._speaking.leave_from_anywhere()

    def abandon(self) -> None:
        """Stop, from wherever the garbage collector runs."""
        self._speaking.leave_from_anywhere()

    async def aclose(self) -> None:
        """Stop, and wait until the work has ended."""
        self._speaking.leave()
        await self._speaking.wait_finished()

    def close(self) -> None:
        """Refused: it would block the event loop that makes the audio."""
        raise UsageError("this stream belongs to an async client: write `async with`, not `with`")

"""One utterance being spoken: the task that speaks, the channel, the journal, the ending."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from anyio import CancelScope, create_task_group

from junetts._audio import BYTES_PER_SAMPLE, AudioChunk
from junetts._backend import BackendAudio, TtsBackend
from junetts._channel import AudioChannel
from junetts._chronicle import Chronicle, Tell
from junetts._errors import (
    BackendTimeoutError,
    JuneTtsError,
    SynthesisInterruptedError,
)
from junetts._events import FirstAudio
from junetts._feed import Text, TextFeed
from junetts._journal import Journal
from junetts._report import Outcome, SpeechReport
from junetts._utterance import Utterance

if TYPE_CHECKING:
    from junetts._speech import Speech

KEPT_S = 120.0  # audio that an error can carry; a longer utterance's listener already has it


class Speaking:
    """The work behind a stream.

    Guarantees: `run` never raises what the work raised, it hands it to the listener, after the
    audio that was made before; `cancel` stops the work and nothing is handed out afterwards;
    the report counts what was handed out, not what was made, and may be read in any thread.
    Where there is nothing to say, no backend is troubled.
    """

    def __init__(
        self,
        text: Text,
        utterance: Utterance,
        *,
        sample_rate: int,
        ahead_s: float,
        timeout_s: float | None = None,
        prices: Mapping[str, float] | None = None,
        tell: Tell | None = None,
    ) -> None:
        self.sample_rate = sample_rate
        self._chronicle = Chronicle(number=utterance.number, tell=tell)
        self._utterance = replace(utterance, observe=self._chronicle.observe)
        self._timeout_s = timeout_s
        self._prices = prices or {}
        self._journal = Journal(sample_rate)
        self._feed = TextFeed(text, self._journal, language=utterance.language)
        self._channel = AudioChannel(max_bytes=int(ahead_s * sample_rate) * BYTES_PER_SAMPLE)
        self._scope = CancelScope()
        self._loop = asyncio.get_running_loop()
        self._finished = asyncio.Event()
        self._outcome: Outcome = "speaking"
        self._backend: str | None = None
        self._kept: list[bytes] = []
        self._keeps = True
        self._started_at = time.perf_counter()
        self._first_audio_at: float | None = None
        self._worked_s: float | None = None  # until the last audio was made
        self._n_bytes_made = 0
        self._paused_s = 0.0  # spent waiting for a listener who is behind
        self._is_paused = False
        self._n_ended = 0  # segments whose audio was made

    @property
    def number(self) -> int:
        """The utterance's number, by which events name it."""
        return self._utterance.number

    async def run(self, backend: TtsBackend) -> None:
        """Speak; ends when the text is spoken, the work failed or it was cancelled."""
        try:
            with self._scope:
                self._channel.close(await self._work(backend))
        finally:
            if not self._channel.is_closed:  # stopped from outside, as by a scope around the client
                self.cancel()
            self._finished.set()

    async def _work(self, backend: TtsBackend) -> Exception | None:
        """Speak, while the text is being read; returns what went wrong."""
        failure: Exception | None = None
        async with create_task_group() as group:
            group.start_soon(self._feed.pump)
            try:
                await self._relay_in_time(backend)
            except Exception as error:  # noqa: BLE001  (noqa: reviewed) is told to the listener
                failure = error
            group.cancel_scope.cancel()
        return failure or self._feed.error

    async def _relay_in_time(self, backend: TtsBackend) -> None:
        try:
            async with asyncio.timeout(self._timeout_s) as deadline:
                await self._relay(backend)
        except TimeoutError as error:
            if not deadline.expired():
                raise
            raise self._too_late() from error

    def _too_late(self) -> BackendTimeoutError:
        """The deadline has passed: says who was waited for, a backend only if it was one."""
        what = f"not finished within {self._timeout_s:g} s"
        if self._is_paused:
            return BackendTimeoutError(f"{what}, for the listener took the audio too slowly")
        if self._feed.n_handed_out == self._n_ended and not self._feed.has_ended:
            return BackendTimeoutError(f"{what}, for the text source has not ended")
        return BackendTimeoutError(what, backend=self._chronicle.speaker)

    async def _relay(self, backend: TtsBackend) -> None:
        if not await self._feed.has_speech():
            return
        async with backend.speak(self._utterance, self._feed) as audio:
            async for item in audio:
                if self._channel.is_closed:  # left, but a backend that never waits goes on
                    return
                if item.data:
                    self._note_made(len(item.data), item.backend)
                self._n_ended += item.end is not None
                if not self._channel.offer(item):
                    await self._wait_to_put(item)

    async def _wait_to_put(self, item: BackendAudio) -> None:
        paused_at = time.perf_counter()
        self._is_paused = True
        await self._channel.put(item)
        self._is_paused = False
        self._paused_s += time.perf_counter() - paused_at

    def _note_made(self, n_bytes: int, backend: str) -> None:
        now = time.perf_counter()
        self._worked_s = now - self._started_at - self._paused_s
        self._n_bytes_made += n_bytes
        if self._first_audio_at is None:
            self._first_audio_at = now
            after_s = now - self._started_at
            self._chronicle.observe(
                FirstAudio(utterance=self._utterance.number, backend=backend, after_s=after_s)
            )

    def cancel(self) -> None:
        """Stop the work; nothing is handed out any more. Without effect after the end."""
        if self._outcome == "speaking":
            if self._channel.is_exhausted and not self._journal.unspoken_text:
                self._finish()
            else:
                self._end("cancelled")
        self._feed.stop()
        self._scope.cancel()
        self._channel.discard()

    def leave(self) -> None:
        """`cancel`, by a listener who was handed everything taken, and thus knows what it ends."""
        self.take_markers()
        self.cancel()

    def leave_from_anywhere(self) -> None:
        """`leave`, also from another thread or a finaliser."""
        if self.is_in_its_loop():
            self.leave()
        elif not (self._finished.is_set() or self._loop.is_closed()):
            self._loop.call_soon_threadsafe(self.leave)

    def is_in_its_loop(self) -> bool:
        """Whether the caller runs in the event loop that does the work."""
        return running_loop() is self._loop

    async def wait_finished(self) -> None:
        """Wait until the work has ended and released everything."""
        await self._finished.wait()

    def flush(self) -> None:
        """Speak the text that is buffered now, sentence end or not."""
        self._feed.flush()

    def take_ready(self) -> BackendAudio | None:
        """The next item to hand out, if one waits."""
        return self._channel.take() if self._channel.has_items else None

    async def take(self) -> BackendAudio | None:
        """The next item to hand out; None at the end.

        Raises:
            JuneTtsError: what the work failed with, after the last audio.
        """
        try:
            there_is_more = await self._channel.wait()
        except Exception as error:  # noqa: BLE001  (noqa: reviewed) raised to the listener
            raise self._failed(error)  # noqa: B904  its cause is already in place
        if there_is_more:
            return self._channel.take()
        self._finish()
        return None

    async def take_all(self) -> list[BackendAudio]:
        """Everything that waits to be handed out, at least one item; empty at the end."""
        first = await self.take()
        return [] if first is None else [first, *self._channel.take_all()]

    def take_markers(self) -> None:
        """Enter segment ends that directly follow the last chunk."""
        while self._channel.next_is_marker():
            self.hand_out(self._channel.take())

    def hand_out(self, item: BackendAudio) -> AudioChunk | None:
        """Enter an item as heard; returns its audio, if it has any. Nothing after the end."""
        with self._feed.lock:
            return self._entered(item) if self._outcome == "speaking" else None

    def _entered(self, item: BackendAudio) -> AudioChunk | None:
        chunk = None
        if item.data:
            self._backend = item.backend
            self._chronicle.heard(item.backend)
            n_samples = len(item.data) // BYTES_PER_SAMPLE
            start_s = self._journal.heard(
                item.segment, n_samples, backend=item.backend, offset=item.offset
            )
            self._keep(item.data)
            chunk = AudioChunk(
                pcm=item.data, sample_rate=self.sample_rate, start_s=start_s, segment=item.segment
            )
        if item.words is not None:
            self._journal.words(item.segment, item.words)
        if item.end is not None:
            self._journal.ended(
                item.segment,
                backend=item.backend,
                truncated=item.end == "truncated",
                offset=item.offset,
            )
        return chunk

    def _keep(self, pcm: bytes) -> None:
        if self._keeps:
            self._kept.append(pcm)
            if self._journal.n_samples > KEPT_S * self.sample_rate:
                self._kept.clear()
                self._keeps = False

    def _finish(self) -> None:
        if self._outcome == "speaking":
            self._end("truncated" if self._journal.is_truncated else "complete")

    def _end(self, outcome: Outcome) -> None:
        with self._feed.lock:
            self._outcome = outcome
            if outcome != "complete":
                self._journal.close()
        self._chronicle.finish(lambda: self.report)

    def _failed(self, error: Exception) -> Exception:
        """What the listener is told: after sound, an interruption with what was heard."""
        self._end("failed")
        if not isinstance(error, JuneTtsError):
            return error
        if self._journal.n_samples and not isinstance(error, SynthesisInterruptedError):
            error = SynthesisInterruptedError.by(error)
        error.report = self.report
        error.speech = self.heard_speech()
        return error

    def heard_speech(self) -> Speech | None:
        """What was handed out, if there was sound and it is short enough to have been kept."""
        if not self._kept:
            return None
        from junetts._speech import Speech

        return Speech(pcm=b"".join(self._kept), sample_rate=self.sample_rate, report=self.report)

    @property
    def report(self) -> SpeechReport:
        """The report, or a snapshot of it while speaking."""
        with self._feed.lock:
            return self._snapshot()

    def _snapshot(self) -> SpeechReport:
        journal = self._journal
        audio_s = journal.n_samples / self.sample_rate
        return SpeechReport(
            outcome=self._outcome,
            spoken_text=journal.spoken_text,
            unspoken_text=journal.unspoken_text + self._feed.remaining,
            segments=journal.segments(),
            attempts=tuple(self._chronicle.attempts),
            handovers=tuple(self._chronicle.handovers),
            substitutions=tuple(self._chronicle.substitutions),
            backend=self._backend,
            sample_rate=self.sample_rate,
            ttfa_s=self._since_start(self._first_audio_at),
            rtf=self._rtf(),
            audio_s=audio_s,
            characters=self._feed.n_characters,
            utf8_bytes=self._feed.n_utf8_bytes,
            cost_usd=self._cost_usd(),
        )

    def _since_start(self, moment: float | None) -> float | None:
        return None if moment is None else moment - self._started_at

    def _rtf(self) -> float | None:
        if self._worked_s is None:
            return None
        return self._worked_s * self.sample_rate * BYTES_PER_SAMPLE / self._n_bytes_made

    def _cost_usd(self) -> float:
        begun = self._journal.bytes_begun()
        return sum(n * self._prices.get(name, 0.0) / 1e6 for name, n in begun.items())


def running_loop() -> asyncio.AbstractEventLoop | None:
    """The event loop that runs in this thread, if one does."""
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None

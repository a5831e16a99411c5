"""One utterance as the scheduler works on it: prompt, frames, sound."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor

from junetts._runtime.codec import CodecStream
from junetts._runtime.conversation import Conversation
from junetts._runtime.frame import NO_FRAME
from junetts._runtime.job import End, Job, Sound
from junetts._runtime.kv_cache import KvCache
from junetts._runtime.prefixes import PrefixStore
from junetts._runtime.prompt import split_batches
from junetts._runtime.reading import Reading
from junetts._runtime.runtime import Runtime
from junetts._runtime.sampling import SamplingParams, resolve
from junetts._runtime.schedule import ChunkSchedule
from junetts._runtime.slots import Seat
from junetts._utterance import MAX_SEED

MAX_BATCH_BYTES = 512  # of several speakers' turns that are spoken in one go
SEED_STEP = 0x9E3779B97F4A7C15  # odd, so that no two parts of an utterance share a seed
PLAUSIBLE_S = 4.0  # of speech for a text without a single character,
PLAUSIBLE_S_PER_CHARACTER = 0.75  # and for each one more: thrice what slow speech takes

logger = logging.getLogger("junetts")


class Voicing:
    """A job's conversation, the segment in hand, and what of it was handed out.

    It is ``wants_to_read`` while a segment waits or its prompt is being read, then
    ``is_speaking`` until the segment has ended.
    """

    def __init__(
        self, job: Job, runtime: Runtime, *, context: int, clock: Callable[[], float]
    ) -> None:
        self.job = job
        self._n_rows = 1 + runtime.sizes.n_codebooks
        self.seat = Seat(columns=self._as_columns([]))
        self.reading: Reading | None = None
        self._runtime = runtime
        self._context = context
        self._conversation: Conversation | None = None
        self._schedule = ChunkSchedule(
            frame_s=runtime.codec.frame_length / runtime.codec.sample_rate,
            max_frames=job.request.max_chunk_frames,
            clock=clock,
        )
        self._params = resolve(job.request.sampling, runtime.sizes.family)
        self._n_begun = -1
        self._segment = 0
        self._parts: deque[str] = deque()
        self._end: End = "complete"
        self._columns: list[list[int]] = []  # frames of this part, [1 + codebook] each
        self._n_decoded = 0
        self._limit = 0
        self._stream: CodecStream | None = None  # while a segment is in hand
        self._is_speaking = False

    @property
    def params(self) -> SamplingParams:
        """How to draw this part's tokens: each part of an utterance draws anew."""
        seed = (self._params.seed + self._n_begun * SEED_STEP) % (MAX_SEED + 1)
        return replace(self._params, seed=seed)

    @property
    def is_over(self) -> bool:
        """Whether there is nothing more to do."""
        if self.job.is_cancelled:
            return True
        return self.job.is_done and not self._parts and not self._is_speaking

    @property
    def wants_to_read(self) -> bool:
        """Whether there is a prompt to read, and someone to read it for."""
        if self._is_speaking or self.job.is_ahead:
            return False
        return bool(self._parts) or self.job.has_text

    @property
    def is_speaking(self) -> bool:
        """Whether a frame can be made for it now."""
        if self._is_speaking and self.job.is_ahead:
            self._schedule.pause()
            return False
        return self._is_speaking

    @property
    def position(self) -> int:
        """The column at which the last frame goes into the memory."""
        assert self.reading is not None
        return self.reading.prompt.shape[1] + len(self._columns) - 1

    @property
    def n_columns(self) -> int:
        """How many columns of the memory were written for it, at most."""
        if self.reading is None:
            return self.seat.columns.shape[1]
        return min(self._context, self.reading.prompt.shape[1] + len(self._columns))

    def begin(self, prefixes: PrefixStore, cache: KvCache) -> Reading:
        """Take the next part of the text, and write its prompt.

        Raises:
            InvalidRequestError: if a reference is no sound, or the text too long for the context.
        """
        if not self._parts:
            self._segment, text = self.job.next_text()
            self._parts.extend(self._split(text))
            self._end = "complete"
            self._stream = self._runtime.codec.stream()
        if self._conversation is None:
            self._conversation = self._new_conversation()
        prompt = self._conversation.prompt(self._parts[0], max_frames=self.job.request.max_frames)
        self._n_begun += 1
        self._limit = min(
            self.job.request.max_frames,
            self._plausible_frames(self._parts[0]),
            self._context - prompt.shape[1],
        )
        self.reading = Reading(
            prompt,
            n_voice=self._conversation.voice_prefix(),
            seat=self.seat,
            prefixes=prefixes,
            cache=cache,
        )
        return self.reading

    def start_speaking(self) -> None:
        """The prompt has been read; frames follow."""
        self._columns = []
        self._n_decoded = 0
        self._is_speaking = True
        self._schedule.pause()

    def hear(self, column: list[int]) -> None:
        """Take the next frame ``[1 + codebook]``, or the end, and hand out sound when it is due.

        Raises:
            EngineError: if there is no frame, because the model's numbers are none.
        """
        if column[0] == NO_FRAME:
            raise self._runtime.not_finite()
        if column[0] == self._runtime.tokens.im_end:
            self._end_part("complete")
            return
        self._columns.append(column)
        self._schedule.made()
        if len(self._columns) == self._limit:
            self._end_part("truncated")
        elif self._schedule.is_due(len(self._columns) - self._n_decoded):
            self._hand_out()

    def _split(self, text: str) -> list[str]:
        if self._runtime.sizes.family == "s1":
            return [text]
        return split_batches(text, max_bytes=MAX_BATCH_BYTES)

    def _new_conversation(self) -> Conversation:
        return Conversation(
            self._runtime.sizes,
            self._runtime.tokenizer,
            self._runtime.turns(self.job.request.references),
            context=self._context,
        )

    def _plausible_frames(self, text: str) -> int:
        seconds = PLAUSIBLE_S + PLAUSIBLE_S_PER_CHARACTER * len(text)
        codec = self._runtime.codec
        return int(seconds * codec.sample_rate / codec.frame_length)

    def _end_part(self, end: End) -> None:
        assert self.reading is not None
        assert self._conversation is not None
        text = self._parts.popleft()
        is_cut = end == "truncated"
        if is_cut:
            self._end = end
            logger.info("speech was cut off after %d frames without an end", self._limit)
        fed = self._columns[: len(self._columns) - is_cut]  # the last one never was read back
        self.seat.columns = torch.cat([self.reading.prompt, self._as_columns(fed)], dim=1)
        if self._columns and not is_cut:  # what does not end must not be imitated
            self._conversation.add(text, self._as_columns(self._columns)[1:])
        self.reading = None
        self._is_speaking = False
        self.seat.is_idle = True
        self._hand_out(None if self._parts else self._end)
        if not self._parts:
            self._stream = None  # several megabytes that nobody needs while there is no text

    def _hand_out(self, end: End | None = None) -> None:
        n_frames = len(self._columns) - self._n_decoded
        codes = self._as_columns(self._columns[self._n_decoded :])[1:]  # [codebook, frame]
        self._n_decoded = len(self._columns)
        assert self._stream is not None
        samples = self._stream.push(codes) if n_frames else torch.empty(0)
        if n_frames or end is not None:
            self.job.deliver(Sound(segment=self._segment, samples=samples.cpu().float(), end=end))
            self._schedule.handed_out(n_frames)

    def _as_columns(self, frames: list[list[int]]) -> Tensor:
        """Frames as ``[1 + codebook, frame]``."""
        return torch.tensor(frames, dtype=torch.int64).reshape(-1, self._n_rows).T

"""The in-process engine, for tools and tests: prompts, logits, frames, codec, speech.

For speaking, use `junetts.TTS` with the ``local`` backend: it adds segmentation, several
utterances at once, barge-in and a report. This is the same model without all that, synchronous
and in one thread::

    engine = junetts.engine.load("checkpoints/openaudio-s1-mini")
    for samples in engine.speak("Hello from June."):
        ...

It needs the extra ``local``: ``pip install "junetts[local]"``.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from itertools import takewhile
from pathlib import Path
from typing import NamedTuple, TypeAlias

import torch
from torch import Tensor

from junetts._errors import InvalidRequestError
from junetts._fishwire.speaker_tags import attributed, without_tags
from junetts._runtime.codec import Codec, CodecStream
from junetts._runtime.frame import first_frame, next_frame
from junetts._runtime.job import Failure, Job, Sound, SpeakRequest
from junetts._runtime.prompt import Codes, Turn, encode_prompt
from junetts._runtime.runtime import Runtime, context_of, load_runtime
from junetts._runtime.sampling import SamplingParams, probabilities, resolve
from junetts._runtime.scheduler import Scheduler
from junetts._runtime.sizes import ModelSizes
from junetts._segmentation import Segmenter, is_speakable
from junetts._utterance import ReferenceClip, Sampling, require_number

__all__ = ["Codec", "CodecStream", "Engine", "Forward", "Turn", "load"]

Reference: TypeAlias = ReferenceClip | Turn | tuple[str, Codes]
DEFAULTS = Sampling()  # the model family's own
MAX_FRAMES = 1024  # of a sentence, 48 s
MAX_AT_ONCE = 4  # iterators of `speak` that are made progress with at once


class Forward(NamedTuple):
    """What the slow AR makes of a prompt's last column, all float32 in host memory.

    Attributes:
        logits: ``[vocabulary]``, of the next token, without any restriction.
        hidden: ``[dim]``, before the final norm.
        normed: ``[dim]``, and after it.
    """

    logits: Tensor
    hidden: Tensor
    normed: Tensor


def load(
    checkpoint: str | Path,
    *,
    device: str | torch.device = "auto",
    dtype: str | torch.dtype = "auto",
    max_context: int | None = None,
    voice_cache: str | Path | None = None,
) -> Engine:
    """Load a checkpoint directory of either family, S1 or S2.

    Args:
        checkpoint: the directory with ``config.json``, weights, tokenizer and ``codec.pth``.
        device: ``auto``, ``cpu``, ``cuda``, ``cuda:N`` or ``mps``.
        dtype: of the language model: ``auto``, ``float32``, ``bfloat16`` or ``float16``.
        max_context: columns of memory; None is what the checkpoint allows, at most 8192.
        voice_cache: directory in which codes of recordings are kept between runs.

    Raises:
        CheckpointError: if files are missing, damaged or of an unknown kind.
        OutOfMemoryError: if the device is too small; says what would fit.
        InvalidRequestError: if there is no such device or dtype.
        EngineError: if this machine has no such device.
    """
    runtime = load_runtime(
        checkpoint,
        device=device,
        dtype=dtype,
        max_context=max_context,
        voice_directory=None if voice_cache is None else Path(voice_cache),
    )
    return Engine(runtime, context=context_of(runtime.sizes, max_context))


class Engine:
    """A loaded checkpoint; all its methods belong into one thread.

    Tensors that come out are in host memory; those that go in may be numpy arrays, too.
    """

    def __init__(self, runtime: Runtime, *, context: int) -> None:
        self._runtime = runtime
        self._context = context
        self._scheduler: Scheduler | None = None

    def __repr__(self) -> str:
        runtime = self._runtime
        return f"Engine({runtime.sizes.family}, device={runtime.device}, dtype={runtime.dtype})"

    @property
    def sizes(self) -> ModelSizes:
        """The sizes of the language model."""
        return self._runtime.sizes

    @property
    def codec(self) -> Codec:
        """The neural audio codec: ``encode``, ``decode``, ``stream``."""
        return self._runtime.codec

    @property
    def sample_rate(self) -> int:
        """Of everything spoken and encoded, in Hz."""
        return self._runtime.codec.sample_rate

    @property
    def device(self) -> torch.device:
        """Where the model is."""
        return self._runtime.device

    @property
    def dtype(self) -> torch.dtype:
        """The language model's precision."""
        return self._runtime.dtype

    def encode_prompt(
        self,
        text: str,
        references: Sequence[Reference] = (),
        history: Sequence[Turn | tuple[str, Codes]] = (),
    ) -> Tensor:
        """The prompt for saying a text, int64 ``[1 + codebook, column]``.

        Args:
            text: what to say next.
            references: the voice: recordings, or transcripts with codes ``[codebook, frame]``.
            history: what was said before, as texts with codes.

        Raises:
            InvalidRequestError: naming what is wrong with which reference or turn.
        """
        return encode_prompt(
            self.sizes,
            self._runtime.tokenizer,
            text,
            references=self._runtime.turns(_as_turns(references)),
            history=[_as_turn(turn) for turn in history],
        )

    @torch.inference_mode()
    def forward(self, prompt: Tensor) -> Forward:
        """Run the slow AR over a prompt ``[1 + codebook, column]``.

        Raises:
            InvalidRequestError: if the prompt has another shape, or exceeds the context.
        """
        columns = self._checked(prompt, n_frames=0)
        cache = self._runtime.new_cache(n_slots=1, context=columns.shape[1])
        slow = self._runtime.model.prefill(columns, cache, slot=0, start=0)
        return Forward(*(part[0].float().cpu() for part in slow))

    def logits(self, prompt: Tensor) -> Tensor:
        """The logits after a prompt, float32 ``[vocabulary]``, without any restriction."""
        return self.forward(prompt).logits

    def hidden_state(self, prompt: Tensor) -> Tensor:
        """The slow AR's last hidden state, before the final norm, float32 ``[dim]``."""
        return self.forward(prompt).hidden

    @torch.inference_mode()
    def probabilities(
        self, logits: Tensor, sampling: Sampling = DEFAULTS, previous: Tensor | None = None
    ) -> Tensor:
        """What a token is drawn from: float32 ``[n]``, for logits ``[n]``.

        Args:
            logits: of the next token, or of the next code.
            sampling: temperature, top-p, top-k, and S1's repetition penalty.
            previous: ids that S1's penalty applies to; None for none.
        """
        return probabilities(
            torch.as_tensor(logits).float(),
            resolve(sampling, self.sizes.family),
            None if previous is None else torch.as_tensor(previous).long(),
            self.sizes.family,
        )

    def generate(
        self, prompt: Tensor, sampling: Sampling = DEFAULTS, max_frames: int | None = None
    ) -> Iterator[Tensor]:
        """Generate frames, int64 ``[1 + codebook]`` each: the token's id, then its codes.

        It ends before the end token, or after ``max_frames``, or where the context does.

        Raises:
            InvalidRequestError: if the prompt has another shape, or leaves no room.
        """
        _check_max_frames(max_frames)
        columns = self._checked(prompt, n_frames=1)
        limit = min(
            max_frames or sampling.max_new_tokens or self._context,
            self._context - columns.shape[1],
        )
        frames = self._frames(columns, resolve(sampling, self.sizes.family), limit)
        return takewhile(lambda frame: int(frame[0]) != self._runtime.tokens.im_end, frames)

    def speak(
        self,
        text: str | Iterable[str],
        *,
        references: Sequence[Reference] = (),
        sampling: Sampling = DEFAULTS,
        max_frames: int | None = None,
    ) -> Iterator[Tensor]:
        """Speak a text; yields samples, float32 ``[n]``, as soon as they are made.

        Leaving the iterator stops the model. Iterators of one engine may be interleaved.

        Args:
            text: cut into sentences; or the sentences, as they come.
            references: the voice: recordings, or transcripts with codes ``[codebook, frame]``.
            sampling: with a seed, the same speech every time.
            max_frames: per sentence; running into it cuts the sentence off.

        Raises:
            InvalidRequestError: if a reference is unsuitable or a sentence too long.
            OutOfMemoryError: if the device is too small.
            EngineError: if the model fails.
        """
        _check_max_frames(max_frames)
        request = SpeakRequest(
            sampling=sampling,
            references=_as_turns(references),
            max_frames=max_frames or sampling.max_new_tokens or MAX_FRAMES,
        )
        if self._scheduler is None:
            self._scheduler = Scheduler(self._runtime, max_batch=MAX_AT_ONCE, context=self._context)
        return _spoken(self._scheduler, request, _sentences(text))

    def _frames(self, prompt: Tensor, params: SamplingParams, limit: int) -> Iterator[Tensor]:
        runtime, n_columns = self._runtime, prompt.shape[1]
        cache = runtime.new_cache(n_slots=1, context=n_columns + limit)
        state = runtime.new_state(n_slots=1)
        with torch.inference_mode():
            slow = runtime.model.prefill(prompt, cache, slot=0, start=0)
            state.park(0, position=n_columns)
            state.begin(0, params)
            column = first_frame(runtime.model, slow, state, slot=0)
        yield column.cpu()
        state.activate([0])
        for span in range(n_columns + 1, n_columns + limit):
            with torch.inference_mode():
                columns = next_frame(runtime.model, cache, state, n=1, span=span)
            yield columns[0].cpu()

    def _checked(self, prompt: Tensor, *, n_frames: int) -> Tensor:
        """The prompt on the device, if it is one and room for so many frames is left."""
        columns = torch.as_tensor(prompt)
        n_rows = 1 + self.sizes.n_codebooks
        if columns.ndim != 2 or columns.shape[0] != n_rows or columns.shape[1] == 0:
            raise InvalidRequestError(
                f"prompt must have the shape [{n_rows}, columns], not {list(columns.shape)}",
                field="prompt",
            )
        if columns.is_floating_point() or columns.is_complex():
            raise InvalidRequestError(
                f"prompt must hold whole numbers, not {columns.dtype}", field="prompt"
            )
        if columns.shape[1] + n_frames > self._context:
            raise InvalidRequestError(
                f"prompt has {columns.shape[1]} columns; the context has {self._context}",
                field="prompt",
            )
        self._check_ids(columns)
        return columns.to(self._runtime.device, torch.int64)

    def _check_ids(self, columns: Tensor) -> None:
        ids, codes = columns[0], columns[1:]
        for row, bound in ((ids, self.sizes.vocab_size), (codes, self.sizes.codebook_size)):
            if int(row.min()) < 0 or int(row.max()) >= bound:
                raise InvalidRequestError(
                    f"prompt must hold ids below {self.sizes.vocab_size} and codes below "
                    f"{self.sizes.codebook_size}, none of them negative",
                    field="prompt",
                )


def _check_max_frames(max_frames: int | None) -> None:
    require_number("max_frames", max_frames, minimum=1, maximum=2**31 - 1, integer=True)


def _spoken(scheduler: Scheduler, request: SpeakRequest, texts: Iterator[str]) -> Iterator[Tensor]:
    made = deque[Sound | Failure]()
    job = Job(request, made.append)
    scheduler.add(job)
    try:
        for index, text in enumerate(texts):
            job.say(index, text)
            end = None
            while end is None:
                while not made:
                    scheduler.step()
                item = made.popleft()
                if isinstance(item, Failure):
                    raise item.error
                end = item.end
                if item.samples.shape[0]:
                    yield item.samples
    finally:
        job.cancel()
        scheduler.step()  # frees its slot


def _sentences(text: str | Iterable[str]) -> Iterator[str]:
    """The sentences worth speaking, each with the tag of who speaks."""
    speaker = ""
    for sentence in _segments(text) if isinstance(text, str) else text:
        if is_speakable(without_tags(sentence)):
            attributed_text, speaker = attributed(sentence, speaker)
            yield attributed_text


def _segments(text: str) -> Iterator[str]:
    segmenter = Segmenter()
    segmenter.push(text)
    segmenter.flush()
    while (segment := segmenter.take()) is not None:
        yield segment.text


def _as_turns(references: Sequence[Reference]) -> tuple[ReferenceClip | Turn, ...]:
    return tuple(one if isinstance(one, ReferenceClip) else _as_turn(one) for one in references)


def _as_turn(turn: Turn | tuple[str, Codes]) -> Turn:
    if isinstance(turn, Turn):
        return turn
    text, codes = turn
    return Turn(text=text, codes=codes)

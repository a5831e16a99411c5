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
from typing import NamedTuple

import torch
from torch import Tensor

from junetts._errors import InvalidRequestError
from junetts._fishwire.speaker_tags import attributed, without_tags
from junetts._runtime.codec import Codec, CodecStream
from junetts._runtime.failures import our_errors
from junetts._runtime.frame import NO_FRAME, first_frame, next_frame
from junetts._runtime.job import Failure, Job, Sound, SpeakRequest
from junetts._runtime.prompt import Codes, Turn, encode_prompt
from junetts._runtime.prompt_check import checked_prompt
from junetts._runtime.references import Reference, as_references, as_turns
from junetts._runtime.runtime import Runtime, context_of, load_runtime
from junetts._runtime.sampling import SamplingParams, probabilities, resolve
from junetts._runtime.scheduler import Scheduler
from junetts._runtime.sizes import ModelSizes
from junetts._segmentation import Segmenter, is_speakable
from junetts._utterance import Sampling, require_number

__all__ = ["Codec", "CodecStream", "Engine", "Forward", "Turn", "load"]

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
        InvalidRequestError: if there is no such device or dtype, or ``max_context`` is no size.
        EngineError: if this machine has no such device.
    """
    require_number("max_context", max_context, minimum=1, maximum=2**31 - 1, integer=True)
    with our_errors():
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
        with our_errors():
            return encode_prompt(
                self.sizes,
                self._runtime.tokenizer,
                text,
                references=self._runtime.turns(as_references(references)),
                history=as_turns(history),
            )

    @torch.inference_mode()
    def forward(self, prompt: Tensor) -> Forward:
        """Run the slow AR over a prompt ``[1 + codebook, column]``.

        Raises:
            InvalidRequestError: if the prompt has another shape, or exceeds the context.
            OutOfMemoryError: if the device is too small.
        """
        columns = self._checked(prompt, n_frames=0)
        with our_errors():
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

        Raises:
            InvalidRequestError: if the logits are no row, or ``previous`` holds others' ids.
        """
        row = torch.as_tensor(logits).float()
        ids = None if previous is None else torch.as_tensor(previous).long()
        if row.ndim != 1 or row.shape[0] == 0:
            raise InvalidRequestError(
                f"logits must have the shape [n], not {list(row.shape)}", field="logits"
            )
        if ids is not None and (ids.ndim != 1 or not bool(((ids >= 0) & (ids < len(row))).all())):
            raise InvalidRequestError(
                f"previous must hold ids from 0 to {len(row) - 1}, in one row", field="previous"
            )
        return probabilities(row, resolve(sampling, self.sizes.family), ids, self.sizes.family)

    def generate(
        self, prompt: Tensor, sampling: Sampling = DEFAULTS, max_frames: int | None = None
    ) -> Iterator[Tensor]:
        """Generate frames, int64 ``[1 + codebook]`` each: the token's id, then its codes.

        It ends before the end token, or after ``max_frames``, or where the context does.

        Raises:
            InvalidRequestError: if the prompt has another shape, or leaves no room.
            OutOfMemoryError: if the device is too small.
            EngineError: if the model fails.
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
            InvalidRequestError: if a reference is unsuitable, or a sentence no text or too long.
            OutOfMemoryError: if the device is too small.
            EngineError: if the model fails.
        """
        _check_max_frames(max_frames)
        request = SpeakRequest(
            sampling=sampling,
            references=as_references(references),
            max_frames=max_frames or sampling.max_new_tokens or MAX_FRAMES,
        )
        if not isinstance(text, Iterable):
            raise _no_text(text)
        if self._scheduler is None:
            with our_errors():
                self._scheduler = Scheduler(
                    self._runtime, max_batch=MAX_AT_ONCE, context=self._context
                )
        return _spoken(self._scheduler, request, _sentences(text))

    def _frames(self, prompt: Tensor, params: SamplingParams, limit: int) -> Iterator[Tensor]:
        runtime, n_columns = self._runtime, prompt.shape[1]
        with our_errors(), torch.inference_mode():
            cache = runtime.new_cache(n_slots=1, context=n_columns + limit)
            state = runtime.new_state(n_slots=1)
            slow = runtime.model.prefill(prompt, cache, slot=0, start=0)
            state.park(0, position=n_columns)
            state.begin(0, params)
            column = first_frame(runtime.model, slow, state, slot=0).cpu()
            state.activate([0])
        yield self._told(column)
        for span in range(n_columns + 1, n_columns + limit):
            with our_errors(), torch.inference_mode():
                column = next_frame(runtime.model, cache, state, n=1, span=span)[0].cpu()
            yield self._told(column)

    def _told(self, column: Tensor) -> Tensor:
        if int(column[0]) == NO_FRAME:
            raise self._runtime.not_finite()
        return column

    def _checked(self, prompt: Tensor, *, n_frames: int) -> Tensor:
        columns = checked_prompt(prompt, self.sizes, context=self._context, n_frames=n_frames)
        return columns.to(self.device)


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
        scheduler.dismiss()  # frees its slot


def _sentences(text: str | Iterable[str]) -> Iterator[str]:
    """The sentences worth speaking, each with the tag of who speaks."""
    speaker = ""
    for sentence in _segments(text) if isinstance(text, str) else text:
        if not isinstance(sentence, str):
            raise _no_text(sentence)
        if is_speakable(without_tags(sentence)):
            attributed_text, speaker = attributed(sentence, speaker)
            yield attributed_text


def _no_text(found: object) -> InvalidRequestError:
    return InvalidRequestError(
        f"text must be a str, or consist of str, not {type(found).__name__}", field="text"
    )


def _segments(text: str) -> Iterator[str]:
    segmenter = Segmenter()
    segmenter.push(text)
    segmenter.flush()
    while (segment := segmenter.take()) is not None:
        yield segment.text

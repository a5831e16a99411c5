"""A loaded checkpoint: language model, codec, tokenizer, voices."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from junetts._errors import EngineError
from junetts._runtime.checkpoint import load_into, open_checkpoint
from junetts._runtime.codec import Codec
from junetts._runtime.device import DTYPES, resolve_device, resolve_dtype
from junetts._runtime.dual_ar import DualAR
from junetts._runtime.frame import FrameState
from junetts._runtime.kv_cache import KvCache
from junetts._runtime.memory import cache_bytes, cache_bytes_per_column, require_memory
from junetts._runtime.prompt import Turn
from junetts._runtime.sizes import ModelSizes, TokenIds
from junetts._runtime.tokenizer import Tokenizer
from junetts._runtime.voices import Voices, fingerprint_of
from junetts._utterance import ReferenceClip

MAX_CONTEXT = 8192  # columns, unless more is asked for: memory is set aside for each utterance


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Runtime:
    """Everything that is loaded once and shared by all utterances; it has no state of its own."""

    sizes: ModelSizes
    tokens: TokenIds
    tokenizer: Tokenizer
    model: DualAR
    codec: Codec
    voices: Voices
    device: torch.device
    dtype: torch.dtype

    def new_cache(self, *, n_slots: int, context: int) -> KvCache:
        """Memory of the slow AR for so many utterances at once."""
        return KvCache(
            self.sizes, n_slots=n_slots, context=context, device=self.device, dtype=self.dtype
        )

    def new_state(self, *, n_slots: int) -> FrameState:
        """What else is kept between two frames, for so many utterances."""
        return FrameState(self.sizes, n_slots=n_slots, device=self.device)

    def not_finite(self) -> EngineError:
        """Say that the model's numbers are none."""
        precision = str(self.dtype).removeprefix("torch.")
        return EngineError(
            f"the model's numbers are not finite in {precision}",
            retryable=False,
            hint="use dtype bfloat16 or float32" if precision == "float16" else None,
        )

    def turns(self, references: Sequence[ReferenceClip | Turn]) -> list[Turn]:
        """References as transcripts and codes; recordings are encoded, once.

        Raises:
            InvalidRequestError: if a recording cannot be decoded or is unsuitable.
        """
        return [
            reference
            if isinstance(reference, Turn)
            else Turn(text=reference.text, codes=self.voices.codes(reference))
            for reference in references
        ]


@torch.inference_mode()
def load_runtime(
    directory: str | Path,
    *,
    device: str | torch.device = "auto",
    dtype: str | torch.dtype = "auto",
    n_slots: int = 1,
    max_context: int | None = None,
    voice_directory: Path | None = None,
    check: Callable[[], None] = lambda: None,
) -> Runtime:
    """Load a checkpoint onto a device.

    ``n_slots`` utterances at once with ``max_context`` columns each are what must find room in
    the device's memory. ``voice_directory`` is where codes of recordings are kept between runs.
    ``check`` is called again and again, and stops the loading by raising something.

    Raises:
        CheckpointError: if files are missing, damaged or of an unknown kind.
        OutOfMemoryError: if the device is too small.
        InvalidRequestError: if there is no such device or dtype.
        EngineError: if this machine has no such device.
    """
    checkpoint = open_checkpoint(directory)
    on, precision = resolve_device(device), resolve_dtype(dtype, resolve_device(device))
    check()
    tokenizer = checkpoint.load_tokenizer()
    check()
    weights = _Checked(checkpoint.model_weights(), check)
    _require_room(checkpoint.model, weights, on, precision, n_slots, max_context)
    with torch.device("meta"):
        model = DualAR(checkpoint.model, tokenizer.ids)
    load_into(model, weights, device=on, dtype=precision, path=checkpoint.model_path)
    codec = Codec.load(
        _Checked(checkpoint.codec_weights(), check),
        checkpoint.codec,
        device=on,
        dtype=torch.float32,  # whatever the model's: its rounding is audible, its cost is small
        path=checkpoint.codec_path,
    )
    return Runtime(
        sizes=checkpoint.model,
        tokens=tokenizer.ids,
        tokenizer=tokenizer,
        model=model,
        codec=codec,
        voices=Voices(
            codec.encode,
            sample_rate=codec.sample_rate,
            fingerprint=fingerprint_of(checkpoint.codec_path),
            directory=voice_directory,
        ),
        device=on,
        dtype=precision,
    )


def context_of(sizes: ModelSizes, max_context: int | None) -> int:
    """Columns of memory that an utterance is given."""
    return min(sizes.context, max_context or MAX_CONTEXT)


class _Checked(Mapping[str, Tensor]):
    """Weights that may turn out to be wanted no more, whenever one is asked for."""

    def __init__(self, weights: Mapping[str, Tensor], check: Callable[[], None]) -> None:
        self._weights = weights
        self._check = check

    def __getitem__(self, name: str) -> Tensor:
        self._check()
        return self._weights[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._weights)

    def __len__(self) -> int:
        return len(self._weights)


def _require_room(
    sizes: ModelSizes,
    weights: Mapping[str, Tensor],
    device: torch.device,
    dtype: torch.dtype,
    n_slots: int,
    max_context: int | None,
) -> None:
    """Check that the model fits; on the processor, unused context takes no memory."""
    n_parameters = sum(tensor.numel() for tensor in weights.values())
    n_columns = 0 if device.type == "cpu" else context_of(sizes, max_context)
    needed = {
        one: n_parameters * one.itemsize
        + cache_bytes(sizes, one, n_slots=n_slots, n_columns=n_columns)
        for one in DTYPES.values()
    }
    per_column = {one: n_slots * cache_bytes_per_column(sizes, one) for one in DTYPES.values()}
    require_memory(needed, device, dtype, bytes_per_column=per_column, n_columns=n_columns)

"""The neural audio codec: samples to codes, and codes to samples."""

from __future__ import annotations

import os
from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from junetts._runtime.checkpoint import bake_weight_norm, check_weights, load_into
from junetts._runtime.codec.decoder import DecodingHalf
from junetts._runtime.codec.encoder import EncodingHalf
from junetts._runtime.codec.inputs import Codes, Samples, as_samples
from junetts._runtime.codec.past import Past
from junetts._runtime.codec.precision import exact_convolutions
from junetts._runtime.codec.stream import BLOCK_FRAMES, CodecStream
from junetts._runtime.sizes import CodecSizes


class Codec:
    """Codes to samples, whole or as a stream, and recordings to codes.

    Guarantees: ``decode`` gives what ``stream`` gives; both take memory that does not grow with
    length, apart from their results. Everything runs on one device and keeps no gradients.
    The encoding half is always float32, because its choice of codes is sensitive and made once
    per voice; it is loaded when it is first needed. Not thread-safe.
    """

    def __init__(self, sizes: CodecSizes, decoding: DecodingHalf, encoding: LazyEncoding) -> None:
        self.sizes = sizes
        self.decoding = decoding
        self._encoding = encoding

    @classmethod
    def load(
        cls,
        weights: Mapping[str, Tensor],
        sizes: CodecSizes,
        *,
        device: torch.device | str,
        dtype: torch.dtype,
        path: str | os.PathLike[str],
    ) -> Codec:
        """Load the decoding half, and check both halves.

        Args:
            weights: as upstream names them, weight norm in any spelling.
            sizes: of the networks that the weights belong to.
            device: where the codec runs.
            dtype: of the decoding half.
            path: what errors say the weights come from.

        Raises:
            CheckpointError: a weight is missing, surplus or misshapen.
            OutOfMemoryError: the device's memory does not suffice.
        """
        path = os.fspath(path)
        with torch.device("meta"):
            decoding, encoding = DecodingHalf(sizes), EncodingHalf(sizes)
        outlines = {name: tensor.to("meta") for name, tensor in weights.items()}
        expected = _shapes(decoding) | _shapes(encoding)
        check_weights(expected, bake_weight_norm(outlines, path=path), path=path)
        _load(decoding, weights, device=device, dtype=dtype, path=path)
        return cls(sizes, decoding, LazyEncoding(encoding, weights, device=device, path=path))

    @property
    def frame_length(self) -> int:
        """Samples per frame."""
        return self.sizes.frame_length

    @property
    def sample_rate(self) -> int:
        """Samples per second."""
        return self.sizes.sample_rate

    @property
    def device(self) -> torch.device:
        """Where codes and samples come from."""
        return next(self.decoding.parameters()).device

    @torch.inference_mode()
    def stream(self) -> CodecStream:
        """Return the beginning of an utterance."""
        past = Past.of(self.decoding)
        return CodecStream(self.decoding, past, n_codebooks=self.sizes.n_codebooks)

    def decode(self, codes: Codes) -> Tensor:
        """Map ``[codebook, frame]`` to float32 ``[frame * frame_length]``, as a stream does.

        Raises:
            InvalidRequestError: wrong shape or type, or a negative code.
        """
        return self.stream().push(codes)

    @torch.inference_mode()
    def encode(self, samples: Samples) -> Tensor:
        """Map float ``[n]``, at the codec's rate, to int64 ``[codebook, frame]``.

        Zeros complete the last frame.

        Raises:
            InvalidRequestError: wrong shape or type, no samples, or one that is no finite number.
            OutOfMemoryError: the encoding half does not fit on the device.
        """
        wave = as_samples(samples, device=self.device)
        wave = F.pad(wave, (0, -len(wave) % self.frame_length))[None]
        encoding = self._encoding.get()
        past = Past.of(encoding)
        blocks = torch.split(wave, BLOCK_FRAMES * self.frame_length, dim=-1)
        with exact_convolutions():
            return torch.cat([encoding(block, past)[0] for block in blocks], -1)


class LazyEncoding:
    """The encoding half, whose weights are read from their file on first use."""

    def __init__(
        self,
        outline: EncodingHalf,
        weights: Mapping[str, Tensor],
        *,
        device: torch.device | str,
        path: str,
    ) -> None:
        self._half = outline
        self._weights: Mapping[str, Tensor] | None = weights
        self._device = device
        self._path = path

    def get(self) -> EncodingHalf:
        """Return the half, loaded."""
        if self._weights is not None:
            _load(
                self._half,
                self._weights,
                device=self._device,
                dtype=torch.float32,
                path=self._path,
            )
            self._weights = None
        return self._half


def _shapes(half: nn.Module) -> dict[str, torch.Size]:
    return {name: parameter.shape for name, parameter in half.named_parameters()}


def _load(
    half: nn.Module,
    weights: Mapping[str, Tensor],
    *,
    device: torch.device | str,
    dtype: torch.dtype,
    path: str,
) -> None:
    """Give a half its own of all weights; only those are read."""
    owners = {name.rpartition(".")[0] for name in _shapes(half)}
    own = {name: tensor for name, tensor in weights.items() if _owner(name) in owners}
    load_into(half, bake_weight_norm(own, path=path), device=device, dtype=dtype, path=path)
    half.eval()


def _owner(name: str) -> str:
    """Return the layer whose weight this is, in any spelling of weight norm."""
    layer, parametrized, _ = name.partition(".parametrizations.")
    return layer if parametrized else name.rpartition(".")[0]

"""Decoding codes as they come."""

from __future__ import annotations

import torch
from torch import Tensor

from junetts._runtime.codec.decoder import DecodingHalf
from junetts._runtime.codec.inputs import Codes, as_codes
from junetts._runtime.codec.past import Past
from junetts._runtime.codec.precision import exact_convolutions

BLOCK_FRAMES = 32  # at once, so that memory does not grow; 64 are half as slow again on a CPU


class CodecStream:
    """One utterance on its way from codes to samples.

    Guarantees: however the codes are cut, the samples are those of decoding them at once, within
    float32 rounding; each push is answered with all of its samples; memory is fixed.
    """

    def __init__(self, decoding: DecodingHalf, past: Past, *, n_codebooks: int) -> None:
        self.past = past
        self._decoding = decoding
        self._n_codebooks = n_codebooks

    @torch.inference_mode()
    def push(self, codes: Codes) -> Tensor:
        """Decode the next frames: ``[codebook, frame]`` to float32 ``[frame * frame_length]``.

        Codes above their codebook are taken for its last one, as upstream does. The values of
        codes that are on an accelerator already are not looked at, because that would wait for it.

        Raises:
            InvalidRequestError: wrong shape or type, or a negative code.
        """
        device = self.past.tensors[0].device
        frames = as_codes(codes, n_codebooks=self._n_codebooks, device=device)[None]
        if frames.shape[-1] == 0:
            return torch.zeros(0, device=device)
        blocks = torch.split(frames, BLOCK_FRAMES, dim=-1)
        with exact_convolutions():
            return torch.cat([self._decoding(block, self.past)[0] for block in blocks])

    def fork(self) -> CodecStream:
        """Return a second stream with the same past; what either does next is its own."""
        return CodecStream(self._decoding, self.past.fork(), n_codebooks=self._n_codebooks)

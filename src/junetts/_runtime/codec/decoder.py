"""From codes to samples: the half of the codec that speaks."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from junetts._runtime.codec.layers import CausalConv, CausalTransposedConv, ResidualUnit, Snake, run
from junetts._runtime.codec.past import Past, number_slots
from junetts._runtime.codec.quantizer import DecodingQuantizer
from junetts._runtime.sizes import CodecSizes

ENDS_KERNEL_SIZE = 7


class DecodingHalf(nn.Module):
    """Codes to samples, frame by frame; what a frame sounds like never depends on later ones."""

    def __init__(self, sizes: CodecSizes) -> None:
        super().__init__()
        self.quantizer = DecodingQuantizer(sizes)
        self.decoder = Decoder(sizes)
        number_slots(self)

    def forward(self, codes: Tensor, past: Past) -> Tensor:
        """Map ``[stream, codebook, frame]`` to float32 ``[stream, sample]`` within -1 to 1."""
        out: Tensor = self.decoder(self.quantizer(codes, past), past)
        return out


class Decoder(nn.Module):
    """Latents to samples: convolutions that halve the channels while they multiply the rate."""

    def __init__(self, sizes: CodecSizes) -> None:
        super().__init__()
        n_blocks = len(sizes.decoder_rates)
        widths = [sizes.decoder_dim // 2**block for block in range(n_blocks + 1)]
        blocks = [
            DecoderBlock(sizes, n_in=widths[block], n_out=widths[block + 1], rate=rate)
            for block, rate in enumerate(sizes.decoder_rates)
        ]
        self.model = nn.ModuleList(
            (
                CausalConv(sizes.latent_dim, widths[0], kernel_size=ENDS_KERNEL_SIZE),
                *blocks,
                Snake(widths[-1]),
                CausalConv(widths[-1], 1, kernel_size=ENDS_KERNEL_SIZE),
            )
        )

    def forward(self, latents: Tensor, past: Past) -> Tensor:
        """Map ``[stream, latent_dim, position]`` to float32 ``[stream, sample]``."""
        return torch.tanh(run(self.model, latents, past).float()).squeeze(1)


class DecoderBlock(nn.Module):
    """One step up in rate, then residual units."""

    def __init__(self, sizes: CodecSizes, *, n_in: int, n_out: int, rate: int) -> None:
        super().__init__()
        kernel_size = sizes.residual_unit_kernel_size
        self.block = nn.ModuleList(
            (
                Snake(n_in),
                CausalTransposedConv(n_in, n_out, kernel_size=2 * rate, stride=rate),
                *(
                    ResidualUnit(n_out, kernel_size=kernel_size, dilation=dilation)
                    for dilation in sizes.residual_unit_dilations
                ),
            )
        )

    def forward(self, x: Tensor, past: Past) -> Tensor:
        """Map ``[stream, n_in, position]`` to ``[stream, n_out, position * rate]``."""
        return run(self.block, x, past)

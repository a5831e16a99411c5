"""From samples to codes: the half of the codec that listens to a reference voice."""

from __future__ import annotations

from torch import Tensor, nn

from junetts._runtime.codec.layers import CausalConv, ResidualUnit, Snake, run
from junetts._runtime.codec.past import Past, number_slots
from junetts._runtime.codec.quantizer import EncodingQuantizer
from junetts._runtime.codec.transformer import WindowedTransformer
from junetts._runtime.sizes import CodecSizes, CodecTransformerSizes

FIRST_KERNEL_SIZE, LAST_KERNEL_SIZE = 7, 3


class EncodingHalf(nn.Module):
    """Samples to codes, in blocks of whole frames."""

    def __init__(self, sizes: CodecSizes) -> None:
        super().__init__()
        self.encoder = Encoder(sizes)
        self.quantizer = EncodingQuantizer(sizes)
        number_slots(self)

    def forward(self, samples: Tensor, past: Past) -> Tensor:
        """Map ``[stream, sample]`` to ``[stream, codebook, frame]``."""
        out: Tensor = self.quantizer(self.encoder(samples, past), past)
        return out


class Encoder(nn.Module):
    """Samples to latents: convolutions that double the channels while they divide the rate."""

    def __init__(self, sizes: CodecSizes) -> None:
        super().__init__()
        n_blocks = len(sizes.encoder_rates)
        widths = [sizes.encoder_dim * 2**block for block in range(n_blocks + 1)]
        steps = zip(sizes.encoder_rates, sizes.encoder_transformers, strict=True)
        blocks = [
            EncoderBlock(sizes, n_out=widths[block + 1], rate=rate, transformer=transformer)
            for block, (rate, transformer) in enumerate(steps)
        ]
        self.block = nn.ModuleList(
            (
                CausalConv(1, widths[0], kernel_size=FIRST_KERNEL_SIZE),
                *blocks,
                Snake(widths[-1]),
                CausalConv(widths[-1], sizes.latent_dim, kernel_size=LAST_KERNEL_SIZE),
            )
        )

    def forward(self, samples: Tensor, past: Past) -> Tensor:
        """Map ``[stream, sample]`` to ``[stream, latent_dim, position]``."""
        return run(self.block, samples[:, None], past)


class EncoderBlock(nn.Module):
    """Residual units, one step down in rate, and in some blocks a transformer."""

    def __init__(
        self,
        sizes: CodecSizes,
        *,
        n_out: int,
        rate: int,
        transformer: CodecTransformerSizes | None,
    ) -> None:
        super().__init__()
        n_in, kernel_size = n_out // 2, sizes.residual_unit_kernel_size
        self.block = nn.ModuleList(
            (
                *(
                    ResidualUnit(n_in, kernel_size=kernel_size, dilation=dilation)
                    for dilation in sizes.residual_unit_dilations
                ),
                Snake(n_in),
                CausalConv(n_in, n_out, kernel_size=2 * rate, stride=rate),
            )
        )
        if transformer is not None:
            self.block.append(WindowedTransformer(transformer, n_outside=n_out))

    def forward(self, x: Tensor, past: Past) -> Tensor:
        """Map ``[stream, n_out / 2, position]`` to ``[stream, n_out, position / rate]``."""
        return run(self.block, x, past)

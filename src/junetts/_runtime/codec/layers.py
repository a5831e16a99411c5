"""The codec's layers over time: causal convolutions, Snake, and the blocks made of them."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from junetts._runtime.codec.past import Past

# For so few positions a matrix product over unfolded input beats the convolution kernels, which
# rearrange their weights first: five times in the decoder's first layers, measured on a CPU.
MAX_MATMUL_POSITIONS = 64
SNAKE_EPS = 1e-9


class CausalConv(nn.Module):
    """A convolution that sees the present and the past, and keeps its own past.

    The input's length must be a multiple of the stride.
    """

    def __init__(
        self,
        n_in: int,
        n_out: int,
        *,
        kernel_size: int,
        stride: int = 1,
        dilation: int = 1,
        groups: int = 1,
    ) -> None:
        super().__init__()
        self.conv = nn.Conv1d(
            n_in, n_out, kernel_size, stride=stride, dilation=dilation, groups=groups
        )
        self.slot = -1
        self._n_back = (kernel_size - 1) * dilation + 1 - stride
        self._is_dense = dilation == groups == 1

    def initial_past(self, n_streams: int) -> Tensor:
        """Return the zeros that precede the first position."""
        return self.conv.weight.new_zeros(n_streams, self.conv.in_channels, self._n_back)

    def forward(self, x: Tensor, past: Past) -> Tensor:
        """Map ``[stream, n_in, position]`` to ``[stream, n_out, position / stride]``."""
        n_out_positions = x.shape[-1] // self.conv.stride[0]
        x = past.extend(self.slot, x, dim=-1)
        if self._is_dense and n_out_positions <= MAX_MATMUL_POSITIONS:
            return self._by_matmul(x)
        out: Tensor = self.conv(x)
        return out

    def _by_matmul(self, x: Tensor) -> Tensor:
        windows = x.unfold(2, self.conv.kernel_size[0], self.conv.stride[0])
        rows = windows.transpose(1, 2).flatten(2)  # [stream, position, n_in * kernel]
        return F.linear(rows, self.conv.weight.flatten(1), self.conv.bias).transpose(1, 2)


class CausalTransposedConv(nn.Module):
    """A transposed convolution whose output ends where its input ends, and keeps its own past.

    The kernel's length must be a multiple of the stride. Every input adds one piece of the
    kernel's length to the output, which starts at its own place: so the past is the inputs whose
    pieces reach into the present.
    """

    def __init__(self, n_in: int, n_out: int, *, kernel_size: int, stride: int) -> None:
        super().__init__()
        assert kernel_size % stride == 0
        self.conv = nn.ConvTranspose1d(n_in, n_out, kernel_size, stride=stride)
        self.slot = -1
        self._n_back = kernel_size // stride - 1

    def initial_past(self, n_streams: int) -> Tensor:
        """Return the zeros that precede the first position."""
        return self.conv.weight.new_zeros(n_streams, self.conv.in_channels, self._n_back)

    def forward(self, x: Tensor, past: Past) -> Tensor:
        """Map ``[stream, n_in, position]`` to ``[stream, n_out, position * stride]``."""
        n_positions = x.shape[-1]
        x = past.extend(self.slot, x, dim=-1)
        if n_positions <= MAX_MATMUL_POSITIONS:
            return self._by_matmul(x, n_positions)
        stride = self.conv.stride[0]
        out: Tensor = self.conv(x)
        return out.narrow(-1, self._n_back * stride, n_positions * stride)

    def _by_matmul(self, x: Tensor, n_positions: int) -> Tensor:
        weight, bias = self.conv.weight, self.conv.bias
        assert bias is not None
        n_in, n_out, _ = weight.shape
        pieces = torch.matmul(x.transpose(1, 2), weight.view(n_in, -1))
        pieces = torch.unflatten(pieces, 2, (n_out, self._n_back + 1, self.conv.stride[0]))
        out = bias[:, None]  # [stream, position, n_out, stride] from here on
        for age in range(self._n_back + 1):
            out = out + pieces[:, self._n_back - age :, :, age].narrow(1, 0, n_positions)
        return out.transpose(1, 2).flatten(2)


class Snake(nn.Module):
    """The periodic activation ``x + sin(alpha x)^2 / alpha`` (Liu et al., 2020)."""

    def __init__(self, n_channels: int) -> None:
        super().__init__()
        self.alpha = nn.Parameter(torch.ones(1, n_channels, 1))

    def forward(self, x: Tensor) -> Tensor:
        """Map ``[stream, channel, position]`` to the same shape."""
        wave = torch.mul(x, self.alpha).sin_()
        wave.mul_(wave)
        return torch.addcmul(x, wave, (self.alpha + SNAKE_EPS).reciprocal())


class ResidualUnit(nn.Module):
    """A dilated convolution and a pointwise one, added to their input."""

    def __init__(self, n_channels: int, *, kernel_size: int, dilation: int) -> None:
        super().__init__()
        self.block = nn.ModuleList(
            (
                Snake(n_channels),
                CausalConv(n_channels, n_channels, kernel_size=kernel_size, dilation=dilation),
                Snake(n_channels),
                CausalConv(n_channels, n_channels, kernel_size=1),
            )
        )

    def forward(self, x: Tensor, past: Past) -> Tensor:
        """Map ``[stream, channel, position]`` to the same shape."""
        return x + run(self.block, x, past)


class ConvNeXtBlock(nn.Module):
    """A depthwise convolution and two linear layers, scaled and added (Liu et al., 2022)."""

    def __init__(self, dim: int, *, kernel_size: int, mlp_ratio: float, norm_eps: float) -> None:
        super().__init__()
        hidden = int(mlp_ratio * dim)
        self.dwconv = CausalConv(dim, dim, kernel_size=kernel_size, groups=dim)
        self.norm = nn.LayerNorm(dim, eps=norm_eps)
        self.pwconv1 = nn.Linear(dim, hidden)
        self.pwconv2 = nn.Linear(hidden, dim)
        self.gamma = nn.Parameter(torch.ones(dim))

    def forward(self, x: Tensor, past: Past) -> Tensor:
        """Map ``[stream, dim, position]`` to the same shape."""
        y = self.norm(self.dwconv(x, past).transpose(1, 2))  # [stream, position, dim]
        y = self.pwconv2(F.gelu(self.pwconv1(y)))
        return torch.addcmul(x, y.transpose(1, 2), self.gamma[:, None])


def run(layers: nn.ModuleList, x: Tensor, past: Past) -> Tensor:
    """Run one layer after the other; only Snake knows no past."""
    for layer in layers:
        x = layer(x) if isinstance(layer, Snake) else layer(x, past)
    return x

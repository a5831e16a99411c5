"""Matrix products with weights, by the fastest kernel that the device has for few rows."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

SAME_ROWS = 4  # in multiples of this many, each row of a small product is rounded alike
FEW_ROWS = 32
LARGE = 2**20  # entries of a weight from which on it pays to hand rows to another library


class Linear(nn.Module):
    """``weight @ x + bias``, as `torch.nn.Linear`, but never initialised."""

    bias: Tensor | None

    def __init__(self, n_in: int, n_out: int, *, has_bias: bool = False) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(n_out, n_in))
        if has_bias:
            self.bias = nn.Parameter(torch.empty(n_out))
        else:
            self.register_parameter("bias", None)

    def forward(self, x: Tensor) -> Tensor:
        """Map ``[..., n_in]`` to ``[..., n_out]``."""
        return project(x, self.weight, self.bias)


def project(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """Return ``x @ weight.T + bias`` for x ``[..., n_in]`` and weight ``[n_out, n_in]``.

    On a processor, in float32, a row of a product with a small matrix does not depend on how many
    other rows there are; with a large one it does, in its last bits.
    """
    if x.device.type != "cpu" or x.dtype != torch.float32:
        return functional.linear(x, weight, bias)
    rows = x.reshape(-1, x.shape[-1])
    out = (_large if weight.numel() >= LARGE else _small)(rows, weight, bias)
    return out.view(*x.shape[:-1], -1)


def _small(rows: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    n_rows = rows.shape[0]
    if n_rows > FEW_ROWS or n_rows % SAME_ROWS == 0:
        return functional.linear(rows, weight, bias)
    padded = functional.pad(rows, (0, 0, 0, -n_rows % SAME_ROWS))
    return functional.linear(padded, weight, bias)[:n_rows]


def _large(rows: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """Ask oneDNN, if it is there.

    torch by itself asks MKL, which multiplies one row on one core, a few rows more slowly than one
    after another, and many at half the speed, on some processors.
    """
    if not torch.backends.mkldnn.is_available():  # type: ignore[no-untyped-call]
        return functional.linear(rows, weight, bias)
    return functional.linear(rows.to_mkldnn(), weight, bias).to_dense()

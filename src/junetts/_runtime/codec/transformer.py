"""The codec's causal transformer, whose positions see a fixed window of the past."""

from __future__ import annotations

from functools import cached_property

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from junetts._runtime.codec.past import Past
from junetts._runtime.sizes import CodecTransformerSizes


class WindowedTransformer(nn.Module):
    """Layers of attention over the last ``window`` positions, the current one included.

    Positions are absolute and unlimited. Input and output are projected where the width outside
    is not the transformer's own.
    """

    def __init__(self, sizes: CodecTransformerSizes, *, n_outside: int) -> None:
        super().__init__()
        is_projected = n_outside != sizes.dim
        self.input_proj = nn.Linear(n_outside, sizes.dim) if is_projected else nn.Identity()
        self.output_proj = nn.Linear(sizes.dim, n_outside) if is_projected else nn.Identity()
        self.layers = nn.ModuleList(TransformerBlock(sizes) for _ in range(sizes.n_layers))
        self.norm = RmsNorm(sizes.dim, eps=sizes.norm_eps)
        self.slot = -1
        self._sizes = sizes

    def initial_past(self, n_streams: int) -> Tensor:
        """Return the position of the first input."""
        return torch.zeros(n_streams, dtype=torch.int64, device=self.norm.weight.device)

    def forward(self, x: Tensor, past: Past) -> Tensor:
        """Map ``[stream, n_outside, position]`` to the same shape."""
        n_new = x.shape[-1]
        start = past.tensors[self.slot]  # [stream]
        past.tensors[self.slot] = start + n_new
        rotation = self._rotation(start, n_new)
        mask = self._mask(start, n_new, x.dtype)
        x = self.input_proj(x.transpose(1, 2))  # [stream, position, dim]
        for layer in self.layers:
            x = layer(x, past, rotation=rotation, mask=mask)
        out: Tensor = self.output_proj(self.norm(x))
        return out.transpose(1, 2)

    @cached_property
    def _frequencies(self) -> Tensor:
        # On the CPU: other devices round powers in another way, and angles multiply the error.
        steps = torch.arange(0, self._sizes.head_dim, 2, device="cpu").float()
        frequencies = 1.0 / (self._sizes.rope_base ** (steps / self._sizes.head_dim))
        return frequencies.to(self.norm.weight.device)

    def _rotation(self, start: Tensor, n_new: int) -> Tensor:
        """Cosine and sine, ``[stream, position, 1, 1, head_dim / 2, 2]``, rounded to bfloat16."""
        positions = start[:, None] + torch.arange(n_new, device=start.device)
        angles = positions[..., None].float() * self._frequencies
        unit = torch.view_as_real(torch.polar(torch.ones_like(angles), angles))
        return unit.to(torch.bfloat16).float()[:, :, None, None]

    def _mask(self, start: Tensor, n_new: int, dtype: torch.dtype) -> Tensor:
        """What is added to attention: ``[stream, 1, n_new, window - 1 + n_new]``, 0 or -inf."""
        n_back = self._sizes.window - 1
        new = torch.arange(n_new, device=start.device)[:, None]
        seen = torch.arange(n_back + n_new, device=start.device)  # from n_back before the start
        is_in_window = (seen >= new) & (seen <= new + n_back)
        exists = seen >= n_back - start[:, None, None]  # nothing precedes position 0
        mask = torch.zeros(1, dtype=dtype, device=start.device)
        return mask.where(is_in_window & exists, float("-inf"))[:, None]


class TransformerBlock(nn.Module):
    """Attention and a gated feed-forward network, each scaled per channel and added."""

    def __init__(self, sizes: CodecTransformerSizes) -> None:
        super().__init__()
        self.attention = WindowedAttention(sizes)
        self.feed_forward = FeedForward(sizes)
        self.ffn_norm = RmsNorm(sizes.dim, eps=sizes.norm_eps)
        self.attention_norm = RmsNorm(sizes.dim, eps=sizes.norm_eps)
        self.attention_layer_scale = LayerScale(sizes.dim)
        self.ffn_layer_scale = LayerScale(sizes.dim)

    def forward(self, x: Tensor, past: Past, *, rotation: Tensor, mask: Tensor) -> Tensor:
        """Map ``[stream, position, dim]`` to the same shape."""
        y = self.attention(self.attention_norm(x), past, rotation=rotation, mask=mask)
        x = self.attention_layer_scale(x, y)
        out: Tensor = self.ffn_layer_scale(x, self.feed_forward(self.ffn_norm(x)))
        return out


class WindowedAttention(nn.Module):
    """Attention that keeps the keys and values of the last ``window - 1`` positions."""

    def __init__(self, sizes: CodecTransformerSizes) -> None:
        super().__init__()
        n_inner = sizes.n_heads * sizes.head_dim
        self.wqkv = nn.Linear(sizes.dim, 3 * n_inner, bias=False)
        self.wo = nn.Linear(n_inner, sizes.dim, bias=False)
        self.slot = -1
        self._n_back = sizes.window - 1
        self._heads = (sizes.n_heads, sizes.head_dim)

    def initial_past(self, n_streams: int) -> Tensor:
        """Return ``[stream, key or value, position, head, head_dim]``; the mask hides the zeros."""
        return self.wqkv.weight.new_zeros(n_streams, 2, self._n_back, *self._heads)

    def forward(self, x: Tensor, past: Past, *, rotation: Tensor, mask: Tensor) -> Tensor:
        """Map ``[stream, position, dim]`` to the same shape."""
        qkv = torch.unflatten(
            self.wqkv(x), -1, (3, *self._heads)
        )  # [stream, position, 3, head, head_dim]
        query, key = rotate(qkv[:, :, :2], rotation).unbind(2)
        memory = torch.stack((key, qkv[:, :, 2]), 1)
        keys, values = past.extend(self.slot, memory, dim=2).transpose(2, 3).unbind(1)
        y = F.scaled_dot_product_attention(query.transpose(1, 2), keys, values, attn_mask=mask)
        out: Tensor = self.wo(y.transpose(1, 2).flatten(2))
        return out


def rotate(x: Tensor, rotation: Tensor) -> Tensor:
    """Turn each pair ``(2 i, 2 i + 1)`` of the last dimension by its position's angle (RoPE)."""
    even, odd = torch.unflatten(x.float(), -1, (-1, 2)).unbind(-1)
    cos, sin = rotation.unbind(-1)
    turned = torch.stack((even * cos - odd * sin, odd * cos + even * sin), -1)
    return turned.flatten(-2).type_as(x)


class FeedForward(nn.Module):
    """SwiGLU (Shazeer, 2020)."""

    def __init__(self, sizes: CodecTransformerSizes) -> None:
        super().__init__()
        self.w1 = nn.Linear(sizes.dim, sizes.ffn_dim, bias=False)
        self.w3 = nn.Linear(sizes.dim, sizes.ffn_dim, bias=False)
        self.w2 = nn.Linear(sizes.ffn_dim, sizes.dim, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Map ``[..., dim]`` to the same shape."""
        out: Tensor = self.w2(F.silu(self.w1(x)) * self.w3(x))
        return out


class RmsNorm(nn.Module):
    """Normalisation by the root mean square, in float32 whatever the weights' type."""

    def __init__(self, dim: int, *, eps: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(dim))
        self._eps = eps

    def forward(self, x: Tensor) -> Tensor:
        """Map ``[..., dim]`` to the same shape."""
        wide = x.float()
        scale = torch.rsqrt(wide.square().mean(-1, keepdim=True) + self._eps)
        return (wide * scale).type_as(x) * self.weight


class LayerScale(nn.Module):
    """A residual connection whose branch is scaled per channel (Touvron et al., 2021)."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.ones(dim))

    def forward(self, x: Tensor, branch: Tensor) -> Tensor:
        """Add the scaled branch to ``[..., dim]``."""
        return torch.addcmul(x, branch, self.gamma)

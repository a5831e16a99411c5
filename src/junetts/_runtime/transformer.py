"""The transformer that both language models are made of: RMSNorm, RoPE, GQA, SwiGLU."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from junetts._runtime.kv_cache import LayerKv, Run, Scattered, whole_blocks
from junetts._runtime.linear import Linear
from junetts._runtime.sizes import TransformerSizes


class RmsNorm(nn.Module):
    """Root mean square norm, in float32, rounded before it is weighted."""

    def __init__(self, dim: int, *, eps: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(dim))
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        """Normalise the last dimension."""
        return normalised(x, self.eps) * self.weight


def normalised(x: Tensor, eps: float) -> Tensor:
    """Divide by the root mean square of the last dimension."""
    x32 = x.float()
    return (x32 * torch.rsqrt(x32.square().mean(-1, keepdim=True) + eps)).to(x.dtype)


class Rope:
    """Angles of rotary embeddings, rounded to bfloat16 as in training; pairs are (2i, 2i + 1).

    The table lives beside the weights, not among them: its precision is not the model's.
    """

    def __init__(self, n_positions: int, *, head_dim: int, base: float) -> None:
        exponents = torch.arange(0, head_dim, 2, device="cpu").float() / head_dim
        places = torch.arange(n_positions, device="cpu")
        angles = torch.outer(places, 1.0 / base**exponents)  # [position, head_dim / 2]
        table = torch.stack([angles.cos(), angles.sin()], dim=1)
        self._tables = {torch.device("cpu"): table.to(torch.bfloat16)}

    def at(self, positions: Tensor) -> tuple[Tensor, Tensor]:
        """Return cosines and signed sines, ``[..., head_dim]``, for int64 positions ``[...]``."""
        cos, sin = self._on(positions.device)[positions].float().unbind(-2)
        return (
            torch.stack([cos, cos], dim=-1).flatten(-2),
            torch.stack([-sin, sin], dim=-1).flatten(-2),
        )

    def _on(self, device: torch.device) -> Tensor:
        if device not in self._tables:
            self._tables[device] = self._tables[torch.device("cpu")].to(device)
        return self._tables[device]


@dataclass(frozen=True, slots=True, kw_only=True)
class Pass:
    """Where the columns of one forward pass stand, worked out once for all layers.

    Attributes:
        cos: and ``sin``, float32 ``[n or 1, column, 1, head_dim]``.
        bias: added to the scores, ``[n or 1, 1, query, span]``; None if every column sees all.
            The queries that share a kv head count as queries of one column, one after another.
        place: where keys and values are written, and which are seen.
    """

    cos: Tensor
    sin: Tensor
    bias: Tensor | None
    place: Run | Scattered


class Attention(nn.Module):
    """Causal self attention in which groups of queries share keys and values."""

    def __init__(self, sizes: TransformerSizes) -> None:
        super().__init__()
        self.n_heads, self.n_kv_heads = sizes.n_heads, sizes.n_kv_heads
        self.head_dim, self.eps = sizes.head_dim, sizes.norm_eps
        n_all = (sizes.n_heads + 2 * sizes.n_kv_heads) * sizes.head_dim
        self.wqkv = Linear(sizes.dim, n_all, has_bias=sizes.qkv_bias)
        self.wo = Linear(sizes.n_heads * sizes.head_dim, sizes.dim, has_bias=sizes.o_bias)
        self.q_norm = RmsNorm(sizes.head_dim, eps=sizes.norm_eps) if sizes.qk_norm else None
        self.k_norm = RmsNorm(sizes.head_dim, eps=sizes.norm_eps) if sizes.qk_norm else None

    def forward(self, x: Tensor, now: Pass, memory: LayerKv) -> Tensor:
        """Map ``[n, column, dim]``, whose keys and values are put into memory."""
        n, n_columns, _ = x.shape
        heads = self.wqkv(x).view(n, n_columns, -1, self.head_dim)
        rotated = self._rotated(heads[:, :, : -self.n_kv_heads], now)
        q, k = rotated[:, :, : self.n_heads], rotated[:, :, self.n_heads :]
        keys = now.place.write(memory.keys, k)  # [n, kv head, span, head_dim]
        values = now.place.write(memory.values, heads[:, :, -self.n_kv_heads :])
        grouped = q.reshape(n, n_columns, self.n_kv_heads, -1, self.head_dim).transpose(1, 2)
        seen = functional.scaled_dot_product_attention(
            grouped.flatten(2, 3), keys, values, attn_mask=now.bias
        )  # [n, kv head, column x group, head_dim]
        y = seen.view(n, self.n_kv_heads, n_columns, -1, self.head_dim).transpose(1, 2)
        return self.wo.forward(y.reshape(n, n_columns, -1))

    def _rotated(self, heads: Tensor, now: Pass) -> Tensor:
        """Norm and rotate queries and keys, ``[n, column, head, head_dim]``, in one go."""
        if self.q_norm is not None and self.k_norm is not None:
            q_weight = self.q_norm.weight.expand(self.n_heads, -1)
            k_weight = self.k_norm.weight.expand(self.n_kv_heads, -1)
            heads = normalised(heads, self.eps) * torch.cat([q_weight, k_weight])
        x = heads.float()
        swapped = x.reshape(*x.shape[:-1], -1, 2).flip(-1).flatten(-2)
        return torch.addcmul(x * now.cos, swapped, now.sin).to(heads.dtype)


class FeedForward(nn.Module):
    """SwiGLU."""

    def __init__(self, sizes: TransformerSizes) -> None:
        super().__init__()
        self.w1 = Linear(sizes.dim, sizes.ffn_dim)
        self.w3 = Linear(sizes.dim, sizes.ffn_dim)
        self.w2 = Linear(sizes.ffn_dim, sizes.dim)

    def forward(self, x: Tensor) -> Tensor:
        """Map ``[..., dim]``."""
        return self.w2.forward(functional.silu(self.w1(x)) * self.w3(x))


class Block(nn.Module):
    """One layer: attention, then feed-forward, each on a normed input and added to it."""

    def __init__(self, sizes: TransformerSizes) -> None:
        super().__init__()
        self.attention = Attention(sizes)
        self.feed_forward = FeedForward(sizes)
        self.attention_norm = RmsNorm(sizes.dim, eps=sizes.norm_eps)
        self.ffn_norm = RmsNorm(sizes.dim, eps=sizes.norm_eps)

    def forward(self, x: Tensor, now: Pass, memory: LayerKv) -> Tensor:
        """Map ``[n, column, dim]``."""
        x = x + self.attention.forward(self.attention_norm(x), now, memory)
        return x + self.feed_forward.forward(self.ffn_norm(x))


def scattered_pass(rope: Rope, positions: Tensor, *, span: int, dtype: torch.dtype) -> Pass:
    """One column per slot, at int64 positions ``[n]``, each of which sees what is before it."""
    span = whole_blocks(span)
    cos, sin = rope.at(positions[:, None, None])
    beyond = torch.arange(span, device=positions.device) > positions[:, None, None, None]
    return Pass(
        cos=cos,
        sin=sin,
        bias=_bias(beyond, dtype),
        place=Scattered(positions=positions, span=span),
    )


def run_pass(rope: Rope, run: Run, *, n_columns: int, group: int, like: Tensor) -> Pass:
    """Consecutive columns, ``group`` queries of which share a kv head."""
    stop = run.start + n_columns
    positions = torch.arange(run.start, stop, device=like.device)
    cos, sin = rope.at(positions[None, :, None])
    bias = None
    if n_columns > 1:
        seeing = positions.repeat_interleave(group)[:, None]
        bias = _bias(torch.arange(stop, device=like.device) > seeing, like.dtype)[None, None]
    return Pass(cos=cos, sin=sin, bias=bias, place=run)


def _bias(is_hidden: Tensor, dtype: torch.dtype) -> Tensor:
    return torch.zeros_like(is_hidden, dtype=dtype).masked_fill_(is_hidden, float("-inf"))

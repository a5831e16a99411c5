"""The language model: a slow transformer over time, and a fast one over each frame's codebooks."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from junetts._runtime.kv_cache import KvCache, LayerKv, Run, scratch_layers
from junetts._runtime.linear import Linear, project
from junetts._runtime.sizes import ModelSizes, TokenIds
from junetts._runtime.transformer import Block, Pass, RmsNorm, Rope, run_pass, scattered_pass

PREFILL_COLUMNS = 512  # read at once: bounds the memory of a long prompt
S1_RESIDUAL_CODES = 1024  # S1 never draws others, whatever the table's size


@dataclass(frozen=True, slots=True, eq=False)
class Slow:
    """What the slow AR makes of the columns so far, one row per utterance.

    Unpacks as logits, hidden, normed.

    Attributes:
        hidden: ``[n, dim]``, before the final norm.
        normed: ``[n, dim]``, after it.
        head: ``[vocabulary, dim]``, the output matrix.
    """

    hidden: Tensor
    normed: Tensor
    head: Tensor

    @property
    def logits(self) -> Tensor:
        """Of all tokens: float32 ``[n, vocabulary]``; computed when it is asked for."""
        return project(self.normed, self.head).float()

    def __iter__(self) -> Iterator[Tensor]:
        return iter((self.logits, self.hidden, self.normed))


class DualAR(nn.Module):
    """Both transformers, without any state: that is in `KvCache` and `FrameState`.

    Parameters are named as in a checkpoint. They are not initialised: load them, or fill them.
    """

    def __init__(self, sizes: ModelSizes, tokens: TokenIds) -> None:
        super().__init__()
        self.sizes, self.tokens = sizes, tokens
        slow, fast = sizes.slow, sizes.fast
        self.embeddings = Table(sizes.vocab_size, slow.dim)
        self.codebook_embeddings = Table(sizes.codebook_size * sizes.n_codebooks, slow.dim)
        self.layers = nn.ModuleList(Block(slow) for _ in range(slow.n_layers))
        self.norm = RmsNorm(slow.dim, eps=slow.norm_eps)
        self.output = None if sizes.is_head_tied else Linear(slow.dim, sizes.vocab_size)
        needs_bridge = fast.dim != slow.dim
        self.fast_project_in = Linear(slow.dim, fast.dim, has_bias=True) if needs_bridge else None
        self.fast_embeddings = Table(sizes.codebook_size, fast.dim)
        self.fast_layers = nn.ModuleList(Block(fast) for _ in range(fast.n_layers))
        self.fast_norm = RmsNorm(fast.dim, eps=fast.norm_eps)
        self.fast_output = Linear(fast.dim, sizes.codebook_size)
        # One position more than the context: slots without an utterance stand there.
        self._rope = Rope(sizes.context + 1, head_dim=slow.head_dim, base=slow.rope_base)
        self._fast_rope = Rope(sizes.n_codebooks, head_dim=fast.head_dim, base=fast.rope_base)

    @property
    def head(self) -> Tensor:
        """The output matrix, ``[vocabulary, dim]``."""
        return self.embeddings.weight if self.output is None else self.output.weight

    @property
    def dtype(self) -> torch.dtype:
        """The precision of weights and activations."""
        return self.embeddings.weight.dtype

    @property
    def n_residual_codes(self) -> int:
        """How many codes can be drawn for each codebook but the first."""
        limit = S1_RESIDUAL_CODES if self.sizes.family == "s1" else self.sizes.codebook_size
        return min(limit, self.sizes.codebook_size)

    @torch.inference_mode()
    def prefill(self, prompt: Tensor, cache: KvCache, *, slot: int, start: int = 0) -> Slow:
        """Read columns ``[1 + codebook, column]`` into a slot, after the ``start`` it holds.

        Returns what follows the last of them. A prompt may be read in any number of pieces.
        """
        n_columns = prompt.shape[1]
        assert prompt.ndim == 2
        assert n_columns > 0
        for done in range(0, n_columns, PREFILL_COLUMNS):
            piece = prompt[:, done : done + PREFILL_COLUMNS]
            last = self._read(piece, cache, slot=slot, start=start + done)
        return self._slow(last)

    @torch.inference_mode()
    def decode(self, columns: Tensor, positions: Tensor, cache: KvCache, *, span: int) -> Slow:
        """Read one column ``[n, 1 + codebook]`` into each of the first slots.

        Args:
            columns: int64.
            positions: int64 ``[n]``, where; a slot at ``cache.spare_column`` remembers nothing.
            cache: every slot is read up to its position.
            span: how many columns are looked at; more than every position that matters.
        """
        x = self.embed(columns)[:, None]  # [n, 1, dim]
        now = scattered_pass(self._rope, positions, span=span, dtype=x.dtype)
        return self._slow(_through(self.layers, x, now, cache.layers)[:, 0])

    def embed(self, columns: Tensor) -> Tensor:
        """Embed columns ``[n, 1 + codebook]``: ``[n, dim]``; only semantic ones have codes."""
        ids, codes = columns[:, 0], columns[:, 1:]
        text = self.embeddings(ids)
        rows = torch.arange(self.sizes.n_codebooks, device=ids.device) * self.sizes.codebook_size
        sound = self.codebook_embeddings(codes + rows).sum(1)
        is_semantic = self.is_semantic(ids)[:, None]
        embedded = text + sound
        if self.sizes.scales_embeddings:
            embedded = embedded / math.sqrt(self.sizes.n_codebooks + 1)
        return torch.where(is_semantic, embedded, text)

    def main_logits(self, slow: Slow) -> Tensor:
        """Logits of the tokens that may be drawn, float32 ``[n, m]``; see `main_tokens`.

        S1 draws from the whole vocabulary; S2 from semantic tokens and the end, and only their
        rows of the output matrix are read.
        """
        if self.sizes.family == "s1":
            return slow.logits
        begin, end = self.tokens.semantic_begin, self.tokens.semantic_end + 1
        semantic = project(slow.normed, self.head[begin:end])
        im_end = project(slow.normed, self.head[self.tokens.im_end : self.tokens.im_end + 1])
        return torch.cat([semantic, im_end], dim=1).float()

    def main_tokens(self, choices: Tensor) -> Tensor:
        """Token ids of places in `main_logits`."""
        if self.sizes.family == "s1":
            return choices
        tokens = choices + self.tokens.semantic_begin
        return tokens.where(tokens <= self.tokens.semantic_end, self.tokens.im_end)

    def semantic_codes(self, tokens: Tensor) -> Tensor:
        """First codebook's codes of token ids; others are given the nearest one."""
        return (tokens - self.tokens.semantic_begin).clamp(0, self.sizes.codebook_size - 1)

    def is_semantic(self, tokens: Tensor) -> Tensor:
        """Tell which token ids stand for a frame."""
        return (tokens >= self.tokens.semantic_begin) & (tokens <= self.tokens.semantic_end)

    def fast_input(self, slow: Slow) -> Tensor:
        """What the fast AR is told about a frame, ``[n, fast dim]``."""
        x = slow.normed if self.sizes.norms_fast_input else slow.hidden
        return x if self.fast_project_in is None else self.fast_project_in.forward(x)

    def fast_memory(self, n: int) -> list[LayerKv]:
        """Room for the codebooks of one frame of ``n`` utterances."""
        return scratch_layers(
            self.sizes.fast,
            n_slots=n,
            n_columns=self.sizes.n_codebooks,
            like=self.fast_embeddings.weight,
        )

    def fast(self, x: Tensor, memory: list[LayerKv], *, start: int) -> Tensor:
        """Read positions ``[n, position, fast dim]`` of a frame, after the ``start`` read before.

        Returns the fast AR's state at the last one, ``[n, fast dim]``: see `fast_logits`.
        """
        n, n_columns, _ = x.shape
        now = run_pass(
            self._fast_rope,
            Run(slots=slice(0, n), start=start),
            n_columns=n_columns,
            group=self.sizes.fast.n_heads // self.sizes.fast.n_kv_heads,
            like=x,
        )
        return self.fast_norm.forward(_through(self.fast_layers, x, now, memory)[:, -1])

    def fast_logits(self, normed: Tensor, *, n_codes: int | None = None) -> Tensor:
        """Logits of the next codebook, float32 ``[n, n_codes]``; all codes if None."""
        return project(normed, self.fast_output.weight[:n_codes]).float()

    def _read(self, piece: Tensor, cache: KvCache, *, slot: int, start: int) -> Tensor:
        """Read columns ``[1 + codebook, column]``; return the last one's state ``[1, dim]``."""
        x = self.embed(piece.T)[None]  # [1, column, dim]
        now = run_pass(
            self._rope,
            Run(slots=slice(slot, slot + 1), start=start),
            n_columns=piece.shape[1],
            group=self.sizes.slow.n_heads // self.sizes.slow.n_kv_heads,
            like=x,
        )
        return _through(self.layers, x, now, cache.layers)[:, -1]

    def _slow(self, hidden: Tensor) -> Slow:
        return Slow(hidden, self.norm(hidden), self.head)


class Table(nn.Module):
    """Embeddings, one row each, never initialised."""

    def __init__(self, n_rows: int, dim: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(n_rows, dim))

    def forward(self, ids: Tensor) -> Tensor:
        """Look up ``[...]``: ``[..., dim]``."""
        return nn.functional.embedding(ids, self.weight)


def _through(layers: nn.ModuleList, x: Tensor, now: Pass, memory: list[LayerKv]) -> Tensor:
    for layer, kv in zip(layers, memory, strict=True):
        x = layer(x, now, kv)
    return x

"""The sizes of a checkpoint's networks, whatever layout they were read from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Family = Literal["s1", "s2"]


@dataclass(frozen=True, slots=True, kw_only=True)
class TransformerSizes:
    """One stack of transformer layers.

    Attributes:
        n_kv_heads: heads of keys and values, each shared by ``n_heads // n_kv_heads`` queries.
        head_dim: of one head; ``n_heads * head_dim`` need not equal ``dim``.
        qk_norm: queries and keys are normalised per head, before RoPE.
        qkv_bias: the joint projection to queries, keys and values has a bias.
        o_bias: the projection out of attention has a bias.
    """

    n_layers: int
    dim: int
    n_heads: int
    n_kv_heads: int
    head_dim: int
    ffn_dim: int
    rope_base: float
    norm_eps: float
    qk_norm: bool = False
    qkv_bias: bool = False
    o_bias: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelSizes:
    """The dual AR language model.

    Attributes:
        family: whose prompt format and sampling rules apply: S1's or S2's.
        codebook_size: rows of each codebook's embedding in the slow AR, and of the fast AR's
            one table and head.
        n_codebooks: the semantic one included.
        context: columns that the slow AR can attend to; its RoPE ends there.
        is_head_tied: logits come from the text embeddings; there is no output matrix.
        scales_embeddings: a semantic column's embedding is divided by sqrt(n_codebooks + 1).
        norms_fast_input: the fast AR is given the hidden state after the final norm.
    """

    family: Family
    slow: TransformerSizes
    fast: TransformerSizes
    vocab_size: int
    codebook_size: int
    n_codebooks: int
    context: int
    is_head_tied: bool
    scales_embeddings: bool
    norms_fast_input: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenIds:
    """The token ids that generation needs; semantic ones are consecutive, both ends included."""

    semantic_begin: int
    semantic_end: int
    im_end: int


@dataclass(frozen=True, slots=True, kw_only=True)
class CodecTransformerSizes:
    """A windowed causal transformer inside the codec; the window includes the current position."""

    n_layers: int
    dim: int
    n_heads: int
    head_dim: int
    ffn_dim: int
    window: int
    rope_base: float = 10_000.0
    norm_eps: float = 1e-5


@dataclass(frozen=True, slots=True, kw_only=True)
class CodecSizes:
    """The codec; the defaults are those of the published checkpoints.

    Attributes:
        encoder_transformers: one entry per encoder rate, None where that block has none.
        n_codebooks: the semantic one included.
    """

    sample_rate: int = 44_100
    n_codebooks: int = 10
    semantic_codebook_size: int = 4096
    residual_codebook_size: int = 1024
    codebook_dim: int = 8
    latent_dim: int = 1024
    encoder_dim: int = 64
    encoder_rates: tuple[int, ...] = (2, 4, 8, 8)
    encoder_transformers: tuple[CodecTransformerSizes | None, ...] = (
        None,
        None,
        None,
        CodecTransformerSizes(
            n_layers=4, dim=1024, n_heads=16, head_dim=64, ffn_dim=3072, window=512
        ),
    )
    decoder_dim: int = 1536
    decoder_rates: tuple[int, ...] = (8, 8, 4, 2)
    downsample_factors: tuple[int, ...] = (2, 2)
    downsample_dims: tuple[int, ...] = (1024, 1024)
    convnext_kernel_size: int = 7
    convnext_mlp_ratio: float = 4.0
    convnext_norm_eps: float = 1e-6
    residual_unit_dilations: tuple[int, ...] = (1, 3, 9)
    residual_unit_kernel_size: int = 7
    pre_transformer: CodecTransformerSizes = CodecTransformerSizes(
        n_layers=8, dim=1024, n_heads=16, head_dim=64, ffn_dim=3072, window=128
    )
    post_transformer: CodecTransformerSizes = CodecTransformerSizes(
        n_layers=8, dim=1024, n_heads=16, head_dim=64, ffn_dim=3072, window=128
    )

    @property
    def frame_length(self) -> int:
        """Samples per frame, 2048 in the published checkpoints."""
        length = 1
        for rate in (*self.encoder_rates, *self.downsample_factors):
            length *= rate
        return length

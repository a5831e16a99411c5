"""Between latents and codes: a semantic codebook, then residual ones, at the rate of frames."""

from __future__ import annotations

from functools import cached_property
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from junetts._runtime.codec.layers import CausalConv, CausalTransposedConv, ConvNeXtBlock, run
from junetts._runtime.codec.past import Past
from junetts._runtime.codec.transformer import WindowedTransformer
from junetts._runtime.sizes import CodecSizes


class Codebook(nn.Module):
    """What the codes of one codebook stand for: rows, and their way to latents."""

    def __init__(self, sizes: CodecSizes, n_codes: int) -> None:
        super().__init__()
        self.codebook = nn.Embedding(n_codes, sizes.codebook_dim)
        self.out_proj = nn.Conv1d(sizes.codebook_dim, sizes.latent_dim, 1)


class SearchedCodebook(nn.Module):
    """A codebook in which the row nearest in direction is found (Yu et al., 2021)."""

    def __init__(self, sizes: CodecSizes, n_codes: int) -> None:
        super().__init__()
        self.in_proj = nn.Conv1d(sizes.latent_dim, sizes.codebook_dim, 1)
        self.out_proj = nn.Conv1d(sizes.codebook_dim, sizes.latent_dim, 1)
        self.codebook = nn.Embedding(n_codes, sizes.codebook_dim)

    def forward(self, latents: Tensor) -> tuple[Tensor, Tensor]:
        """Map ``[stream, latent_dim, frame]`` to codes ``[stream, frame]`` and their latents."""
        wanted = F.normalize(self.in_proj(latents).transpose(1, 2), dim=-1)
        rows = F.normalize(self.codebook.weight, dim=-1)
        # The squared distance, but for what all rows share; rows of zeros stay comparable.
        nearness = 2 * wanted @ rows.t() - rows.square().sum(1)  # [stream, frame, n_codes]
        codes = nearness.argmax(-1)
        return codes, self.out_proj(self.codebook(codes).transpose(1, 2))


class Codebooks(nn.Module):
    """Codebooks whose latents add up."""

    def __init__(
        self, kind: type[nn.Module], sizes: CodecSizes, n_books: int, n_codes: int
    ) -> None:
        super().__init__()
        self.quantizers = nn.ModuleList(kind(sizes, n_codes) for _ in range(n_books))


class _Lookup(NamedTuple):
    """All codebooks as one, so that a frame's latents are one look-up and one product."""

    rows: Tensor  # [n_codes of all, codebook_dim]
    offsets: Tensor  # [codebook, 1], of each codebook's first row
    limits: Tensor  # [codebook, 1], of each codebook's last code
    weight: Tensor  # [latent_dim, codebook * codebook_dim]
    bias: Tensor  # [latent_dim]


class DecodingQuantizer(nn.Module):
    """Codes to latents at the convolutions' rate."""

    def __init__(self, sizes: CodecSizes) -> None:
        super().__init__()
        n_residual = sizes.n_codebooks - 1
        self.semantic_quantizer = Codebooks(Codebook, sizes, 1, sizes.semantic_codebook_size)
        self.quantizer = Codebooks(Codebook, sizes, n_residual, sizes.residual_codebook_size)
        self.post_module = WindowedTransformer(sizes.post_transformer, n_outside=sizes.latent_dim)
        self.upsample = nn.ModuleList(
            nn.ModuleList(
                (
                    CausalTransposedConv(n_in, n_out, kernel_size=factor, stride=factor),
                    _convnext(sizes, n_out),
                )
            )
            for n_out, n_in, factor in reversed(_steps_down(sizes))
        )

    def forward(self, codes: Tensor, past: Past) -> Tensor:
        """Map ``[stream, codebook, frame]`` to ``[stream, latent_dim, position]``.

        Codes outside their codebook are taken for its nearest end.
        """
        x: Tensor = self.post_module(self._latents(codes), past)
        for step in self.upsample:
            assert isinstance(step, nn.ModuleList)
            x = run(step, x, past)
        return x

    def _latents(self, codes: Tensor) -> Tensor:
        book = self._lookup
        places = torch.minimum(codes, book.limits).clamp(min=0) + book.offsets
        rows = F.embedding(places, book.rows)  # [stream, codebook, frame, codebook_dim]
        return F.linear(rows.transpose(1, 2).flatten(2), book.weight, book.bias).transpose(1, 2)

    @cached_property
    def _lookup(self) -> _Lookup:
        books = [*self.semantic_quantizer.quantizers, *self.quantizer.quantizers]
        assert all(isinstance(book, Codebook) for book in books)
        rows = [book.codebook.weight for book in books]
        sizes = torch.tensor([len(one) for one in rows], device=rows[0].device)[:, None]
        return _Lookup(
            rows=torch.cat(rows),
            offsets=sizes.cumsum(0) - sizes,
            limits=sizes - 1,
            weight=torch.cat([book.out_proj.weight.squeeze(-1) for book in books], 1),
            bias=torch.stack([book.out_proj.bias for book in books]).sum(0),
        )


class EncodingQuantizer(nn.Module):
    """Latents at the convolutions' rate to codes."""

    def __init__(self, sizes: CodecSizes) -> None:
        super().__init__()
        n_residual = sizes.n_codebooks - 1
        self.downsample = nn.ModuleList(
            nn.ModuleList(
                (
                    CausalConv(n_in, n_out, kernel_size=factor, stride=factor),
                    _convnext(sizes, n_out),
                )
            )
            for n_in, n_out, factor in _steps_down(sizes)
        )
        self.pre_module = WindowedTransformer(sizes.pre_transformer, n_outside=sizes.latent_dim)
        self.semantic_quantizer = Codebooks(
            SearchedCodebook, sizes, 1, sizes.semantic_codebook_size
        )
        self.quantizer = Codebooks(
            SearchedCodebook, sizes, n_residual, sizes.residual_codebook_size
        )

    def forward(self, x: Tensor, past: Past) -> Tensor:
        """Map ``[stream, latent_dim, position]`` to ``[stream, codebook, frame]``."""
        for step in self.downsample:
            assert isinstance(step, nn.ModuleList)
            x = run(step, x, past)
        rest = self.pre_module(x, past)
        codes = []
        for book in (*self.semantic_quantizer.quantizers, *self.quantizer.quantizers):
            found, latents = book(rest)
            rest = rest - latents
            codes.append(found)
        return torch.stack(codes, 1)


def _steps_down(sizes: CodecSizes) -> list[tuple[int, int, int]]:
    """Width above, width below and factor of each step from the convolutions' rate to frames."""
    widths = (sizes.latent_dim, *sizes.downsample_dims)
    return list(zip(widths[:-1], widths[1:], sizes.downsample_factors, strict=True))


def _convnext(sizes: CodecSizes, dim: int) -> ConvNeXtBlock:
    return ConvNeXtBlock(
        dim,
        kernel_size=sizes.convnext_kernel_size,
        mlp_ratio=sizes.convnext_mlp_ratio,
        norm_eps=sizes.convnext_norm_eps,
    )

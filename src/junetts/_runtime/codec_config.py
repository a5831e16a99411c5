"""The codec's config file; where there is none, the sizes of the published codecs."""

from __future__ import annotations

import math
from pathlib import Path

from junetts._runtime.json_file import MAX_LAYERS, Fields
from junetts._runtime.sizes import CodecSizes, CodecTransformerSizes

CODEC_CONFIG = "codec_config.json"
OFFICIAL = CodecSizes()
OFFICIAL_WINDOW = 512  # of the encoder's transformers, in all releases


def read_codec_sizes(directory: Path) -> CodecSizes:
    """Read ``codec_config.json``; a field that is absent has the published codecs' size.

    Raises:
        CheckpointError: a field is of another type or out of bounds, or fields contradict.
    """
    path = directory / CODEC_CONFIG
    if not path.exists():
        return OFFICIAL
    fields = Fields.read(path)
    sizes = _sizes(fields)
    _check(fields, sizes)
    return sizes


def _sizes(fields: Fields) -> CodecSizes:
    latent_dim = fields.integer("latent_dim", OFFICIAL.latent_dim)
    encoder_dim = fields.integer("encoder_dim", OFFICIAL.encoder_dim)
    encoder_rates = fields.integers("encoder_rates", OFFICIAL.encoder_rates)
    factors = fields.integers("downsample_factor", OFFICIAL.downsample_factors)
    kernel, ratio, eps = (
        OFFICIAL.convnext_kernel_size,
        OFFICIAL.convnext_mlp_ratio,
        OFFICIAL.convnext_norm_eps,
    )
    dilations = OFFICIAL.residual_unit_dilations
    unit_kernel = OFFICIAL.residual_unit_kernel_size
    return CodecSizes(
        sample_rate=fields.integer("sample_rate", OFFICIAL.sample_rate),
        n_codebooks=fields.integer("num_codebooks", OFFICIAL.n_codebooks, maximum=MAX_LAYERS),
        semantic_codebook_size=fields.integer(
            "semantic_codebook_size", OFFICIAL.semantic_codebook_size
        ),
        residual_codebook_size=fields.integer(
            "residual_codebook_size", OFFICIAL.residual_codebook_size
        ),
        codebook_dim=fields.integer("codebook_dim", OFFICIAL.codebook_dim),
        latent_dim=latent_dim,
        encoder_dim=encoder_dim,
        encoder_rates=encoder_rates,
        encoder_transformers=_encoder_transformers(fields, encoder_dim, encoder_rates),
        decoder_dim=fields.integer("decoder_dim", OFFICIAL.decoder_dim),
        decoder_rates=fields.integers("decoder_rates", OFFICIAL.decoder_rates),
        downsample_factors=factors,
        downsample_dims=fields.integers("downsample_dims", (latent_dim,) * len(factors)),
        convnext_kernel_size=fields.integer("convnext_kernel_size", kernel),
        convnext_mlp_ratio=fields.number("convnext_mlp_ratio", ratio),
        convnext_norm_eps=fields.number("convnext_norm_eps", eps),
        residual_unit_dilations=fields.integers("residual_unit_dilations", dilations),
        residual_unit_kernel_size=fields.integer("residual_unit_kernel_size", unit_kernel),
        pre_transformer=_quantizer_transformer(fields, "quantizer_pre_module", latent_dim),
        post_transformer=_quantizer_transformer(fields, "quantizer_post_module", latent_dim),
    )


def _quantizer_transformer(fields: Fields, name: str, latent_dim: int) -> CodecTransformerSizes:
    official = OFFICIAL.pre_transformer
    section = fields.section(name) or Fields(fields.path, {}, section=f"{name}.")
    return _transformer(
        section,
        n_layers=section.integer("n_layer", official.n_layers, maximum=MAX_LAYERS),
        dim=section.integer("dim", latent_dim),
        n_heads=section.integer("n_head", official.n_heads),
        ffn_dim=section.integer("intermediate_size", 3 * latent_dim),
        window=section.integer("window_size", official.window),
    )


def _encoder_transformers(
    fields: Fields, encoder_dim: int, rates: tuple[int, ...]
) -> tuple[CodecTransformerSizes | None, ...]:
    """One entry per block of the encoder; each block has twice the channels of the one before."""
    published = tuple(t.n_layers if t else 0 for t in OFFICIAL.encoder_transformers)
    default = (*[0] * (len(rates) - 1), published[-1])
    layers = fields.integers("encoder_transformer_layers", default, minimum=0, maximum=MAX_LAYERS)
    if len(layers) != len(rates):
        raise fields.wrong(
            "encoder_transformer_layers",
            f"has {len(layers)} entries, but encoder_rates has {len(rates)}",
        )
    section = fields.section("encoder_transformer")
    section = section or Fields(fields.path, {}, section="encoder_transformer.")
    return tuple(
        _encoder_transformer(section, n_layers, encoder_dim * 2 ** (block + 1))
        if n_layers
        else None
        for block, n_layers in enumerate(layers)
    )


def _encoder_transformer(section: Fields, n_layers: int, dim: int) -> CodecTransformerSizes:
    """The transformer of a block with ``dim`` channels.

    ``n_head`` and ``intermediate_size`` of the config are those of the block whose channels are
    its ``dim``; in others they follow from the channels, by the rule of fish-speech 0.1.0.
    """
    n_heads, ffn_dim = max(1, dim // 64), 3 * dim
    if section.integer("dim", dim) == dim:
        n_heads = section.integer("n_head", n_heads)
        ffn_dim = section.integer("intermediate_size", ffn_dim)
    return _transformer(
        section,
        n_layers=n_layers,
        dim=dim,
        n_heads=n_heads,
        ffn_dim=ffn_dim,
        window=section.integer("window_size", OFFICIAL_WINDOW),
    )


def _transformer(
    section: Fields, *, n_layers: int, dim: int, n_heads: int, ffn_dim: int, window: int
) -> CodecTransformerSizes:
    head_dim = section.integer("head_dim", 64)
    if head_dim % 2:
        raise section.wrong("head_dim", f"must be even, not {head_dim}")
    n_kv_heads = section.integer("n_local_heads", -1, minimum=-1)
    if n_kv_heads not in (-1, n_heads):
        raise section.wrong("n_local_heads", f"must be {n_heads}, as n_head, or -1")
    return CodecTransformerSizes(
        n_layers=n_layers,
        dim=dim,
        n_heads=n_heads,
        head_dim=head_dim,
        ffn_dim=ffn_dim,
        window=window,
        rope_base=section.number("rope_base", 10_000.0),
        norm_eps=section.number("norm_eps", 1e-5),
    )


def _check(fields: Fields, sizes: CodecSizes) -> None:
    """Check what the fields say about each other."""
    hop = math.prod(sizes.encoder_rates)
    _check_equal(fields, "hop_length", hop, "the product of encoder_rates")
    _check_equal(fields, "frame_length", sizes.frame_length, "the product of all rates and factors")
    _check_equal(fields, "n_residual_codebooks", sizes.n_codebooks - 1, "num_codebooks - 1")
    if math.prod(sizes.decoder_rates) != hop:
        raise fields.wrong("decoder_rates", f"must multiply to {hop}, as encoder_rates do")
    if sizes.decoder_dim % 2 ** len(sizes.decoder_rates):
        raise fields.wrong("decoder_dim", "must be halved once per decoder rate")
    if len(sizes.downsample_dims) != len(sizes.downsample_factors):
        raise fields.wrong("downsample_dims", "must have as many entries as downsample_factor")
    if sizes.downsample_dims[-1] != sizes.latent_dim:
        raise fields.wrong("downsample_dims", f"must end with latent_dim, {sizes.latent_dim}")
    if not fields.flag("causal", True):
        raise fields.wrong("causal", "is false; only causal codecs can be streamed")


def _check_equal(fields: Fields, name: str, value: int, what: str) -> None:
    stated = fields.integer(name, value, minimum=0)
    if stated != value:
        raise fields.wrong(name, f"must be {value}, {what}, not {stated}")

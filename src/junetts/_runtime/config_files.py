"""The language model's config file, in the layouts of both families."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from junetts._errors import CheckpointError
from junetts._runtime.json_file import MAX_LAYERS, Fields
from junetts._runtime.sizes import ModelSizes, TransformerSizes

CONFIG = "config.json"
S1_TYPE = "dual_ar"
S2_TYPE = "fish_qwen3_omni"


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelConfig:
    """What the config file says.

    Attributes:
        semantic_ids: the first and last id of the semantic tokens, where the config states them.
    """

    path: Path
    sizes: ModelSizes
    semantic_ids: tuple[int, int] | None


def read_model_config(directory: Path) -> ModelConfig:
    """Read ``config.json``.

    Raises:
        CheckpointError: it is missing, malformed, of an unknown kind, or contradicts itself.
    """
    fields = Fields.read(directory / CONFIG)
    model_type = fields.text("model_type")
    if model_type == S1_TYPE:
        config = ModelConfig(path=fields.path, sizes=_s1_sizes(fields), semantic_ids=None)
    elif model_type == S2_TYPE:
        config = ModelConfig(
            path=fields.path, sizes=_s2_sizes(fields), semantic_ids=_semantic_ids(fields)
        )
    else:
        raise CheckpointError(
            f"model_type in {fields.path} is {model_type!r}, which is not known",
            path=str(fields.path),
            hint=f"known are {S1_TYPE!r} (OpenAudio S1) and {S2_TYPE!r} (Fish Audio S2)",
        )
    _check_transformer(fields, config.sizes.slow, "the slow transformer")
    _check_transformer(fields, config.sizes.fast, "the fast transformer")
    return config


def _s1_sizes(fields: Fields) -> ModelSizes:
    """Sizes with the defaults of fish-speech 0.1.0."""
    slow = _s1_slow(fields)
    return ModelSizes(
        family="s1",
        slow=slow,
        fast=_s1_fast(fields, slow),
        vocab_size=fields.integer("vocab_size", 32_000),
        codebook_size=fields.integer("codebook_size", 160),
        n_codebooks=fields.integer("num_codebooks", 4, maximum=MAX_LAYERS),
        context=fields.integer("max_seq_len", 2048),
        is_head_tied=fields.flag("tie_word_embeddings", True),
        scales_embeddings=fields.flag("scale_codebook_embeddings", False),
        norms_fast_input=fields.flag("norm_fastlayer_input", False),
    )


def _s1_slow(fields: Fields) -> TransformerSizes:
    dim = fields.integer("dim", 4096)
    n_heads = fields.integer("n_head", 32)
    # Absent and null differ upstream: the first is 64, the second follows from the others.
    head_dim = dim // n_heads if fields.has("head_dim") else 64
    return TransformerSizes(
        n_layers=fields.integer("n_layer", 32, maximum=MAX_LAYERS),
        dim=dim,
        n_heads=n_heads,
        n_kv_heads=_kv_heads(fields, n_heads),
        head_dim=fields.integer("head_dim", max(1, head_dim)),
        ffn_dim=fields.integer("intermediate_size", _default_ffn_dim(dim)),
        rope_base=fields.number("rope_base", 10_000.0),
        norm_eps=fields.number("norm_eps", 1e-5),
        qk_norm=fields.flag("attention_qk_norm", False),
        qkv_bias=fields.flag("attention_qkv_bias", False),
        o_bias=fields.flag("attention_o_bias", False),
    )


def _s1_fast(fields: Fields, slow: TransformerSizes) -> TransformerSizes:
    """The fast sizes; a field that is absent, null or zero falls back to the slow one."""

    def size(name: str, slow_size: int) -> int:
        return fields.integer(name, slow_size, minimum=0) or slow_size

    return TransformerSizes(
        n_layers=fields.integer("n_fast_layer", 4, maximum=MAX_LAYERS),
        dim=size("fast_dim", slow.dim),
        n_heads=size("fast_n_head", slow.n_heads),
        n_kv_heads=size("fast_n_local_heads", slow.n_kv_heads),
        head_dim=size("fast_head_dim", slow.head_dim),
        ffn_dim=size("fast_intermediate_size", slow.ffn_dim),
        rope_base=slow.rope_base,
        norm_eps=slow.norm_eps,
        qk_norm=fields.flag("fast_attention_qk_norm", slow.qk_norm),
        qkv_bias=fields.flag("fast_attention_qkv_bias", slow.qkv_bias),
        o_bias=fields.flag("fast_attention_o_bias", slow.o_bias),
    )


def _kv_heads(fields: Fields, n_heads: int) -> int:
    n_kv_heads = fields.integer("n_local_heads", -1, minimum=-1)
    return n_heads if n_kv_heads == -1 else n_kv_heads


def _default_ffn_dim(dim: int) -> int:
    """Two thirds of four times ``dim``, rounded up to a multiple of 256 (Shazeer, 2020)."""
    return -(-int(8 * dim / 3) // 256) * 256


def _s2_sizes(fields: Fields) -> ModelSizes:
    text = _required_section(fields, "text_config")
    audio = _required_section(fields, "audio_decoder_config")
    slow = _s2_transformer(text)
    _check_text_dim(audio, slow)
    return ModelSizes(
        family="s2",
        slow=slow,
        fast=_s2_transformer(audio, slow=slow),
        vocab_size=text.integer("vocab_size"),
        codebook_size=audio.integer("vocab_size"),
        n_codebooks=audio.integer("num_codebooks", maximum=MAX_LAYERS),
        context=text.integer("max_seq_len"),
        is_head_tied=text.flag("tie_word_embeddings", True),
        scales_embeddings=True,
        norms_fast_input=True,
    )


def _s2_transformer(fields: Fields, *, slow: TransformerSizes | None = None) -> TransformerSizes:
    """One stack; the fast one shares RoPE base and eps with the slow one, as in S1."""
    dim = fields.integer("dim")
    n_heads = fields.integer("n_head")
    return TransformerSizes(
        n_layers=fields.integer("n_layer", maximum=MAX_LAYERS),
        dim=dim,
        n_heads=n_heads,
        n_kv_heads=_kv_heads(fields, n_heads),
        head_dim=fields.integer("head_dim", max(1, dim // n_heads)),
        ffn_dim=fields.integer("intermediate_size", _default_ffn_dim(dim)),
        rope_base=slow.rope_base if slow else fields.number("rope_base", 10_000.0),
        norm_eps=slow.norm_eps if slow else fields.number("norm_eps", 1e-5),
        qk_norm=fields.flag("attention_qk_norm", False),
        qkv_bias=fields.flag("attention_qkv_bias", False),
        o_bias=fields.flag("attention_o_bias", False),
    )


def _check_text_dim(audio: Fields, slow: TransformerSizes) -> None:
    text_dim = audio.integer("text_dim", slow.dim)
    if text_dim != slow.dim:
        raise audio.wrong("text_dim", f"is {text_dim}, but text_config.dim is {slow.dim}")


def _semantic_ids(fields: Fields) -> tuple[int, int]:
    begin = fields.integer("semantic_start_token_id", minimum=0)
    end = fields.integer("semantic_end_token_id", minimum=0)
    if end < begin:
        raise fields.wrong(
            "semantic_end_token_id", f"is {end}, before semantic_start_token_id, {begin}"
        )
    return begin, end


def _required_section(fields: Fields, name: str) -> Fields:
    section = fields.section(name)
    if section is None:
        raise fields.wrong(name, "is missing")
    return section


def _check_transformer(fields: Fields, sizes: TransformerSizes, which: str) -> None:
    if sizes.n_kv_heads == 0 or sizes.n_heads % sizes.n_kv_heads:
        problem = f"{sizes.n_heads} heads cannot share {sizes.n_kv_heads} heads of keys and values"
    elif sizes.head_dim % 2:
        problem = f"head_dim must be even, not {sizes.head_dim}"
    else:
        return
    raise CheckpointError(f"{which} in {fields.path}: {problem}", path=str(fields.path))

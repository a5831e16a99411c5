"""Language models small enough for tests: the golden ones, and random ones of any shape."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from junetts._runtime.checkpoint import load_into, open_checkpoint
from junetts._runtime.dual_ar import DualAR
from junetts._runtime.frame import FrameState, first_frame, next_frame
from junetts._runtime.kv_cache import KvCache
from junetts._runtime.sampling import SamplingParams
from junetts._runtime.sizes import Family, ModelSizes, TokenIds, TransformerSizes

DATA = Path(__file__).parent / "data"
EXPECTED = DATA / "expected"
TOKENS = TokenIds(semantic_begin=20, semantic_end=83, im_end=7)
SLOW = TransformerSizes(
    n_layers=2,
    dim=24,
    n_heads=4,
    n_kv_heads=2,
    head_dim=8,
    ffn_dim=40,
    rope_base=1e4,
    norm_eps=1e-6,
)
FAST = replace(SLOW, dim=16, n_heads=2, head_dim=6)


@cache
def golden_model(name: str) -> DualAR:
    """The language model of a golden checkpoint, such as ``s1-tiny``."""
    checkpoint = open_checkpoint(DATA / name)
    with torch.device("meta"):
        model = DualAR(checkpoint.model, checkpoint.load_tokenizer().ids)
    weights = checkpoint.model_weights()
    load_into(model, weights, device="cpu", dtype=torch.float32, path=checkpoint.model_path)
    return model


@cache
def golden_prompts(name: str) -> dict[str, Tensor]:
    """The first batch of each case, ``[1 + codebook, column]``."""
    cases = json.loads((EXPECTED / name / "prompts.json").read_text())
    return {case["name"]: torch.tensor(case["batches"][0]["ids"]) for case in cases}


@cache
def golden(name: str, part: str) -> dict[str, np.ndarray]:
    """The arrays of one golden file, such as ``forward``."""
    with np.load(EXPECTED / name / f"{part}.npz") as arrays:
        return dict(arrays)


def sizes(
    family: Family, slow: TransformerSizes = SLOW, fast: TransformerSizes = FAST
) -> ModelSizes:
    """Sizes of a model that fits `TOKENS`."""
    return ModelSizes(
        family=family,
        slow=slow,
        fast=fast,
        vocab_size=100,
        codebook_size=64,
        n_codebooks=4,
        context=96,
        is_head_tied=family == "s1",
        scales_embeddings=family == "s2",
        norms_fast_input=family == "s2",
    )


def random_model(shape: ModelSizes, *, seed: int = 0, dtype: torch.dtype = torch.float32) -> DualAR:
    """A model with weights that make every token about as likely as the others."""
    with torch.device("meta"):
        model = DualAR(shape, TOKENS)
    generator = torch.Generator().manual_seed(seed)
    weights = {
        name: 0.3 * torch.randn(parameter.shape, generator=generator)
        for name, parameter in model.named_parameters()
    }
    load_into(model, weights, device="cpu", dtype=dtype, path="random")
    return model


def random_prompt(shape: ModelSizes, n_columns: int, *, seed: int = 0) -> Tensor:
    """A prompt ``[1 + codebook, column]``, half of it sound."""
    generator = torch.Generator().manual_seed(seed)
    rows = (1 + shape.n_codebooks, n_columns)
    prompt = torch.randint(0, TOKENS.semantic_begin, rows, generator=generator)
    prompt[0, ::2] += TOKENS.semantic_begin
    prompt[1:, 1::2] = 0
    return prompt


def new_cache(model: DualAR, *, n_slots: int = 1, context: int = 96) -> KvCache:
    """A cache for that model."""
    return KvCache(model.sizes, n_slots=n_slots, context=context, device="cpu", dtype=model.dtype)


def begin(
    model: DualAR,
    cache: KvCache,
    state: FrameState,
    slot: int,
    prompt: Tensor,
    params: SamplingParams,
) -> Tensor:
    """Read a prompt and make the first frame."""
    slow = model.prefill(prompt, cache, slot=slot)
    state.park(slot, position=prompt.shape[1])
    state.begin(slot, params)
    return first_frame(model, slow, state, slot=slot)


def speak_alone(model: DualAR, prompt: Tensor, params: SamplingParams, *, n_frames: int) -> Tensor:
    """Frames ``[1 + codebook, frame]`` of an utterance that nobody shares the model with."""
    n_columns = prompt.shape[1]
    cache = new_cache(model, context=n_columns + n_frames)
    state = FrameState(model.sizes, n_slots=1, device="cpu")
    frames = [begin(model, cache, state, 0, prompt, params)]
    state.activate([0])
    frames += [
        next_frame(model, cache, state, n=1, span=span)[0]
        for span in range(n_columns + 1, n_columns + n_frames)
    ]
    return torch.stack(frames, dim=1)

"""What upstream 0.1.0 computes from a checkpoint; imports nothing of junetts.

    PYTHONPATH=stubs:../../benchmarks python upstream_reference.py CHECKPOINT SEED OUT.npz

The inputs follow from the seed and are written beside the results. Float32, on the CPU.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
from dac.nn.quantize import VectorQuantize
from fish_speech.content_sequence import ContentSequence, TextPart, VQPart
from fish_speech.models.text2semantic import inference
from fish_speech.models.text2semantic.llama import BaseTransformer
from torch import Tensor

import upstream_parts

N_FRAMES = 24
N_SAMPLINGS = 16
GREEDY = {"temperature": 0.7, "top_p": 1e-4, "repetition_penalty": 1.1}
CASES: list[dict[str, Any]] = [
    {"text": "Hello from June, it is 10:45.", "references": []},
    {"text": "(laughing) Ünïcode 你好 🎉\n\n  two  spaces", "references": ["What was said."]},
    {"text": "x", "references": ["One.", "Another, longer one, with a comma."]},
]
Arrays = dict[str, Any]


def prompt_of(model: Any, case: dict[str, Any], codes: list[Tensor]) -> Tensor:
    """The prompt's columns [1 + codebook, column]."""
    sequence = ContentSequence(modality="interleave")
    for text, one in zip(case["references"], codes, strict=True):
        sequence.append([TextPart(text=text), VQPart(codes=one)], add_end=True, speaker=0)
    sequence.append([TextPart(text=case["text"])], add_end=False, speaker=0)
    columns, _, _ = sequence.encode_for_inference(
        model.tokenizer, num_codebooks=model.config.num_codebooks
    )
    return columns


@torch.inference_mode()
def forward(model: Any, prompt: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Logits, the hidden state before the final norm, and after it, of the last column."""
    positions = torch.arange(prompt.shape[1])
    result = BaseTransformer.forward_generate(model, prompt[None], positions)
    hidden = result.hidden_states[0, -1]
    return result.logits[0, -1], hidden, model.norm(hidden)


def greedy(model: Any, prompt: Tensor) -> tuple[Tensor, np.ndarray]:
    """Columns [1 + codebook, frame], the end token's included; smallest margin of each frame."""
    margins: list[float] = []
    original = inference.logits_to_probs

    def watched(logits: Tensor, *arguments: Any, **keywords: Any) -> Tensor:
        probabilities = original(logits, *arguments, **keywords)  # applies the penalty in place
        best, second = logits.topk(2).values.tolist()
        margins.append(best - second)
        return probabilities

    inference.logits_to_probs = watched
    try:
        columns = inference.generate(
            model=model,
            prompt=prompt,
            max_new_tokens=N_FRAMES,
            audio_masks=None,
            audio_parts=None,
            **GREEDY,
        )
    finally:
        inference.logits_to_probs = original
    per_frame = np.array(margins).reshape(-1, model.config.num_codebooks)
    return columns[:, prompt.shape[1] :], per_frame.min(axis=1)


def language_model(model: Any, generator: torch.Generator) -> Arrays:
    """Prompts, logits and greedy speech of every case."""
    found: Arrays = {"cases": json.dumps(CASES)}
    sizes = model.config
    for index, case in enumerate(CASES):
        codes = [
            torch.randint(sizes.codebook_size, (sizes.num_codebooks, n), generator=generator)
            for n in range(7, 7 + 4 * len(case["references"]), 4)
        ]
        prompt = prompt_of(model, case, codes)
        logits, hidden, normed = forward(model, prompt)
        columns, margins = greedy(model, prompt)
        found |= {f"p{index}_codes{n}": one.numpy() for n, one in enumerate(codes)}
        found |= {
            f"p{index}_ids": prompt.numpy(),
            f"p{index}_logits": logits.numpy(),
            f"p{index}_hidden": hidden.numpy(),
            f"p{index}_normed": normed.numpy(),
            f"p{index}_greedy": columns.numpy(),
            f"p{index}_margins": margins,
        }
    return found


def sampling(generator: torch.Generator) -> Arrays:
    """Probabilities for random logits, settings and windows of earlier tokens."""
    logits = 3 * torch.randn(N_SAMPLINGS, 300, generator=generator)
    draws = torch.rand(N_SAMPLINGS, 3, generator=generator).double()
    temperature, top_p = 0.1 + 0.9 * draws[:, 0], 0.1 + 0.9 * draws[:, 1]
    penalty = 0.9 + 1.0 * draws[:, 2]
    previous = torch.randint(300, (N_SAMPLINGS, 16), generator=generator)
    previous[::4] = -1  # for "none"
    rows = []
    for index in range(N_SAMPLINGS):
        settings = [x[index].to(torch.bfloat16) for x in (temperature, top_p, penalty)]
        window = None if previous[index, 0] < 0 else previous[index]
        rows.append(inference.logits_to_probs(logits[index].clone(), *settings, window))
    return {
        "sampling_logits": logits.numpy(),
        "sampling_temperature": temperature.numpy(),
        "sampling_top_p": top_p.numpy(),
        "sampling_penalty": penalty.numpy(),
        "sampling_previous": previous.numpy(),
        "sampling_probabilities": torch.stack(rows).numpy(),
    }


@torch.inference_mode()
def codec(model: Any, generator: torch.Generator) -> Arrays:
    """The wave of random codes, some beyond their codebooks; the codes of random sound."""
    quantizer = model.quantizer
    n_codebooks = 1 + len(quantizer.quantizer.quantizers)
    n_frames = int(torch.randint(60, 140, (1,), generator=generator))
    size = quantizer.semantic_quantizer.codebook_size
    codes = torch.randint(size, (n_codebooks, n_frames), generator=generator)
    codes[1:] %= quantizer.quantizer.codebook_size + 9
    wave = model.decode(codes[None], torch.tensor([n_frames]))[0].squeeze()
    n_samples = int(torch.randint(30_000, 70_000, (1,), generator=generator))
    time = torch.arange(n_samples) / 44_100
    chirp = 0.4 * torch.sin(2 * torch.pi * (200 + 900 * time) * time)
    sound = chirp + 0.1 * torch.randn(n_samples, generator=generator)
    found, margins = encode(model, sound)
    return {
        "decode_codes": codes.numpy(),
        "decode_wave": wave.numpy(),
        "encode_wave": sound.numpy(),
        "encode_codes": found.numpy(),
        "encode_margins": margins.numpy(),
    }


def encode(model: Any, sound: Tensor) -> tuple[Tensor, Tensor]:
    """Codes [codebook, frame], and by how much each was closer than the second best."""
    margins: list[Tensor] = []

    def watch(module: Any, inputs: tuple[Tensor, ...], _: object) -> None:
        latents = torch.nn.functional.normalize(module.in_proj(inputs[0])[0].T)
        entries = torch.nn.functional.normalize(module.codebook.weight)
        best, second = (2 * latents @ entries.T).topk(2, dim=1).values.unbind(1)
        margins.append(best - second)

    hooks = [
        module.register_forward_hook(watch)
        for module in model.modules()
        if isinstance(module, VectorQuantize)
    ]
    codes = model.encode(sound[None, None], torch.tensor([len(sound)]))[0][0]
    for hook in hooks:
        hook.remove()
    return codes, torch.stack(margins)


def main() -> None:
    """Compute everything and write it down."""
    checkpoint, seed, out = Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
    upstream_parts.quieten()
    generator = torch.Generator().manual_seed(seed)
    model, _ = inference.init_model(str(checkpoint), "cpu", torch.float32)
    found = language_model(model, generator) | sampling(generator)
    np.savez(out, **found, **codec(upstream_parts.load_codec(checkpoint), generator))


if __name__ == "__main__":
    main()

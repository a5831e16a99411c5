"""Samples as 16 bit PCM."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from junetts._runtime.codec import to_pcm16


@pytest.mark.parametrize(
    ("sample", "step"),
    [
        (0.0, 0),
        (0.5, 16384),
        (-0.5, -16384),
        (1.0, 32767),
        (-1.0, -32768),
        (7.0, 32767),
        (-7.0, -32768),
        (0.9 / 32768, 1),
        (torch.inf, 32767),
        (-torch.inf, -32768),
        (torch.nan, 0),
    ],
)
def test_one_sample(sample: float, step: int) -> None:
    """Samples are rounded and clipped; none wraps, and NaN is silent."""
    assert to_pcm16(torch.tensor([sample])) == step.to_bytes(2, "little", signed=True)


def test_what_is_read_back() -> None:
    """Steps of 16 bit survive; any float type is taken; nothing is nothing."""
    steps = np.array([-32768, -1, 0, 1, 32767], dtype="<i2")
    samples = torch.from_numpy(steps.astype(np.float32) / 32768)
    assert to_pcm16(samples) == steps.tobytes()
    assert to_pcm16(samples.double()) == steps.tobytes()
    assert len(to_pcm16(samples.bfloat16())) == 10
    assert to_pcm16(torch.zeros(0)) == b""

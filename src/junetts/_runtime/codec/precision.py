"""Convolutions in the precision that was asked for."""

from __future__ import annotations

from contextlib import AbstractContextManager

from torch.backends import cudnn


def exact_convolutions() -> AbstractContextManager[None]:
    """Keep cuDNN from rounding float32 to TF32, its default, in which chunks would not agree."""
    return cudnn.flags(
        enabled=cudnn.enabled,
        benchmark=cudnn.benchmark,
        deterministic=cudnn.deterministic,
        allow_tf32=False,
    )

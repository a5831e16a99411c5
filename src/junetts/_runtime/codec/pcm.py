"""Samples as they are sent: signed 16 bit little-endian."""

from __future__ import annotations

from torch import Tensor

FULL_SCALE = 32768.0  # as everywhere in junetts: 1.0 is one step beyond the largest number


def to_pcm16(samples: Tensor) -> bytes:
    """Round float ``[n]`` to signed 16 bit; what is beyond full scale is clipped, never wrapped.

    NaN becomes silence: it can only come from a broken model, and a listener's ears are worth
    more than finding out here. The conversion waits for the device.
    """
    loud = samples.float().nan_to_num(nan=0.0).mul(FULL_SCALE).round()
    steps = loud.clamp(-FULL_SCALE, FULL_SCALE - 1).to("cpu").numpy()
    return steps.astype("<i2").tobytes()

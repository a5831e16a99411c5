"""Noise that depends on nothing but a seed and a place: what runs beside it changes nothing."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

# The multipliers of a 32-bit mixer in which every input bit moves every output bit
# (C. Wellons, "Prospecting for Hash Functions", 2018: lowbias32), and Weyl's constant.
_M1 = 0x7FEB352D
_M2 = 0x846CA68B - (1 << 32)
_WEYL = 0x9E3779B9 - (1 << 32)
_BELOW_ONE = 1.0 - 2.0**-24

MAX_DRAWS = 256  # per frame


@dataclass(frozen=True, slots=True, eq=False)
class Streams:
    """Streams of noise, each known by two int32 keys, ``[...]`` of any shape.

    Guarantees: a value depends on its stream and place alone, so that an utterance is the same
    whatever else is in the batch, and on every device up to the rounding of its logarithm.
    """

    first: Tensor
    second: Tensor

    @classmethod
    def of(cls, seed: Tensor, frame: Tensor, *, n_draws: int) -> Streams:
        """Return streams ``[n, n_draws]``, one for each draw of a frame.

        Args:
            seed: int64 ``[n]``; all 64 bits count.
            frame: int64 ``[n]``.
            n_draws: how many of them a frame needs, at most ``MAX_DRAWS``.
        """
        low, high, frame = (_as_int32(x)[:, None] for x in (seed, seed >> 32, frame))
        draw = torch.arange(n_draws, dtype=torch.int32, device=seed.device)
        place = frame * MAX_DRAWS + draw  # no two of a seed share it
        first = _mix(_mix(low, high) ^ place, high)
        return cls(first, _mix(_mix(high ^ _WEYL, low) + place, first ^ low))

    def __getitem__(self, index: slice | tuple[slice | int, ...]) -> Streams:
        return Streams(self.first[index], self.second[index])

    def exponential(self, places: Tensor) -> Tensor:
        """Return Exp(1) noise ``[..., m]``, float32: never zero, never infinite.

        Args:
            places: int32 ``[m]``, such as ids of tokens.
        """
        return _to_exponential(_mix(self.first[..., None] ^ places, self.second[..., None]))


def exponential(seed: Tensor, frame: Tensor, draw: int, size: int) -> Tensor:
    """Return the Exp(1) noise of one draw, float32 ``[n, size]``, for int64 ``[n]``."""
    places = torch.arange(size, dtype=torch.int32, device=seed.device)
    return Streams.of(seed, frame, n_draws=draw + 1)[:, draw].exponential(places)


def _as_int32(value: Tensor) -> Tensor:
    """Keep the low 32 bits of int64 values."""
    return (((value & 0xFFFFFFFF) ^ 0x80000000) - 0x80000000).to(torch.int32)


def _mix(value: Tensor, key: Tensor) -> Tensor:
    """Scramble 32 bits; the key enters halfway, lest streams be permutations of each other.

    Products of int32 wrap; ``>>`` keeps the sign, hence the masks.
    """
    value = (value ^ (value >> 16 & 0xFFFF)) * _M1
    value = ((value ^ (value >> 15 & 0x1FFFF)) + key) * _M2
    return value ^ (value >> 16 & 0xFFFF)


def _to_exponential(bits: Tensor) -> Tensor:
    """Map int32 to Exp(1), finest near zero: the smallest decide who is drawn."""
    uniform = (bits & 0x7FFFFFFF).float().mul_(2.0**-31).add_(2.0**-32).clamp_(max=_BELOW_ONE)
    return uniform.neg_().log1p_().neg_()

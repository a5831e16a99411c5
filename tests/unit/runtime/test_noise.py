"""Noise: its distribution, and that nothing but seed, frame, draw and place enters it."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from junetts._runtime import noise
from junetts._runtime.noise import Streams, exponential

PLACES = torch.arange(1024, dtype=torch.int32)
N = 500
PINNED_KEYS = [-1094508266, -1387664306]
PINNED_NOISE = [0.2290772, 0.8385669, 1.481217]
SEEDS = {
    "small": torch.arange(N),
    "high half": torch.arange(N) << 32,
    "top bits": torch.arange(N) << 54,
    "spread": torch.arange(N) * 0x9E3779B97F4A7C1 & (2**63 - 1),
}


def uniform(seeds: Tensor, frames: Tensor) -> Tensor:
    """Noise as uniform values minus one half, ``[n, draw, place]``."""
    drawn = Streams.of(seeds, frames, n_draws=4).exponential(PLACES)
    return torch.exp(-drawn).double() - 0.5


def correlation(one: Tensor, other: Tensor) -> float:
    """In standard deviations of what independent values would show."""
    return float((one * other).mean() * 12 * math.sqrt(one.numel()))


@pytest.mark.parametrize("seeds", SEEDS.values(), ids=SEEDS.keys())
def test_noise_is_exponential_and_independent(seeds: Tensor) -> None:
    """Moments, a chi-square test, and correlations between seeds, draws and places."""
    values = uniform(seeds, torch.full_like(seeds, 3))
    counts = torch.histc(values.float(), 256, -0.5, 0.5)
    expected = values.numel() / 256
    chi_square = float(((counts - expected) ** 2 / expected).sum())
    assert abs(chi_square - 255) < 5 * math.sqrt(2 * 255)
    drawn = -torch.log(values + 0.5)
    assert float(drawn.mean()) == pytest.approx(1, abs=0.005)
    assert float(drawn.var()) == pytest.approx(1, abs=0.02)
    assert abs(correlation(values[1:], values[:-1])) < 5
    assert abs(correlation(values[:, 1:], values[:, :-1])) < 5
    assert abs(correlation(values[..., 1:], values[..., :-1])) < 5


def test_frames_are_independent() -> None:
    """One utterance's frames do not resemble each other, at any distance in time."""
    values = uniform(torch.full((N,), 2**62 + 12345), torch.arange(N))
    for distance in (1, 2, 16):
        assert abs(correlation(values[distance:], values[:-distance])) < 5
    assert abs(correlation(values[1:, :-1], values[:-1, 1:])) < 5


@pytest.mark.parametrize("bit", [0, 31, 32, 62])
def test_every_bit_of_a_seed_counts(bit: int) -> None:
    """Seeds that differ in one bit have nothing in common."""
    frames = torch.arange(N)
    one, other = (uniform(torch.full((N,), seed), frames) for seed in (99, 99 ^ 1 << bit))
    assert abs(correlation(one, other)) < 5
    assert not torch.equal(one.sort(-1).values, other.sort(-1).values)


def test_no_two_draws_of_an_utterance_share_a_stream() -> None:
    """Over hours of speech, keys never repeat."""
    streams = Streams.of(torch.full((100_000,), 7), torch.arange(100_000), n_draws=3)
    keys = (streams.first.long() << 32 | streams.second.long() & 0xFFFFFFFF).flatten()
    assert keys.unique().numel() == keys.numel()


def test_noise_is_never_zero_nor_infinite() -> None:
    """The extreme hashes give positive, finite values."""
    bits = torch.tensor([0, 1, -1, 2**31 - 1, -(2**31), 2**31 - 64], dtype=torch.int32)
    drawn = noise._to_exponential(bits)
    assert (drawn > 0).all()
    assert drawn.isfinite().all()
    assert float(drawn.min()) < 1e-9  # fine where it decides
    assert float(drawn.max()) > 16


def test_noise_depends_on_its_own_place_only() -> None:
    """Neither the batch, nor the number of places or draws, changes a value."""
    seeds, frames = torch.tensor([5, 6, 7]), torch.tensor([0, 10, 20])
    everything = Streams.of(seeds, frames, n_draws=5).exponential(PLACES)
    alone = exponential(seeds[1:2], frames[1:2], 3, 1024)
    torch.testing.assert_close(everything[1, 3], alone[0], rtol=1e-6, atol=0)
    some = torch.tensor([900, 3], dtype=torch.int32)
    few = Streams.of(seeds, frames, n_draws=5)[:, 3].exponential(some)
    torch.testing.assert_close(few, everything[:, 3, [900, 3]], rtol=1e-6, atol=0)


def test_numbers_are_pinned() -> None:
    """A seed gives the same speech in the next release, too."""
    streams = Streams.of(torch.tensor([42]), torch.tensor([1]), n_draws=2)
    assert [int(streams.first[0, 1]), int(streams.second[0, 1])] == PINNED_KEYS
    drawn = exponential(torch.tensor([42]), torch.tensor([1]), 1, 3)
    torch.testing.assert_close(drawn[0], torch.tensor(PINNED_NOISE), rtol=1e-5, atol=0)

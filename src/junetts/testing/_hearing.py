"""Pure tones in sound: where each begins, where it ends, and how high it is."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt

EAR_RATE_HZ = 8_000  # sound is thinned out to little more than this, which keeps hearing cheap
QUIET = 0.02  # of the loudest sample: what is below is silence
QUIETEST = 0.001  # of full scale: what is below is silence however quiet the rest is
GAP_S = 0.004  # silence that separates two sounds
SHORTEST_S = 0.008  # anything shorter is a click
SHORTEST_NOISE_S = 0.016  # what is no tone and shorter is where two sounds meet, or a fade
LOWEST_HZ = 200.0
BLOCK_S = 0.005
PURE = 0.7  # of a block's power that its tone must account for

Samples = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Tone:
    """One sound; ``hz`` is None for what is no tone."""

    start_s: float
    end_s: float
    hz: float | None

    @property
    def duration_s(self) -> float:
        """How long it lasts."""
        return self.end_s - self.start_s


def tones(samples: Samples, *, sample_rate: int) -> list[Tone]:
    """The tones in mono samples, ``[n_samples]`` with 1.0 as full scale, in order.

    Tones that follow each other without a gap are told apart if each lasts 10 ms.
    """
    samples, rate = _thinned(samples, sample_rate)
    return [
        tone
        for start, end in _runs(samples, rate)
        for tone in _split(samples[start:end], start, rate)
    ]


def _thinned(samples: Samples, sample_rate: int) -> tuple[Samples, float]:
    """Means of neighbours: tones below 4 kHz stay what they are, if a little quieter."""
    factor = max(1, sample_rate // EAR_RATE_HZ)
    n_whole = len(samples) - len(samples) % factor
    means = samples[:n_whole].reshape(-1, factor).mean(axis=1) if factor > 1 else samples
    return means, sample_rate / factor


def _runs(samples: Samples, rate: float) -> Iterator[tuple[int, int]]:
    """Where sound begins and ends between silences."""
    loudness = np.abs(samples)
    floor = max(QUIETEST, QUIET * float(loudness.max(initial=0.0)))
    loud = np.flatnonzero(loudness > floor)
    if not len(loud):
        return
    gaps = np.flatnonzero(np.diff(loud) > GAP_S * rate)
    starts = [int(loud[0]), *loud[gaps + 1].tolist()]
    ends = [*(loud[gaps] + 1).tolist(), int(loud[-1]) + 1]
    for start, end in zip(starts, ends, strict=True):
        if end - start >= SHORTEST_S * rate:
            yield start, end


def _split(run: Samples, start: int, rate: float) -> Iterator[Tone]:
    """A run as the tones that it consists of; usually it is one."""
    hz = _pitch(run, rate)
    is_pure = _blocks_of(run, hz, rate)
    if is_pure[1:-1].all() and is_pure.any():
        yield _tone(run, start, rate, hz)
        return
    for first, last, pure in _stretches(is_pure, len(run), rate):
        piece = run[first:last]
        if pure:
            yield _tone(piece, start + first, rate, _pitch(piece, rate))
        elif len(piece) < len(run):
            yield from _split(piece, start + first, rate)
        elif len(piece) >= SHORTEST_NOISE_S * rate:
            yield _tone(piece, start + first, rate, None)


def _stretches(
    is_pure: npt.NDArray[np.bool_], n_samples: int, rate: float
) -> Iterator[tuple[int, int, bool]]:
    """Neighbouring blocks of one kind; a single block goes with those before it."""
    block = int(BLOCK_S * rate)
    kinds = is_pure.copy()
    for i in range(1, len(kinds)):
        is_single = i + 1 == len(kinds) or is_pure[i + 1] != is_pure[i]
        if is_single and is_pure[i - 1] != is_pure[i]:
            kinds[i] = kinds[i - 1]
    edges = [0, *(np.flatnonzero(np.diff(kinds)) + 1).tolist(), len(kinds)]
    for first, last in pairwise(edges):
        end = n_samples if last == len(kinds) else last * block
        yield first * block, end, bool(kinds[first])


def _pitch(run: Samples, rate: float) -> float:
    """The strongest frequency, in Hz, between the bins of a padded spectrum."""
    n_bins = 1 << int(max(2 * len(run), rate / 8) - 1).bit_length()
    spectrum = np.abs(np.fft.rfft(run * np.hanning(len(run) + 2)[1:-1], n_bins))
    lowest = int(LOWEST_HZ * n_bins / rate)
    peak = lowest + int(np.argmax(spectrum[lowest:-1]))
    left, top, right = np.log(spectrum[peak - 1 : peak + 2] + 1e-12)
    curve = left - 2 * top + right
    offset = 0.5 * (left - right) / curve if curve else 0.0
    return float((peak + offset) * rate / n_bins)


def _blocks_of(run: Samples, hz: float, rate: float) -> npt.NDArray[np.bool_]:
    """Whether each block of the run, ``[n_blocks]``, is the tone of this pitch."""
    block = int(BLOCK_S * rate)
    n_blocks = max(1, len(run) // block)
    blocks = run[: n_blocks * block].reshape(n_blocks, -1)
    turning = np.exp(-2j * np.pi * hz / rate * np.arange(blocks.shape[1]))
    power = np.mean(blocks**2, axis=1)
    pure: npt.NDArray[np.bool_] = (
        2 * np.abs(blocks @ turning / blocks.shape[1]) ** 2 >= PURE * power
    )
    return pure


def _tone(run: Samples, start: int, rate: float, hz: float | None) -> Tone:
    return Tone(start_s=start / rate, end_s=(start + len(run)) / rate, hz=hz)

"""Loudness does not depend on how audio is cut, and reaches the level that is wanted."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from junetts._loudness import LoudnessMatch, LoudnessTail

RATE = 8000
CUTS = st.lists(st.integers(0, 10_000_000), max_size=20)
Samples = npt.NDArray[np.int16]


def speech(seed: int, *, level_dbfs: float, seconds: float, sample_rate: int = RATE) -> Samples:
    """Noise in syllables with pauses, of about the given level."""
    random = np.random.default_rng(seed)
    n = int(seconds * sample_rate)
    syllables = np.repeat(random.uniform(0.5, 1.0, n // 800 + 1), 800)[:n]
    pauses = np.repeat(random.random(n // 1600 + 1) > 0.2, 1600)[:n]
    noise = random.uniform(-1, 1, n) * syllables * pauses
    return np.rint(noise * 2.3 * 10 ** (level_dbfs / 20) * 32768).clip(-32768, 32767).astype("<i2")


def pieces_of(pcm: bytes, cuts: list[int]) -> list[bytes]:
    """The bytes in pieces of whole samples."""
    edges = [0, *sorted(cut * 2 % (len(pcm) + 2) for cut in cuts), len(pcm)]
    return [pcm[a:b] for a, b in pairwise(edges)]


def matched(samples: Samples, target_dbfs: float, cuts: list[int] | None = None) -> Samples:
    """The samples after `LoudnessMatch`."""
    match = LoudnessMatch(target_dbfs=target_dbfs, sample_rate=RATE)
    pieces = pieces_of(samples.astype("<i2").tobytes(), cuts or [])
    return np.frombuffer(b"".join(map(match.apply, pieces)), "<i2")


def level_of(samples: Samples) -> float | None:
    """Its end's level."""
    tail = LoudnessTail(sample_rate=RATE)
    tail.heard(samples.astype("<i2").tobytes())
    return tail.level()


@given(st.integers(0, 99), st.floats(-60, 0), st.floats(-60, 0), CUTS, st.floats(0, 4))
@settings(max_examples=60, deadline=None)
def test_any_cut_gives_the_same_samples(
    seed: int, level_dbfs: float, target_dbfs: float, cuts: list[int], seconds: float
) -> None:
    """Piece by piece, as many samples come out as go in, and the same ones."""
    samples = speech(seed, level_dbfs=level_dbfs, seconds=seconds)
    match = LoudnessMatch(target_dbfs=target_dbfs, sample_rate=RATE)
    whole = match.apply(samples.tobytes())
    assert len(whole) == 2 * len(samples)
    other = LoudnessMatch(target_dbfs=target_dbfs, sample_rate=RATE)
    for piece in pieces_of(samples.tobytes(), cuts):
        out = other.apply(piece)
        assert len(out) == len(piece)
        assert out == whole[: len(out)]
        whole = whole[len(out) :]


@given(st.integers(0, 99), CUTS, st.floats(0, 4))
@settings(max_examples=60, deadline=None)
def test_any_cut_gives_the_same_level(seed: int, cuts: list[int], seconds: float) -> None:
    """The tail is the same, however it came."""
    pcm = speech(seed, level_dbfs=-20, seconds=seconds).tobytes()
    whole, cut = LoudnessTail(sample_rate=RATE), LoudnessTail(sample_rate=RATE)
    whole.heard(pcm)
    for piece in pieces_of(pcm, cuts):
        cut.heard(piece)
    assert cut.level() == whole.level()


@given(st.integers(0, 99), st.floats(-34, -18), st.floats(-11, 11))
@settings(max_examples=60, deadline=None)
def test_the_level_is_reached(seed: int, level_dbfs: float, gain_db: float) -> None:
    """Once settled, within 1 dB of what is wanted."""
    stretch = speech(seed, level_dbfs=level_dbfs, seconds=1.5)
    level = level_of(stretch)
    assert level is not None
    target_dbfs = min(level + gain_db, -12.0)
    out = matched(np.tile(stretch, 4), target_dbfs)
    assert level_of(out) == pytest.approx(target_dbfs, abs=1.0)


@given(st.integers(0, 99), st.floats(-40, 0), st.floats(-60, 0))
@settings(max_examples=60, deadline=None)
def test_nothing_wraps_and_gain_is_bounded(
    seed: int, level_dbfs: float, target_dbfs: float
) -> None:
    """Each sample keeps its sign, and is changed by 12 dB at most."""
    samples = speech(seed, level_dbfs=level_dbfs, seconds=3)
    out = matched(samples, target_dbfs).astype(int)
    assert (out * samples.astype(int) >= 0).all()
    assert (np.abs(out) <= np.abs(samples.astype(int)) * 10 ** (12 / 20) + 1).all()
    assert (np.abs(out) >= np.abs(samples.astype(int)) * 10 ** (-12 / 20) - 1).all()


@given(st.floats(50, 1000), st.floats(0.01, 1.0), st.floats(-40, -3))
@settings(max_examples=60, deadline=None)
def test_a_tone_has_no_clicks(pitch_hz: float, amplitude: float, target_dbfs: float) -> None:
    """The curve stays as smooth as a tone of that pitch is."""
    t = np.arange(4 * RATE) / RATE
    samples = np.rint(amplitude * 32767 * np.sin(2 * np.pi * pitch_hz * t)).astype("<i2")
    out = matched(samples, target_dbfs).astype(float)
    peak = max(np.abs(out).max(), np.abs(samples.astype(int)).max())
    smooth = peak * (2 * np.pi * pitch_hz / RATE) ** 2
    kink = peak * 1.5 / (RATE / 100)  # where the gain begins to change
    assert np.abs(np.diff(out, 2)).max() <= smooth * 1.1 + kink + 4

"""How loud a voice is, and how the voice that follows it is made as loud.

Loudness is the level of those parts that are heard at all: a part below -50 dBFS does not count,
nor does one 10 dB below the rest. Such gating is that of ITU-R BS.1770-4, annex 1; without its
frequency weighting and with shorter parts, because there is a second of one voice at most.
"""

from __future__ import annotations

from collections import deque

import numpy as np
import numpy.typing as npt

from junetts._audio import BYTES_PER_SAMPLE

TAIL_S = 1.5  # of speech is enough for its level, and recent enough to be what was just heard
PART_S = 0.05
AUDIBLE_DBFS = -50.0
RELATIVE_GATE_DB = -10.0
MAX_GAIN_DB = 12.0  # two voices differ by less; what differs by more is no level but a fault
SETTLED_S = 2.0
BLOCKS_PER_PART = 5
MIN_PARTS_TO_RAISE = 4  # the onset of a word is quieter than the word
FALL_PER_BLOCK = 0.5  # 6 dB in 10 ms: too loud is worse than too quiet
RISE_PER_BLOCK = 1.07  # 0.6 dB

_FULL_SCALE = 32768.0
_MAX, _MIN = 32767, -32768

Powers = npt.NDArray[np.float64]  # [part] mean squares, 1.0 being full scale


def gated_level(powers: Powers) -> float | None:
    """The level in dBFS of what is audible among parts of equal length; None if nothing is.

    0 dBFS is a square wave of full scale, so that a sine wave has -3 dBFS at most.
    """
    audible = _gated(powers)
    return None if not len(audible) else float(10.0 * np.log10(audible.mean()))


def _gated(powers: Powers) -> Powers:
    """The parts that count: audible, and not far below the mean of the audible ones."""
    audible: Powers = powers[powers > 10.0 ** (AUDIBLE_DBFS / 10.0)]
    if not len(audible):
        return audible
    loud: Powers = audible[audible > audible.mean() * 10.0 ** (RELATIVE_GATE_DB / 10.0)]
    return loud


def silent_s(pcm: bytes, *, sample_rate: int) -> float:
    """Seconds of s16le mono in which nothing is audible, in parts of 50 ms."""
    n_part = max(1, round(PART_S * sample_rate))
    samples = np.frombuffer(pcm, "<i2")
    parts = samples[: len(samples) // n_part * n_part].reshape(-1, n_part).astype(np.float64)
    powers = np.square(parts / _FULL_SCALE).mean(axis=1)
    n_silent = int(np.count_nonzero(powers <= 10.0 ** (AUDIBLE_DBFS / 10.0)))
    return n_silent * n_part / sample_rate


class LoudnessTail:
    """The end of what was heard, and how loud it is.

    Guarantees: taking audio in costs next to nothing, whatever is computed waits for `level`;
    memory is bounded by the tail and one piece; the level does not depend on how the audio was
    cut. Pieces are whole samples of s16le mono.
    """

    def __init__(self, *, sample_rate: int) -> None:
        self._n_part = max(1, round(PART_S * sample_rate))
        self._n_bytes = round(TAIL_S / PART_S) * self._n_part * BYTES_PER_SAMPLE
        self._pieces: deque[bytes] = deque()
        self._held = 0

    def heard(self, pcm: bytes) -> None:
        """Take in a piece."""
        pieces = self._pieces
        pieces.append(pcm)
        self._held += len(pcm)
        while self._held - len(pieces[0]) >= self._n_bytes:
            self._held -= len(pieces.popleft())

    def level(self) -> float | None:
        """The gated level of the tail in dBFS; None if nothing in it is audible.

        Less than a part at its beginning is left out, unless that is all there is.
        """
        samples = np.frombuffer(b"".join(self._pieces)[-self._n_bytes :], "<i2")
        if not len(samples):
            return None
        n_part = min(self._n_part, len(samples))
        parts = samples[len(samples) % n_part :].reshape(-1, n_part).astype(np.float64)
        return gated_level(np.square(parts / _FULL_SCALE).mean(axis=1))


class LoudnessMatch:
    """Brings a voice to a level.

    Guarantees: as many samples come out of `apply` as go in, and what they are does not depend
    on how they were cut: the gain follows from earlier samples alone, in blocks of 10 ms, so
    that nothing is held back. It stays within 12 dB either way and changes evenly, 12 dB taking
    20 ms or more. After 2 s of speech it stays where it is, except that a peak beyond full scale,
    which is clipped and never wraps, lowers it for good. A voice that is too loud is lowered at
    once; one that is too quiet is raised after 0.2 s of speech, since a word begins quietly.
    """

    def __init__(self, *, target_dbfs: float, sample_rate: int) -> None:
        self._target_dbfs = target_dbfs
        self._n_block = max(1, round(PART_S / BLOCKS_PER_PART * sample_rate))
        self._measure: _Measure | None = _Measure()
        self._from = self._to = self._wanted = 1.0  # gain where the block begins, ends, and later
        self._ceiling = 10.0 ** (MAX_GAIN_DB / 20.0)
        self._position = 0  # in the block
        self._square_sum = 0  # of the block so far; whole numbers, so that cuts do not matter
        self._peak = 0

    def apply(self, pcm: bytes) -> bytes:
        """The next samples at the level that is wanted; whole samples of s16le mono."""
        samples = np.frombuffer(pcm, "<i2")
        if self._is_steady(samples):
            self._position = (self._position + len(samples)) % self._n_block
            return np.rint(samples * self._to).astype("<i2").tobytes()
        pieces: list[bytes] = []
        while len(samples):
            n = self._n_block - self._position
            pieces.append(self._in_block(samples[:n]))
            samples = samples[n:]
        return b"".join(pieces)

    def _is_steady(self, samples: npt.NDArray[np.int16]) -> bool:
        """Whether nothing can change the gain before these samples are over."""
        if self._measure is not None or not self._from == self._to == self._wanted:
            return False
        peak = max(self._peak, _peak(samples))
        return not peak or _MAX / peak >= self._to

    def _in_block(self, samples: npt.NDArray[np.int16]) -> bytes:
        places = np.arange(self._position + 1, self._position + 1 + len(samples))
        gains = self._from + (self._to - self._from) / self._n_block * places
        self._square_sum += int(np.square(samples, dtype=np.int64).sum())
        self._peak = max(self._peak, _peak(samples))
        self._position += len(samples)
        if self._position == self._n_block:
            self._end_block()
        return np.clip(np.rint(samples * gains), _MIN, _MAX).astype("<i2").tobytes()

    def _end_block(self) -> None:
        """Decide to which gain the next block leads."""
        if self._peak:
            self._ceiling = min(self._ceiling, _MAX / self._peak)
        if self._measure is not None:
            self._measure.add(self._square_sum / (self._n_block * _FULL_SCALE**2))
            self._wanted = self._measure.gain(self._target_dbfs, now=self._wanted)
            if self._measure.is_settled:
                self._measure = None
        self._wanted = min(self._wanted, self._ceiling)
        self._from = self._to
        self._to = min(max(self._wanted, self._from * FALL_PER_BLOCK), self._from * RISE_PER_BLOCK)
        self._position = self._square_sum = self._peak = 0


class _Measure:
    """The level of a voice as it begins to speak."""

    def __init__(self) -> None:
        self._parts: list[float] = []
        self._blocks: list[float] = []

    @property
    def is_settled(self) -> bool:
        """Whether there was speech enough."""
        return len(_gated(np.array(self._parts))) * PART_S >= SETTLED_S

    def add(self, power: float) -> None:
        """Take in a block's mean square."""
        self._blocks.append(power)
        if len(self._blocks) == BLOCKS_PER_PART:
            part = sum(self._blocks) / BLOCKS_PER_PART
            self._blocks.clear()
            if part > 10.0 ** (AUDIBLE_DBFS / 10.0):
                self._parts.append(part)

    def gain(self, target_dbfs: float, *, now: float) -> float:
        """The factor that leads to a level; ``now`` as long as it is too early to tell."""
        begun = [sum(self._blocks) / len(self._blocks)] if self._blocks else []
        level_dbfs = gated_level(np.array([*self._parts, *begun]))
        if level_dbfs is None:
            return now
        gain_db = min(max(target_dbfs - level_dbfs, -MAX_GAIN_DB), MAX_GAIN_DB)
        gain = float(10.0 ** (gain_db / 20.0))
        return min(gain, now) if len(self._parts) < MIN_PARTS_TO_RAISE else gain


def _peak(samples: npt.NDArray[np.int16]) -> int:
    """How far the samples reach; both ends of the scale are equally far."""
    return max(int(samples.max()), -1 - int(samples.min())) if len(samples) else 0

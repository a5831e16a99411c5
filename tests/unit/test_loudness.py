"""How loud a voice is, and how another is made as loud."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest

from junetts._loudness import LoudnessMatch, LoudnessTail, gated_level

RATE = 16_000


def tone(level_dbfs: float, seconds: float, *, pitch_hz: float = 200.0) -> npt.NDArray[np.int16]:
    """A sine wave whose RMS has the given level."""
    t = np.arange(round(seconds * RATE)) / RATE
    amplitude = 10 ** (level_dbfs / 20) * np.sqrt(2) * 32768
    wave = np.rint(amplitude * np.sin(2 * np.pi * pitch_hz * t))
    return wave.clip(-32768, 32767).astype("<i2")


def silence(seconds: float) -> npt.NDArray[np.int16]:
    """Zeros."""
    return np.zeros(round(seconds * RATE), "<i2")


def level_of(*parts: npt.NDArray[np.int16]) -> float | None:
    """The level of the end of some audio."""
    tail = LoudnessTail(sample_rate=RATE)
    for part in parts:
        tail.heard(part.tobytes())
    return tail.level()


def match_to(target_dbfs: float) -> LoudnessMatch:
    """A match at the rate of these tests."""
    return LoudnessMatch(target_dbfs=target_dbfs, sample_rate=RATE)


def samples_of(pcm: bytes) -> npt.NDArray[np.int64]:
    """Wide enough to calculate with."""
    return np.frombuffer(pcm, "<i2").astype(np.int64)


@pytest.mark.parametrize("level_dbfs", [-6.0, -20.0, -45.0])
def test_a_steady_tone_has_its_own_level(level_dbfs: float) -> None:
    """Nothing is gated."""
    assert level_of(tone(level_dbfs, 2)) == pytest.approx(level_dbfs, abs=0.05)


def test_pauses_do_not_count() -> None:
    """A level is that of the speech, whether a pause is silent or merely much quieter."""
    assert level_of(tone(-20, 0.5), silence(0.8)) == pytest.approx(-20, abs=0.05)
    assert level_of(tone(-20, 0.5), tone(-40, 0.8)) == pytest.approx(-20, abs=0.05)
    quiet = level_of(tone(-20, 0.5), tone(-26, 0.5))
    assert quiet == pytest.approx(-22.04, abs=0.05)


@pytest.mark.parametrize("parts", [(), (silence(1),), (tone(-55, 1),), (silence(0),)])
def test_what_cannot_be_heard_has_no_level(parts: tuple[npt.NDArray[np.int16], ...]) -> None:
    """Nothing, silence, and what is as good as silence."""
    assert level_of(*parts) is None


def test_only_the_end_counts() -> None:
    """Speech from more than 1.5 s ago is forgotten, whole or in part."""
    assert level_of(tone(-10, 3), tone(-30, 1.5)) == pytest.approx(-30, abs=0.05)
    assert level_of(np.concatenate([tone(-10, 3), tone(-30, 1.5)])) == pytest.approx(-30, abs=0.05)


def test_a_moment_of_sound_has_a_level() -> None:
    """Even if it is shorter than the parts that are otherwise told apart."""
    assert level_of(tone(-20, 0.01)) == pytest.approx(-20, abs=0.1)
    assert level_of(tone(-20, 0.07)) == pytest.approx(-20, abs=0.1)


def test_the_end_is_never_left_out() -> None:
    """If the tail is no whole number of parts, its beginning is."""
    assert level_of(tone(-30, 0.03), tone(-10, 0.05)) == pytest.approx(-10, abs=0.05)


def test_the_tail_stays_small() -> None:
    """What is held does not grow with what was heard."""
    tail = LoudnessTail(sample_rate=RATE)
    piece = tone(-20, 0.1).tobytes()
    for _ in range(1000):
        tail.heard(piece)
    assert sum(map(len, tail._pieces)) <= 1.6 * RATE * 2


def test_levels_are_power_means() -> None:
    """The absolute gate comes first, then the one relative to what is left."""
    assert gated_level(np.array([])) is None
    assert gated_level(np.array([1e-6])) is None
    assert gated_level(np.array([0.1, 0.1, 0.0])) == pytest.approx(-10)
    assert gated_level(np.array([1.0, 0.03, 0.01])) == pytest.approx(0)


@pytest.mark.parametrize(
    ("level_dbfs", "expected"), [(-30, -22), (-14, -22), (-42, -30), (-6, -18)]
)
def test_the_level_is_approached_within_bounds(level_dbfs: float, expected: float) -> None:
    """By 12 dB at most either way."""
    out = samples_of(match_to(-22).apply(tone(level_dbfs, 4).tobytes()))
    assert level_of(out.astype("<i2")) == pytest.approx(expected, abs=0.1)


def test_too_loud_is_lowered_at_once() -> None:
    """The first 10 ms are as they were; 20 ms later the level is right."""
    before = tone(-10, 1)
    out = samples_of(match_to(-20).apply(before.tobytes()))
    n_block = RATE // 100
    assert (out[:n_block] == before[:n_block]).all()
    assert (np.abs(out[3 * n_block :]) <= 0.36 * 10 ** (-10 / 20) * 1.42 * 32768).all()


def test_the_gain_falls_evenly() -> None:
    """12 dB take 20 ms."""
    n_block = RATE // 100
    out = samples_of(match_to(-30).apply(np.full(RATE, 16_384, "<i2").tobytes()))
    assert out[2 * n_block - 1] == pytest.approx(8192, abs=2)
    assert np.abs(np.diff(out[: 2 * n_block])).max() <= 8192 / n_block + 1
    assert out[-1] == out[3 * n_block] == pytest.approx(16_384 * 10 ** (-12 / 20), abs=1)


def test_too_quiet_waits_for_a_fifth_of_a_second_of_speech() -> None:
    """Silence before it does not count; then the gain rises slowly."""
    before = np.concatenate([silence(0.5), tone(-30, 1)])
    out = samples_of(match_to(-20).apply(before.tobytes()))
    n_same, n_block = round(0.7 * RATE), RATE // 100
    assert (out[:n_same] == before[:n_same]).all()
    gain = np.abs(out[n_same : n_same + n_block]).max() / np.abs(before[:]).max()
    assert 1.0 < gain <= 1.08
    assert np.abs(out[n_same + 20 * n_block :]).max() > 3 * np.abs(before).max()


def test_the_gain_stays_once_settled() -> None:
    """After 2 s of speech neither louder nor quieter speech changes it."""
    match = match_to(-20)
    match.apply(tone(-26, 2.5).tobytes())
    for level_dbfs in (-40, -20, -30):
        before = tone(level_dbfs, 1.013)
        out = samples_of(match.apply(before.tobytes()))
        assert np.abs(out - before * 10 ** (6 / 20)).max() <= 0.005 * np.abs(out).max() + 1


def test_before_it_is_settled_the_gain_follows() -> None:
    """The level is that of all speech so far."""
    match = match_to(-20)
    match.apply(tone(-20, 0.9).tobytes())
    out = samples_of(match.apply(tone(-26, 2.5).tobytes()))
    assert np.abs(out[-400:]).max() > 1.2 * np.abs(tone(-26, 0.1)).max()


def test_peaks_lower_the_gain_for_good() -> None:
    """A peak beyond full scale is clipped, never wrapped; the next one has room."""
    match = match_to(-10)
    match.apply(tone(-20, 2.5).tobytes())
    burst = np.full(RATE // 50, 32767, "<i2")
    out = samples_of(match.apply(burst.tobytes()))
    assert out.max() == 32767
    assert out.min() > 0
    settled = samples_of(match.apply(np.concatenate([silence(0.1), burst]).tobytes()))[
        -len(burst) :
    ]
    assert settled.max() == settled.min() == 32767
    assert samples_of(match.apply(np.full(9, 1000, "<i2").tobytes())).max() == 1000


@pytest.mark.parametrize("cut", [1, 7, 100, 159, 160, 161, 1000])
def test_a_late_peak_lowers_the_gain_evenly_however_it_is_cut(cut: int) -> None:
    """Long after the gain has settled; the way down is a slope of a block."""
    audio = np.concatenate(
        [tone(-20, 0.0337), np.full(50, 30_000, "<i2"), np.full(700, 5000, "<i2")]
    )
    whole, pieces = match_to(-14), match_to(-14)
    for match in (whole, pieces):
        match.apply(tone(-20, 2.5).tobytes())
    expected = whole.apply(audio.tobytes())
    cuts = [audio[i : i + cut].tobytes() for i in range(0, len(audio), cut)]
    assert b"".join(map(pieces.apply, cuts)) == expected
    quiet = samples_of(expected)[-690:]
    assert np.abs(np.diff(quiet)).max() <= 5000 / (RATE / 100)
    assert 5400 < quiet[-1] < 5500 < 9900 < quiet[0]


def test_full_scale_may_stay_full_scale() -> None:
    """Both ends of the scale pass unchanged where nothing is to be changed."""
    square = np.tile(np.array([32767, -32768], "<i2"), RATE * 2)
    out = match_to(0.0).apply(square.tobytes())
    assert out == square.tobytes()


def test_silence_stays_silence() -> None:
    """And is no reason to change anything."""
    match = match_to(-10)
    assert match.apply(silence(3).tobytes()) == silence(3).tobytes()
    assert match.apply(b"") == b""
    quiet = tone(-60, 3).tobytes()
    assert match.apply(quiet) == quiet

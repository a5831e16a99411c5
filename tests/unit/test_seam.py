"""Where one voice goes on for another: edges and loudness."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from junetts._audio import AudioFormat
from junetts._backend import BackendAudio
from junetts._seam import FADE_S, FadeIn, Seam, fade_out

RATE = 44_100
N_FADE = int(FADE_S * RATE)


@pytest.mark.parametrize("last", [32_767, -32_768, 1, 0])
def test_the_tail_leads_to_silence(last: int) -> None:
    """It begins next to the last sample and ends at zero, in even steps."""
    pcm = np.array([5, last], "<i2").tobytes()
    tail = np.frombuffer(fade_out(pcm, sample_rate=RATE), "<i2").astype(int)
    assert len(tail) == N_FADE
    assert tail[-1] == 0
    steps = np.abs(np.diff(np.concatenate([[last], tail])))
    assert steps.max() <= abs(last) / N_FADE + 1


@pytest.mark.parametrize("cut", [2, 14, 1000])
def test_the_beginning_rises_however_it_is_cut(cut: int) -> None:
    """Pieces joined are what the whole would be; after the fade nothing is changed."""
    whole = np.full(1000, -30_000, "<i2").tobytes()
    fade = FadeIn(sample_rate=RATE)
    pieces = [fade.apply(whole[i : i + cut]) for i in range(0, len(whole), cut)]
    assert b"".join(pieces) == FadeIn(sample_rate=RATE).apply(whole)
    samples = np.frombuffer(b"".join(pieces), "<i2")
    assert np.array_equal(samples[:N_FADE], np.rint(np.arange(N_FADE) * -30_000 / N_FADE))
    assert (samples[N_FADE:] == -30_000).all()
    assert fade.is_over
    assert fade.apply(b"") == b""


def item(amplitude: int, *, seconds: float = 1.0) -> BackendAudio:
    """A square wave, as loud as it can be said."""
    n_samples = round(seconds * 8000)
    wave = np.where(np.arange(n_samples) % 40 < 20, amplitude, -amplitude).astype("<i2")
    return BackendAudio(segment=0, format=AudioFormat(sample_rate=8000), data=wave.tobytes())


def loudness(heard: BackendAudio) -> float:
    """The mean amplitude of its second half."""
    samples = np.abs(np.frombuffer(heard.data, "<i2").astype(float))
    return float(samples[len(samples) // 2 :].mean())


def test_until_there_is_a_seam_nothing_is_touched() -> None:
    """The very items pass."""
    seam = Seam(matches_loudness=True)
    given = item(1000)
    assert seam.joined(given) is given


def test_the_next_voice_is_as_loud_as_the_last() -> None:
    """Whether it is louder or quieter by itself."""
    for amplitude in (2000, 16_000):
        seam = Seam(matches_loudness=True)
        seam.joined(item(8000))
        seam.join()
        assert loudness(seam.joined(item(amplitude, seconds=4))) == pytest.approx(8000, rel=0.1)


def test_a_loud_voice_does_not_begin_with_a_thump() -> None:
    """It rises while it is measured."""
    seam = Seam(matches_loudness=True)
    seam.joined(item(4000))
    seam.join()
    begins = np.abs(np.frombuffer(seam.joined(item(16_000)).data, "<i2").astype(float))
    windows = begins[:800].reshape(-1, 160).mean(axis=1)  # of 20 ms
    assert windows.max() < 1.5 * 4000


def test_silence_before_a_break_is_no_measure() -> None:
    """The next is matched to what was last heard, with a gain of its own."""
    seam = Seam(matches_loudness=True)
    seam.joined(item(8000))
    seam.join()
    seam.joined(item(2000, seconds=3))
    seam.joined(item(0, seconds=3))
    seam.join()
    assert loudness(seam.joined(item(16_000, seconds=4))) == pytest.approx(8000, rel=0.1)


def test_without_matching_only_the_edge_is_softened() -> None:
    """After 5 ms samples are what they were."""
    seam = Seam(matches_loudness=False)
    seam.joined(item(8000))
    seam.join()
    samples = np.frombuffer(seam.joined(item(1000)).data, "<i2")
    assert samples[0] == 0
    assert np.array_equal(samples[40:], np.frombuffer(item(1000).data, "<i2")[40:])


def test_the_last_of_a_broken_voice_leads_to_silence() -> None:
    """From its last sample, as it was heard."""
    seam = Seam(matches_loudness=False)
    last = seam.last(seam.joined(replace(item(8000), words=())))
    samples = np.frombuffer(last.data, "<i2")
    assert (len(samples), samples[-1]) == (40, 0)
    assert last.words is None


@pytest.mark.parametrize("matches_loudness", [True, False])
def test_after_a_seam_the_cuts_make_no_difference(matches_loudness: bool) -> None:
    """Items joined are what one item would be, shorter than a fade or longer."""

    def after_a_seam(n_bytes: int) -> bytes:
        seam = Seam(matches_loudness=matches_loudness)
        seam.joined(item(8000))
        seam.join()
        whole = item(2000, seconds=2.0)
        pieces = [whole.data[i : i + n_bytes] for i in range(0, len(whole.data), n_bytes)]
        return b"".join(seam.joined(replace(whole, data=piece)).data for piece in pieces)

    for n_bytes in (10, 1000, 9998):
        assert after_a_seam(n_bytes) == after_a_seam(1_000_000)


def test_the_measure_is_what_was_heard_last() -> None:
    """Not what was heard first: a voice may become louder in the course of time."""
    seam = Seam(matches_loudness=True)
    seam.joined(item(2000))
    seam.join()
    heard = [loudness(seam.joined(item(amplitude, seconds=8))) for amplitude in (2000, 20_000)]
    seam.join()
    next_one = loudness(seam.joined(item(10_000, seconds=4)))
    assert heard[1] > 1.5 * heard[0]
    assert next_one == pytest.approx(heard[1], rel=0.1)

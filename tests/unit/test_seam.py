"""Fades at both sides of a seam."""

from __future__ import annotations

import numpy as np
import pytest

from junetts._seam import FADE_S, FadeIn, fade_out

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
    assert samples[0] == 0
    assert (samples[N_FADE:] == -30_000).all()
    assert fade.is_over
    assert fade.apply(b"") == b""

"""Whatever words are spoken, and however they are broken off, cut and fed: they are heard."""

from __future__ import annotations

import asyncio

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from junetts._backend import BackendAudio
from junetts._utterance import Utterance
from junetts.testing import ToneBackend, ToneVoice
from junetts.testing._contract_checks import given as segments_of

RATE = 8_000
WORDS = [f"w{i:03d}" for i in range(500)] + ["I", "a", "on", "the", "unbelievable", "2026"]
VOICE = ToneVoice(WORDS, sample_rate=RATE)

words = st.lists(st.sampled_from(WORDS), min_size=1, max_size=8)
spaces = st.sampled_from([" ", "  ", ", ", ". ", "! — ", " [laugh] "])


@given(words=words, space=spaces)
def test_every_text_is_heard(words: list[str], space: str) -> None:
    """Any words in any order, also the same one again and again, with any punctuation."""
    text = space.join(words) + "."
    heard = VOICE.hear(VOICE.speak(text), RATE)
    assert [str(word) for word in heard] == [word.lower() for word in words]
    assert VOICE.spoken(text) == tuple(word.lower() for word in words)


@given(words=words, share=st.floats(0, 1), again=words)
def test_every_break_is_heard_exactly(words: list[str], share: float, again: list[str]) -> None:
    """Speech that breaks off anywhere: the words before are whole, the last is a fragment."""
    text = " ".join(words)
    pcm = VOICE.speak(text)
    cut_s = round(share * len(pcm) / 2) / RATE
    heard = VOICE.hear(pcm[: 2 * round(cut_s * RATE)] + VOICE.speak(" ".join(again)), RATE)
    times = VOICE.words(text)
    n_whole = sum(time.end_s <= cut_s + 0.004 for time in times)
    n_sure = sum(cut_s - time.start_s >= 0.010 for time in times)
    before = heard[: len(heard) - len(again)]
    assert [str(word) for word in heard[len(before) :]] == [word.lower() for word in again]
    assert n_sure <= len(before) <= len(words)
    whole = [word.lower() for word in words]
    assert [str(word) for word in before[:n_whole]] == whole[:n_whole]
    assert len(before) <= n_whole + 1


@given(words=words, start=st.floats(0.05, 0.2), length=st.floats(0.02, 0.2))
def test_every_piece_is_one_of_its_words(words: list[str], start: float, length: float) -> None:
    """A piece out of the middle is heard as words of the text, in their order."""
    samples = np.frombuffer(VOICE.speak(" ".join(words)), "<i2")
    first = round(start * RATE)
    heard = VOICE.hear(samples[first : first + round(length * RATE)], RATE)
    left = iter(word.lower() for word in words)
    assert all(word.word in left for word in heard if word.end_s - word.start_s >= 0.02)


@given(words=words, chunk_s=st.floats(0.001, 1.0))
def test_pieces_of_any_length_are_the_same_speech(words: list[str], chunk_s: float) -> None:
    """The backend's audio, joined, is the voice's; its last word times are the voice's, too."""
    text = " ".join(words)

    async def spoken() -> list[BackendAudio]:
        backend = ToneBackend(VOICE, chunk_s=chunk_s)
        async with backend.speak(Utterance(), segments_of(text)) as audio:
            return [item async for item in audio]

    items = asyncio.run(spoken())
    assert b"".join(item.data for item in items) == VOICE.speak(text)
    told = [item.words for item in items if item.words is not None]
    assert told[-1] == VOICE.words(text)
    assert [len(words) for words in told] == sorted(len(words) for words in told)

"""How the fault benchmark's text sounds, and how it is recognised: each word has its own pitch."""

from __future__ import annotations

from _faults_listener import SAMPLE_RATE, WORDS
from junetts.testing.tone_voice import ToneVoice

VOICE = ToneVoice(WORDS, sample_rate=SAMPLE_RATE)


def speak(text: str, *, until: str | None = None) -> tuple[bytes, bool]:
    """Signed 16 bit mono PCM up to the middle of a word; says whether that word was in the text."""
    names = VOICE.spoken(text)
    pcm = VOICE.speak(text)
    if until is None or until not in names:
        return pcm, False
    time = VOICE.words(text)[names.index(until)]
    return pcm[: 2 * int((time.start_s + time.end_s) / 2 * SAMPLE_RATE)], True


def hear(pcm: bytes) -> list[tuple[int, bool]]:
    """The words that are heard: the place of each in the text, from one, and whether it is whole.

    A sound that is no word of the text has the place 0.
    """
    heard = VOICE.hear(pcm[: len(pcm) // 2 * 2], SAMPLE_RATE)
    places = {word: i for i, word in enumerate(WORDS, 1)}
    return [(places.get(word.word or "", 0), word.is_whole) for word in heard]

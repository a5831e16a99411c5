"""The text that is spoken in every case: three sentences in which no word comes twice."""

from __future__ import annotations

from dataclasses import dataclass

from junetts.testing import ToneVoice, Where, after_bytes

SENTENCES = (
    "Amber birds carry distant echoes forward. ",
    "Gentle hills invite jolly kindred lads. ",
    "Many noble otters paddle quietly.",
)
TEXT = "".join(SENTENCES)
# What a model writes at once: sentences end inside a piece, and words are cut in two.
PIECES = (TEXT[:30], TEXT[30:58], TEXT[58:97], TEXT[97:])
VOICE = ToneVoice(TEXT.split(), sample_rate=8_000, capacity=64)
BYTES_PER_SAMPLE = 2
MIDDLE_WORD = 3  # of each sentence: the fault strikes inside it
MIDDLE_SHARE = 0.6


@dataclass(frozen=True, slots=True, kw_only=True)
class Word:
    """One word of the text.

    Attributes:
        name: as it is heard.
        segment: the sentence that it belongs to.
        offset: where it begins in its sentence.
    """

    name: str
    segment: int
    offset: int


def _words() -> tuple[Word, ...]:
    return tuple(
        Word(name=VOICE.spoken(token)[0], segment=index, offset=sentence.index(token))
        for index, sentence in enumerate(SENTENCES)
        for token in sentence.split()
    )


WORDS = _words()
PLACE_OF = {word.name: place for place, word in enumerate(WORDS)}


def first_word_of(segment: int) -> int:
    """The place of a segment's first word among all words."""
    return next(place for place, word in enumerate(WORDS) if word.segment == segment)


def middle_of(segment: int, *, sample_rate: int) -> Where:
    """In a word in the middle of the segment, and in the middle of a sample."""
    word = VOICE.words(SENTENCES[segment])[MIDDLE_WORD]
    at_s = word.start_s + MIDDLE_SHARE * (word.end_s - word.start_s)
    return after_bytes(int(at_s * sample_rate) * BYTES_PER_SAMPLE + 1)

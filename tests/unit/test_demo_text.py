"""What the demo voice reads out, and the words in it."""

from __future__ import annotations

import pytest

from junetts._report import WordTime
from junetts.backends._demo_frames import WordEvent
from junetts.backends._demo_text import WordTimer, masked


@pytest.mark.parametrize(
    ("text", "spoken"),
    [
        ("Hi [laugh] there", "Hi         there"),
        ("<|speaker:0|>Hi", "             Hi"),
        ("[whisper in small voice]Hi", " " * 24 + "Hi"),
        ("see [3] and [4a]", "see [3] and [4a]"),
        ("a [ b", "a [ b"),
        ("[[h@l'oU]]", "[        ]"),
        ("[" + "x" * 61 + "]", "[" + "x" * 61 + "]"),
        ("\x01175S a\0b\ud800\ue000", " 175S a b  "),
        ("one\n\ntwo\tthree", "one\n\ntwo\tthree"),
    ],
)
def test_masked(text: str, spoken: str) -> None:
    """Tags and control characters become as many blanks; text in brackets that is none stays."""
    assert masked(text) == spoken
    assert len(spoken) == len(text)


def _times(*words: tuple[str, float, float]) -> tuple[WordTime, ...]:
    return tuple(
        WordTime(text=text, start_s=start, end_s=end, provenance="native")
        for text, start, end in words
    )


def _events(*events: tuple[int, int, int]) -> list[WordEvent]:
    return [WordEvent(*event) for event in events]


def test_words_end_where_the_next_begins() -> None:
    """A word lasts until the next one, the last one as long as the segment."""
    timer = WordTimer("Hello, world!", 10)
    timer.add(_events((0, 5, 0), (7, 5, 10)))
    assert timer.all(2.0) == _times(("Hello", 0, 1), ("world", 1, 2))


def test_words_end_where_a_pause_begins() -> None:
    """A pause belongs to no word."""
    timer = WordTimer("Hello, world!", 10)
    timer.add(_events((0, 5, 0), (0, 0, 8), (7, 5, 10), (0, 0, 16)))
    assert timer.all(2.0) == _times(("Hello", 0, 0.8), ("world", 1, 1.6))


def test_a_pause_within_a_word() -> None:
    """A number is one word, with the pauses between its digits."""
    timer = WordTimer("3.14 a", 10)
    timer.add(_events((0, 4, 0), (1, 4, 1), (0, 0, 2), (1, 4, 3), (5, 1, 9)))
    assert timer.all(1.0) == _times(("3.14", 0, 0.9), ("a", 0.9, 1))


def test_a_leading_pause() -> None:
    """A pause before the first word is nobody's."""
    timer = WordTimer("a", 10)
    timer.add(_events((0, 0, 0), (0, 1, 1)))
    assert timer.all(1.0) == _times(("a", 0.1, 1))


@pytest.mark.parametrize(
    ("text", "position", "word"),
    [
        ("don't you", 0, "don't"),
        ("of the cake", 0, "of the"),
        ("U.S.A. (or", 0, "U.S.A"),
        ("C++, or", 0, "C++"),
        ("Hi [laugh] you", 0, "Hi"),
        ("क्या तुम", 0, "क्या"),
        ("!? you", 0, "!?"),
    ],
)
def test_word_text(text: str, position: int, word: str) -> None:
    """A word is the text up to the next one, without blanks, punctuation and tags after it."""
    timer = WordTimer(text, 10)
    timer.add(_events((position, 1, 0), (text.rindex(" ") + 1, 3, 5)))
    assert timer.all(1.0)[0].text == word


def test_events_beyond_the_text() -> None:
    """Some symbols are two spoken words, the second of them nowhere in the text."""
    timer = WordTimer("😀", 10)
    timer.add(_events((0, 1, 0), (1, 1, 5)))
    assert timer.all(1.0) == _times(("😀", 0, 1))


def test_news() -> None:
    """While speech goes on only words with a known end are told, each set once."""
    timer = WordTimer("a b c d", 10)
    assert timer.news(10) is None
    timer.add(_events((0, 1, 0)))
    assert timer.news(10) is None
    timer.add(_events((2, 1, 5)))
    assert timer.news(10) == _times(("a", 0, 0.5))
    assert timer.news(10) is None
    timer.add(_events((4, 1, 6), (6, 1, 7)))
    assert timer.news(2) is None
    assert timer.news(3) == _times(("a", 0, 0.5), ("b", 0.5, 0.6), ("c", 0.6, 0.7))


def test_no_words() -> None:
    """Without events there are no words."""
    assert WordTimer("a", 10).all(1.0) == ()

"""Whatever the text and the synthesiser's events: words in order, and slices of the text."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from junetts.backends._demo_frames import WordEvent
from junetts.backends._demo_text import WordTimer, masked

TEXT = st.text(st.sampled_from("ab1. ,-'[]<|>!\n\x01\u0301é你😀")) | st.text()
EVENTS = st.lists(st.tuples(st.integers(0, 40), st.integers(0, 9), st.integers(0, 1000)))


@given(TEXT)
def test_masking_moves_nothing(text: str) -> None:
    """The masked text is as long as the text, and every character is itself or a blank."""
    blanked = masked(text)
    assert len(blanked) == len(text)
    assert all(new in (old, " ") for old, new in zip(text, blanked, strict=True))
    assert masked(blanked).encode().count(0) == 0


@given(TEXT, EVENTS)
def test_words_are_slices_in_order(text: str, events: list[tuple[int, int, int]]) -> None:
    """Words appear in the text one after another and no two of them overlap in time."""
    timer = WordTimer(text, 1000)
    times = sorted(sample for _, _, sample in events)
    for (position, length, _), sample in zip(events, times, strict=True):
        timer.add([WordEvent(position, length, sample)])
        timer.news(5)
    words = timer.all(1.0)
    start, start_s = 0, 0.0
    for word in words:
        assert word.text.strip()
        start = text.index(word.text, start) + len(word.text)
        assert start_s <= word.start_s <= word.end_s <= 1.0
        start_s = word.start_s

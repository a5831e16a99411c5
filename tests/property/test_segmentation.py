"""Segmentation: whatever the text and however it is cut up, the segments are its text."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from junetts._segmentation import LIMIT, Segmenter, is_speakable

PIECES = st.sampled_from(
    [
        "Hello", "a", "world", "Dr. ", "e.g. ", "U.S. ", "3.14", "1,000", " ", "  ", "\n", "\n\n",
        "\n \n", ". ", "! ", "? ", "...", ", ", "; ", " - ", "[laugh]", "[soft tone] ",
        "<|speaker:1|>", "<|", "<", "|>", "[", "]", "(", ") ", '" ', "https://a.b/c?d=e. ",
        "me@x.org", "\u4f60\u597d\u3002", "\uff0c", "\u00fc", "\U0001f600", "\u200d", "e\u0301",
        "\u0928\u092e\u0938\u094d\u0924\u0947\u0964 ", "x" * 50, "word " * 20, "\u3000", "\u061f ",
    ]
)  # fmt: skip
TEXTS = st.one_of(
    st.lists(PIECES, max_size=60).map("".join),
    st.text(st.characters(exclude_categories=["Cs"]), max_size=400),
    st.text("ab. \n,[]<|>", max_size=700),
)
LANGUAGES = st.sampled_from([None, "en", "de-AT", "zh", "xx", "", "EN"])


def segments_of(*pieces: str, language: str | None = None, flush_at: int = -1) -> list[str]:
    """The segments of a text that arrives in pieces, taken as early as possible."""
    segmenter = Segmenter(language=language)
    texts: list[str] = []
    for number, piece in enumerate(pieces):
        segmenter.push(piece)
        if number == flush_at:
            segmenter.flush()
        while (segment := segmenter.take()) is not None:
            assert segment.index == len(texts)
            texts.append(segment.text)
    segmenter.flush()
    while (segment := segmenter.take()) is not None:
        texts.append(segment.text)
    assert segmenter.remaining == ""
    return texts


def cut(text: str, cuts: list[int]) -> list[str]:
    """The text in pieces."""
    edges = [0, *sorted(c % (len(text) + 1) for c in cuts), len(text)]
    return [text[a:b] for a, b in pairwise(edges)]


@given(TEXTS, LANGUAGES)
@settings(max_examples=150, deadline=None)
@example("a" * 299 + "<|speaker:1|>" + "b" * 400, None)
def test_segments_are_the_text(text: str, language: str | None) -> None:
    """Joined, the segments are the text; none is empty or too long."""
    texts = segments_of(text, language=language)
    assert "".join(texts) == text
    assert all(0 < len(one) <= LIMIT for one in texts)


@given(TEXTS, st.lists(st.integers(0, 1000), max_size=12), LANGUAGES)
@settings(max_examples=150, deadline=None)
def test_cuts_do_not_depend_on_how_text_arrives(
    text: str, cuts: list[int], language: str | None
) -> None:
    """The same text in any pieces, characters included, gives the same segments."""
    whole = segments_of(text, language=language)
    assert segments_of(*cut(text, cuts), language=language) == whole
    assert segments_of(*text, language=language) == whole


@given(TEXTS, st.lists(st.integers(0, 1000), min_size=1, max_size=5), st.integers(0, 5))
@settings(max_examples=100, deadline=None)
def test_a_flush_ends_a_segment(text: str, cuts: list[int], flush_at: int) -> None:
    """No segment spans a flush, and no text is lost by one."""
    pieces = cut(text, cuts)
    flush_at %= len(pieces)
    texts = segments_of(*pieces, flush_at=flush_at)
    assert "".join(texts) == text
    edges = {0}
    for one in texts:
        edges.add(max(edges) + len(one))
    assert len("".join(pieces[: flush_at + 1])) in edges


TAGS = st.sampled_from(["[laugh]", "[soft tone]", "<|speaker:1|>", "<|speaker:12|>"])
WORDS = st.sampled_from(["word", "Hello. ", ", and so ", " ", "x" * 40, "y" * 90, "no space"])


@given(st.lists(st.one_of(TAGS, WORDS), max_size=40))
@settings(max_examples=200, deadline=None)
@example([*["y" * 90] * 3, "x" * 29, "<|speaker:1|>", *["y" * 90] * 3])
@example([*["y" * 90] * 3, "x" * 28, "<|speaker:1|>", *["y" * 90] * 3])
@example([*["y" * 90] * 3, "x" * 20, "[soft tone]", *["y" * 90] * 3])
def test_no_cut_falls_inside_a_tag(pieces: list[str]) -> None:
    """A tag is in one segment, or it would be read out."""
    texts = segments_of("".join(pieces))
    for tag in ("[laugh]", "[soft tone]", "<|speaker:1|>", "<|speaker:12|>"):
        assert sum(one.count(tag) for one in texts) == "".join(pieces).count(tag)


@given(TEXTS)
@settings(max_examples=100, deadline=None)
def test_speakable_is_what_has_a_letter_or_digit(text: str) -> None:
    """Tags count as speech only where they are asked to."""
    assert is_speakable(text) == any(c.isalnum() for c in text)
    assert is_speakable(text + "[laugh]")
    if not is_speakable(text, tags_count=False):
        assert not is_speakable(
            text.translate(str.maketrans("", "", "[]<|>")), tags_count=False
        ) or ("[" in text or "<|" in text)


@pytest.mark.long
@given(TEXTS, st.lists(st.integers(0, 1000), max_size=12), LANGUAGES)
@settings(max_examples=100_000, deadline=None)
@pytest.mark.timeout(3600)
def test_cuts_do_not_depend_on_how_text_arrives_long(
    text: str, cuts: list[int], language: str | None
) -> None:
    """The same text in any pieces gives the same segments, very often."""
    whole = segments_of(text, language=language)
    assert "".join(whole) == text
    assert segments_of(*cut(text, cuts), language=language) == whole

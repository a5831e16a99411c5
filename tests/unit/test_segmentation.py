"""Where text is cut, and where it is not."""

from __future__ import annotations

import pytest

from junetts._segmentation import FIRST_LIMIT, LIMIT, Segmenter, is_speakable


def cut(text: str, *, language: str | None = None) -> list[str]:
    """The segments of a whole text."""
    segmenter = Segmenter(language=language)
    segmenter.push(text)
    segmenter.flush()
    texts = []
    while (segment := segmenter.take()) is not None:
        texts.append(segment.text)
    return texts


@pytest.mark.parametrize(
    "texts",
    [
        ["Hello there. ", "How are you? ", "Fine!"],
        ["Dr. Smith paid 3.50 at 10 a.m. to Mr. Jones. ", "He left."],
        ["See https://example.org/a.b?c=d. ", "Then go."],
        ["He said \u201cStop.\u201d ", "She did."],
        ["Gr\u00f6\u00dfe z\u00e4hlt. ", "\u00dcbung auch."],
        ["\u4f60\u597d\u3002", "\u518d\u89c1\u3002"],
        ["\u0928\u092e\u0938\u094d\u0924\u0947\u0964 ", "\u0915\u0948\u0938\u0947\u0964"],
        ["A title\n\n", "Then a paragraph."],
        ["A title\n \t\n  ", "Then a paragraph."],
        ["One line\nand the next."],
        ["[soft tone. and. slow.] Hello there. ", "Bye."],
        ["<|speaker:1|>Hello there. ", "<|speaker:2|>Bye now."],
        ["... Well then. ", "Yes."],
        ["1. First thing. ", "Next."],
    ],
)
def test_sentences_are_segments(texts: list[str]) -> None:
    """One sentence per segment, with the white space that follows it."""
    assert cut("".join(texts)) == texts


def test_nothing_is_no_segment() -> None:
    """Empty text, flushed or not, has no segments."""
    segmenter = Segmenter()
    assert segmenter.take() is None
    segmenter.flush()
    segmenter.push("")
    assert segmenter.take() is None


def test_a_long_first_sentence_ends_at_a_clause() -> None:
    """For early sound, the first segment may end at a comma; the next ones are whole sentences."""
    clause = "and then we walked along the river for a while, "
    first, *others = cut("So it began, " + clause * 3 + "and slept. " + clause * 3 + "we woke.")
    assert first == "So it began, " + clause
    assert len(first) <= FIRST_LIMIT
    assert others == [clause * 2 + "and slept. ", clause * 3 + "we woke."]


def test_a_sentence_beyond_the_limit_is_cut_at_a_space() -> None:
    """Without any punctuation, words stay whole."""
    texts = cut("word " * 200)
    assert all(len(one) <= LIMIT and one.endswith(" ") for one in texts)


@pytest.mark.parametrize("length", [LIMIT, LIMIT + 1, LIMIT + 11, LIMIT + 12, 3 * LIMIT])
def test_no_segment_exceeds_the_limit(length: int) -> None:
    """Text without any place to cut is cut at the limit."""
    texts = cut("x" * length)
    assert [len(one) for one in texts] == [
        min(LIMIT, length - at) for at in range(0, length, LIMIT)
    ]


def test_a_forced_cut_spares_characters() -> None:
    """Combining marks and joined emoji are not torn from what they belong to."""
    family = "\U0001f468\u200d\U0001f469\u200d\U0001f467"
    for filler in ("e\u0301" * 400, "a" + "e\u0301" * 400, family * 100, "a" + family * 100):
        for one in cut(filler)[1:]:
            assert one[0] not in "\u0301\u200d"
        assert not any(one.endswith("\u200d") for one in cut(filler))


def test_hopeless_text_is_cut_at_the_limit() -> None:
    """Where every place is bad, the limit decides."""
    texts = cut("a" + "\u0301" * 700)
    assert [len(one) for one in texts] == [300, 300, 101]
    assert [len(one) for one in cut("[" * 601)] == [300, 300, 1]


def test_a_cut_waits_for_what_it_depends_on() -> None:
    """An abbreviation may turn out to be one; a flush decides without waiting."""
    segmenter = Segmenter()
    segmenter.push("I met Dr. ")
    assert segmenter.take() is None
    segmenter.push("Smith. He")
    assert segmenter.take() is None
    assert segmenter.remaining == "I met Dr. Smith. He"
    segmenter.flush()
    first, second = segmenter.take(), segmenter.take()
    assert first is not None
    assert second is not None
    assert (first.text, second.text) == ("I met Dr. Smith. ", "He")
    assert segmenter.take() is None
    segmenter.push(" said no")
    assert segmenter.take() is None
    assert segmenter.remaining == " said no"


def test_text_after_a_flush_is_another_segment() -> None:
    """A flush holds though more text follows before anyone asks."""
    segmenter = Segmenter()
    segmenter.push("Let me")
    segmenter.flush()
    segmenter.push(" see")
    segmenter.push(" now")
    first = segmenter.take()
    assert first is not None
    assert (first.text, segmenter.take(), segmenter.remaining) == ("Let me", None, " see now")


def test_a_clause_inside_a_tag_is_none() -> None:
    """A comma between brackets is no place to cut."""
    tag = "[very soft, and slow, and sad]"
    texts = cut("And so we went, " + "on and on " * 6 + tag + " and on" * 60)
    assert sum(one.count(tag) for one in texts) == 1


def test_languages_differ() -> None:
    """An abbreviation of one language is a word in another; an unknown language still works."""
    text = "Das ist z.B. Brot. Es schmeckt."
    assert cut(text, language="de-AT") == ["Das ist z.B. Brot. ", "Es schmeckt."]
    assert cut("One one. Two two.", language="tlh") == ["One one. ", "Two two."]


def test_what_is_speakable() -> None:
    """A letter or digit of any script; tags only where they count."""
    assert not any(map(is_speakable, ("", " ", "...", "\U0001f600", "\u3002", "-")))
    assert all(map(is_speakable, ("a", "1", "\u4f60", "\u0928", "[laugh]")))
    assert not is_speakable("[laugh] <|speaker:1|>!", tags_count=False)
    assert is_speakable("[laugh] ha", tags_count=False)


def test_a_megabyte_takes_a_moment() -> None:
    """Length does not make segmentation quadratic; 20 s would be a failure of this test."""
    text = "This is a sentence of a long book. " * 30_000
    assert "".join(cut(text)) == text

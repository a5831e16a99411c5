"""What the journal counts as spoken."""

from __future__ import annotations

import pytest

from junetts._journal import Journal
from junetts._report import WordTime
from junetts._utterance import Segment


def journal_of(*texts: str) -> Journal:
    """A journal with segments; those without a letter are not speakable."""
    journal = Journal(1000)
    for index, text in enumerate(texts):
        journal.add(Segment(index=index, text=text), speakable=text.strip().isalpha())
    return journal


def states(journal: Journal) -> list[str]:
    """Each segment's state."""
    return [segment.state for segment in journal.segments()]


def test_a_segment_is_spoken_when_its_audio_has_ended() -> None:
    """Audio alone does not make a segment spoken; its end does."""
    journal = journal_of("one ", "two")
    assert journal.heard(0, 100, backend="a") == 0
    assert (journal.spoken_text, journal.unspoken_text) == ("", "one two")
    assert states(journal) == ["speaking", "unspoken"]
    journal.ended(0, backend="a")
    assert (journal.spoken_text, journal.unspoken_text) == ("one ", "two")
    assert journal.heard(1, 50, backend="b") == pytest.approx(0.1)
    journal.ended(1, backend="b")
    first, second = journal.segments()
    assert (first.start_s, first.duration_s, first.backend) == (0, 0.1, "a")
    assert (second.start_s, second.duration_s, second.backend) == (0.1, 0.05, "b")
    assert journal.n_samples == 150
    assert journal.bytes_begun() == {"a": 4, "b": 3}


def test_unspeakable_text_needs_no_audio() -> None:
    """Punctuation counts as spoken once the text before it is."""
    journal = journal_of("... ", "one", " !!!", "two")
    assert journal.spoken_text == "... "
    journal.ended(1, backend="a")
    assert journal.spoken_text == "... one !!!"
    assert states(journal) == ["spoken", "spoken", "spoken", "unspoken"]
    assert journal.bytes_begun() == {"a": 3}


def test_a_segment_may_end_without_audio() -> None:
    """A tag may be spoken in silence."""
    journal = journal_of("one")
    journal.ended(0, backend="a")
    assert states(journal) == ["spoken"]
    assert journal.segments()[0].backend == "a"


def test_what_broke_off_is_abandoned() -> None:
    """Closing leaves a segment in the middle abandoned, and others as they are."""
    journal = journal_of("one", "two", "three")
    journal.ended(0, backend="a")
    journal.heard(1, 10, backend="a")
    journal.close()
    assert states(journal) == ["spoken", "abandoned", "unspoken"]
    assert (journal.spoken_text, journal.unspoken_text) == ("one", "twothree")


@pytest.mark.parametrize("close", [True, False])
def test_nothing_follows_the_end_of_a_segment(close: bool) -> None:
    """Audio of a segment that is over is a bug, and told as one."""
    journal = journal_of("one")
    journal.heard(0, 10, backend="a")
    if close:
        journal.close()
    else:
        journal.ended(0, backend="a")
    with pytest.raises(ValueError, match="segment 0 is already"):
        journal.heard(0, 10, backend="a")
    assert journal.n_samples == 10


def test_segments_are_added_in_order() -> None:
    """A segment out of turn is a bug, and told as one."""
    journal = journal_of("one")
    with pytest.raises(ValueError, match="segment 2 added as number 1"):
        journal.add(Segment(index=2, text="two"), speakable=True)


def test_truncation_is_remembered() -> None:
    """One truncated segment makes a truncated utterance."""
    journal = journal_of("one", "two")
    journal.ended(0, backend="a", truncated=True)
    assert journal.is_truncated
    journal.ended(1, backend="a")
    assert journal.is_truncated
    assert not journal_of("one").is_truncated


def test_word_times_replace_earlier_ones() -> None:
    """The last word times of a segment hold."""
    journal = journal_of("one")
    word = WordTime(text="one", start_s=0, end_s=0.5, provenance="native")
    journal.words(0, (word, word))
    journal.words(0, (word,))
    assert journal.segments()[0].words == (word,)


def word(text: str, start_s: float, end_s: float) -> WordTime:
    """When a word is heard."""
    return WordTime(text=text, start_s=start_s, end_s=end_s, provenance="native")


def heard_words(journal: Journal, index: int = 0) -> list[tuple[str, float, float]]:
    """The words of a segment."""
    words = journal.segments()[index].words
    return [(one.text, one.start_s, one.end_s) for one in words]


def test_another_backend_begins_anew() -> None:
    """The segment is where it begins now, and the words that count are the new ones."""
    journal = journal_of("one")
    journal.heard(0, 100, backend="a")
    journal.words(0, (word("one", 0.0, 0.1),))
    assert journal.heard(0, 50, backend="b") == pytest.approx(0.1)
    (segment,) = journal.segments()
    assert (segment.backend, segment.start_s, segment.duration_s) == ("b", 0.1, 0.05)
    assert segment.words == ()
    assert journal.n_samples == 150
    assert journal.bytes_begun() == {"a": 3, "b": 3}


def test_another_backend_goes_on() -> None:
    """The segment keeps its beginning, and the words that were heard to their end."""
    journal = journal_of("one", "two")
    journal.ended(0, backend="a")
    journal.heard(1, 250, backend="a")
    journal.words(1, (word("tw", 0.0, 0.25), word("o", 0.2, 0.251)))
    assert journal.heard(1, 50, backend="b", offset=2) == pytest.approx(0.25)
    journal.words(1, (word("x", 0.0, 0.01), word("o", 0.01, 0.05)))
    journal.words(1, (word("o", 0.0, 0.05),))
    journal.heard(1, 10, backend="b", offset=2)
    journal.ended(1, backend="b", offset=2)
    segment = journal.segments()[1]
    assert (segment.backend, segment.start_s, segment.duration_s) == ("b", 0.0, 0.31)
    assert heard_words(journal, 1) == [("tw", 0.0, 0.25), ("o", 0.25, 0.3)]
    assert journal.bytes_begun() == {"a": 6, "b": 1}


def test_a_third_may_go_on_or_begin_anew() -> None:
    """What counts goes back to whoever began it last."""
    journal = journal_of("one")
    journal.heard(0, 100, backend="a")
    journal.words(0, (word("o", 0.0, 0.1),))
    journal.heard(0, 100, backend="b", offset=1)
    journal.words(0, (word("n", 0.0, 0.1),))
    journal.heard(0, 100, backend="c", offset=2)
    journal.words(0, (word("e", 0.0, 0.1),))
    assert heard_words(journal) == [
        ("o", 0.0, 0.1),
        ("n", 0.1, 0.2),
        ("e", 0.2, pytest.approx(0.3)),
    ]
    assert journal.segments()[0].duration_s == 0.3
    journal.heard(0, 100, backend="a")
    journal.words(0, (word("one", 0.0, 0.1),))
    assert heard_words(journal) == [("one", 0.0, 0.1)]
    assert (journal.segments()[0].start_s, journal.segments()[0].duration_s) == (0.3, 0.1)


def test_a_segment_may_end_without_audio_of_whoever_goes_on() -> None:
    """It counts as begun by that one, and keeps what was heard."""
    journal = journal_of("one")
    journal.heard(0, 100, backend="a")
    journal.ended(0, backend="b", offset=3)
    (segment,) = journal.segments()
    assert (segment.backend, segment.state, segment.duration_s) == ("b", "spoken", 0.1)
    assert journal.bytes_begun() == {"a": 3, "b": 0}


def test_a_segment_ends_once() -> None:
    """A second end by another backend is a bug, and told as one."""
    journal = journal_of("one")
    journal.heard(0, 100, backend="a")
    journal.ended(0, backend="a")
    with pytest.raises(ValueError, match="segment 0 is already spoken"):
        journal.ended(0, backend="b")


def test_half_of_a_character_is_no_error() -> None:
    """Surrogates that stand alone are counted as something."""
    journal = Journal(1000)
    journal.add(Segment(index=0, text="\ud800a"), speakable=True)
    journal.ended(0, backend="a")
    assert journal.bytes_begun() == {"a": 2}


def test_words_that_were_not_heard_are_forgotten_when_another_goes_on() -> None:
    """Before the new one has told any."""
    journal = journal_of("one")
    journal.heard(0, 100, backend="a")
    journal.words(0, (word("o", 0.0, 0.1), word("ne", 0.1, 0.3)))
    journal.heard(0, 10, backend="b", offset=1)
    assert heard_words(journal) == [("o", 0.0, 0.1)]


def test_what_need_not_be_spoken_may_be() -> None:
    """Then its state is what happened to it."""
    journal = journal_of("...")
    journal.heard(0, 100, backend="a")
    assert states(journal) == ["speaking"]
    journal.close()
    assert states(journal) == ["abandoned"]
    assert journal.spoken_text == "..."

"""Going on after a break, whatever the text, however it is spelt in the word times."""

# ruff: noqa: RUF001  (the punctuation of all scripts)

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass

from hypothesis import example, given, settings
from hypothesis import strategies as st

from junetts._report import WordTime
from junetts._resumption import Pace, carried_tags, resume_point
from junetts._spoken_words import TAG, spoken_length

PACE = Pace()
TAG_PATTERN = re.compile(TAG)
SPOKEN = {  # as written, as heard
    "Hello,": ("hello",), "the": ("the",), "cat": ("Cat",), "nine": ("nine",), "one": ("one",),
    "“man”": ("man",), "café.": ("cafe\u0301",), "3": ("three",), "1999": ("nineteen", "ninety"),
    "9": ("nine",), "don't": ("don", "'t"), "$5": ("five", "dollars"), "%": ("percent",),
    "[laugh] now": ("now",), "<|speaker:1|>and": ("and",), "- no": ("no",), "yes 😀": ("yes",),
    "well-known": ("well", "known"), "x": ("x",), "Straße": ("STRASSE",), "नमस्ते": ("नमस्ते",),
}  # fmt: skip
TOKENS = st.lists(st.sampled_from(sorted(SPOKEN)), min_size=1, max_size=12)
PIECES = st.sampled_from(
    [
        "Hello", "a", " ", "  ", "\n", ". ", ", ", "[laugh]", "[soft tone] ", "<|speaker:1|>", "[",
        "(sad)", "3.14", "1,000", "1 000 000", "[3 4]", "你好", "，", "世界。", "コンピュータ",
        "しょ", "สวัสดี", "เแม่น้ำ", "\u0301", "e\u0301", "\u200d", "👨\u200d👩\u200d👧", "🇩🇪", "¿",
        "1\ufe0f\u20e3", "\ud83d\ude00", "\ud83d", "https://a.b/c,d?e=f", "한국어", "「", "」",
        "state-of-the-art", "一百", "👍🏽",
    ]
)  # fmt: skip
TEXTS = st.one_of(st.lists(PIECES, max_size=25).map("".join), st.text(max_size=60))


@dataclass
class Case:
    """A text, its words' times, and where each written word ends in both."""

    text: str
    starts: list[int]  # of each token's word, in the text
    ends_s: list[float]
    words: tuple[WordTime, ...]


def case_of(tokens: list[str], gap: float) -> Case:
    """Speech at an ordinary pace: 12 letters a second."""
    starts: list[int] = []
    ends_s: list[float] = []
    words: list[WordTime] = []
    text, now_s = "", 0.1
    for token in tokens:
        untagged = TAG_PATTERN.sub(lambda tag: " " * len(tag[0]), token)
        starts.append(len(text) + len(untagged) - len(untagged.lstrip("“$- ")))
        text += token + " "
        heard = SPOKEN[token]
        each_s = max(2.0, spoken_length(token) / len(heard)) / 12
        for word in heard:
            end_s = now_s + each_s
            words.append(WordTime(text=word, start_s=now_s, end_s=end_s, provenance="native"))
            now_s = end_s
        ends_s.append(now_s)
        now_s += gap
    return Case(text, starts, ends_s, tuple(words))


def n_tokens_before(case: Case, offset: int) -> int:
    """How many tokens are not said again."""
    return sum(start < offset for start in case.starts)


def n_heard_of(case: Case, heard_s: float) -> int:
    """How many tokens were heard to their end."""
    return sum(end_s <= heard_s + 0.001 for end_s in case.ends_s)


@given(TOKENS, st.floats(0, 4), st.sampled_from([0.0, 0.2]))
@settings(max_examples=300, deadline=None)
@example(["1999", "nine", "one"], 1.0, 0.0)
@example(["9", "nine", "one", "9"], 0.5, 0.0)
def test_with_all_times_no_word_is_lost_and_two_repeated(
    tokens: list[str], heard_s: float, gap: float
) -> None:
    """The words of the whole text are known, but numbers and such are spelt differently."""
    case = case_of(tokens, gap)
    point = resume_point(case.text, heard_s=heard_s, words=case.words, pace=PACE)
    n_heard = n_heard_of(case, heard_s)
    resumed = n_tokens_before(case, point.offset)
    assert resumed <= n_heard
    n_odd = sum(len(SPOKEN[token]) > 1 or token in ("9", "3", "%") for token in tokens)
    assert n_heard - resumed <= 2 or n_odd > 1


@given(TOKENS, st.floats(0, 4), st.integers(0, 20))
@settings(max_examples=300, deadline=None)
def test_with_the_first_times_no_word_is_lost(
    tokens: list[str], heard_s: float, n_known: int
) -> None:
    """Word times may end before the text does, or before the audio that was heard."""
    case = case_of(tokens, 0.0)
    point = resume_point(case.text, heard_s=heard_s, words=case.words[:n_known], pace=PACE)
    assert n_tokens_before(case, point.offset) <= n_heard_of(case, heard_s)


@given(TOKENS, st.floats(0, 4), st.sets(st.integers(0, 20)), st.integers(0, 20))
@settings(max_examples=300, deadline=None)
def test_with_some_times_no_word_is_lost(
    tokens: list[str], heard_s: float, missing: set[int], n_known: int
) -> None:
    """Words may be missing among the times."""
    plain = [token for token in tokens if len(SPOKEN[token]) == 1 and token not in ("9", "3", "%")]
    case = case_of(plain, 0.0)
    words = tuple(w for i, w in enumerate(case.words) if i not in missing)[:n_known]
    point = resume_point(case.text, heard_s=heard_s, words=words, pace=PACE)
    assert n_tokens_before(case, point.offset) <= n_heard_of(case, heard_s)


@given(TEXTS, st.floats(0, 30), st.booleans())
@settings(max_examples=300, deadline=None)
def test_speech_begins_where_a_word_does(text: str, heard_s: float, is_timed: bool) -> None:
    """Never inside a tag, a number or a character; without word times never at the end."""
    words = tuple(
        WordTime(text=word, start_s=i, end_s=i + 1, provenance="aligned")
        for i, word in enumerate(text.split() if is_timed else [])
    )
    point = resume_point(text, heard_s=heard_s, words=words, pace=PACE)
    offset = point.offset
    assert 0 <= offset <= len(text)
    if 0 < offset < len(text):
        before, after = text[offset - 1], text[offset]
        assert not after.isspace()
        assert unicodedata.category(after)[0] != "M"
        assert "\u200d" not in (before, after)
        assert not (before.isdigit() and after.isdigit())
        assert unicodedata.category(after) != "Cs" or before != "\ud83d"
        assert all(not m.start() < offset < m.end() for m in TAG_PATTERN.finditer(text))
        assert spoken_length(text[offset:]) > 0 or "[" in text[offset:] or "(" in text[offset:]
    if not words:
        assert point.provenance == "estimated"
        assert offset < len(text) or not text


@given(TEXTS, st.floats(0, 10), st.floats(0, 10))
@settings(deadline=None)
def test_more_heard_is_never_less_spared(text: str, one_s: float, other_s: float) -> None:
    """Without word times the place moves on with time."""
    points = [
        resume_point(text, heard_s=heard_s, words=(), pace=PACE).offset
        for heard_s in sorted([one_s, other_s])
    ]
    assert points == sorted(points)


@given(TEXTS, TEXTS)
@settings(deadline=None)
def test_the_speaker_goes_along(before: str, after: str) -> None:
    """Tags carried into a text are carried out of it again, unless it has its own."""
    carried = carried_tags(before)
    text = f"{before} {after}"
    speakers = [tag for tag in TAG_PATTERN.findall(text) if tag.startswith("<|speaker:")]
    expected = speakers[-1] if speakers else ""
    assert carried_tags(text).startswith(expected)
    assert carried_tags(f"{carried} {after}").startswith(expected)
    assert carried_tags(carried) == carried


@given(st.lists(st.tuples(st.floats(0, 1e4), st.floats(-1, 1e6)), max_size=50))
def test_the_pace_stays_human(segments: list[tuple[float, float]]) -> None:
    """Whatever is learned."""
    pace = Pace()
    for n_characters, duration_s in segments:
        pace.learn(n_characters, duration_s)
    assert 0.03 <= pace.per_character_s <= 0.2
    assert pace.per_character_s * 1.1 <= pace.cautious_s <= 0.4

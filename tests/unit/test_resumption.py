"""Where the next backend goes on, and with which tags."""

# ruff: noqa: RUF001  (the punctuation of all scripts)

from __future__ import annotations

import pytest

from junetts._report import Provenance, WordTime
from junetts._resumption import PRIOR_S, Pace, ResumePoint, carried_tags, resume_point
from junetts._spoken_words import spoken_length, spoken_words


def words_of(
    heard: str, *, each_s: float = 0.5, provenance: Provenance = "native"
) -> tuple[WordTime, ...]:
    """Words of equal length, one after another."""
    return tuple(
        WordTime(text=word, start_s=i * each_s, end_s=(i + 1) * each_s, provenance=provenance)
        for i, word in enumerate(heard.split())
    )


def rest_of(text: str, heard: str, heard_s: float) -> str:
    """What is said after a break, given the words as heard, half a second each."""
    point = resume_point(text, heard_s=heard_s, words=words_of(heard), pace=Pace())
    return text[point.offset :]


def rest_by_time(text: str, heard_s: float, *, pace: Pace | None = None) -> str:
    """What is said after a break if no word times are known."""
    point = resume_point(text, heard_s=heard_s, words=(), pace=pace or Pace())
    assert point.provenance == "estimated"
    return text[point.offset :]


@pytest.mark.parametrize(
    ("heard_s", "rest"),
    [
        (0.0, "Hello, my dear friend. "),
        (0.49, "Hello, my dear friend. "),
        (0.4995, "my dear friend. "),  # word times are rounded
        (0.5, "my dear friend. "),
        (1.2, "dear friend. "),
        (1.99, "friend. "),
        (2.0, ""),
        (9.0, ""),
    ],
)
def test_it_goes_on_with_the_first_word_not_heard_to_its_end(heard_s: float, rest: str) -> None:
    """Blanks and punctuation behind a word are done with it; all is heard only with all words."""
    assert rest_of("Hello, my dear friend. ", "hello my dear friend", heard_s) == rest


@pytest.mark.parametrize("provenance", ["native", "aligned", "estimated"])
def test_provenance_is_that_of_the_words(provenance: Provenance) -> None:
    """But estimated times are no proof that the last word was heard."""
    words = words_of("one two", provenance=provenance)
    point = resume_point("One, two.", heard_s=0.6, words=words, pace=Pace())
    assert point == ResumePoint(offset=5, provenance=provenance)
    point = resume_point("One, two.", heard_s=1.1, words=words, pace=Pace())
    assert point.provenance == provenance
    assert point.offset == (5 if provenance == "estimated" else 9)


@pytest.mark.parametrize(
    ("text", "heard", "heard_s", "rest"),
    [
        ("I have 3 big cats", "i have three big cats", 1.5, "big cats"),
        ("I have 3 big cats", "i have three big cats", 1.2, "3 big cats"),
        ("I have $5 left, no more", "I have five dollars left no more", 1.5, "$5 left, no more"),
        ("I have $5 left, no more", "I have five dollars left no more", 2.0, "left, no more"),
        ("I have 3", "i have three", 1.5, "3"),  # nothing proves that this is the three
        ("In 1999 nine men left", "in nineteen ninety nine", 2.0, "1999 nine men left"),
        ("In 1999 nine men left", "in nineteen ninety nine nine men left", 2.0, "nine men left"),
        ("In 1999 one man of nine", "in nineteen ninety nine", 2.0, "1999 one man of nine"),
        ("Say 55 five five", "say fifty five five five", 1.5, "55 five five"),
        ("3 cats 4 dogs 5 cows", "three cats four dogs five cows", 1.0, "4 dogs 5 cows"),
        ("state-of-the-art work", "state of the art work", 1.0, "the-art work"),
        ("well-known work", "well known work", 0.5, "well-known work"),
        ("well-known work now", "wellknown work now", 0.5, "work now"),
        ("ice cream now please", "icecream now please", 0.5, "ice cream now please"),
        ("Don’t go", "don 't go", 1.0, "go"),
        ("CAFE\u0301 Straße now", "café STRASSE now", 1.0, "now"),
        ("a b a c", "a b a c", 1.0, "a c"),
        ("no no no no", "no no no", 1.0, "no no"),
        ("the cat is here", "um the cat is here", 1.0, "cat is here"),
        ("five 5 % of it", "five five percent of it", 1.5, "of it"),
        ("你好，世界很大", "你好 世界 很 大", 0.6, "世界很大"),
        ("你好，世界很大", "你 好 世 界 很 大", 1.6, "界很大"),
        ("ยิ้มแล้ว", "ยิ้ม แล้ว", 0.5, "แล้ว"),
    ],
)
def test_words_may_be_spelt_differently(text: str, heard: str, heard_s: float, rest: str) -> None:
    """Numbers, marks, case, hyphens, apostrophes, other scripts; what is unsure is repeated."""
    assert rest_of(text, heard, heard_s) == rest


def test_words_missing_from_the_times_are_not_lost() -> None:
    """A word that nobody timed counts as heard only if one after it was."""
    assert rest_of("I have a cat and a dog", "I have cat and dog", 1.0) == "a cat and a dog"
    assert rest_of("I have a cat and a dog", "I have cat and dog", 2.0) == "a dog"


def test_a_gap_in_the_times_may_hide_a_word() -> None:
    """Broken off in a gap behind a word spelt differently, that word is not complete for sure."""
    early, late = words_of("i have fifty"), words_of("x x x x big cats")[4:]
    point = resume_point("I have 55 big cats", heard_s=1.6, words=early + late, pace=Pace())
    assert point.offset == 7


def test_after_the_last_known_word_time_is_all_there_is() -> None:
    """Word times may lag behind: the rest is estimated from where they end, never to the end."""
    text = "One two three four five six seven eight"
    point = resume_point(text, heard_s=3.0, words=words_of("one two"), pace=Pace())
    assert point == ResumePoint(offset=text.index("seven"), provenance="estimated")
    point = resume_point(text, heard_s=60, words=words_of("one two"), pace=Pace())
    assert point == ResumePoint(offset=text.index("eight"), provenance="estimated")
    assert rest_of(text, "quite something else", 0.9) == text


def test_words_not_yet_heard_bound_the_estimate() -> None:
    """Times may arrive before their audio does."""
    lost = words_of("xx yy zz", each_s=5.0)
    later = tuple(
        WordTime(text=word, start_s=15 + i, end_s=16 + i, provenance="native")
        for i, word in enumerate(("five", "six", "seven"))
    )
    text = "One 2 two 3 three four five six seven"
    assert text[resume_point(text, heard_s=15.5, words=lost + later, pace=Pace()).offset :] == (
        "five six seven"
    )


@pytest.mark.parametrize("text", ["", " ", "...", "[laugh]", "😀"])
def test_text_without_words_is_begun_anew(text: str) -> None:
    """Whatever was heard."""
    assert rest_by_time(text, 5.0) == text


def test_by_time_speech_counts_as_slow() -> None:
    """Two thirds of what would be expected, while nothing is known of the pace."""
    text = "abcd " * 20
    assert rest_by_time(text, 0.3) == text
    assert rest_by_time(text, 4 / 15 * 9.3 + 0.25) == "abcd " * 14
    assert rest_by_time(text, 1000) == "abcd "


def test_a_known_pace_makes_it_closer() -> None:
    """The more segments, the closer; and speed is reckoned with."""
    pace = Pace()
    for _ in range(40):
        pace.learn(100, 10)
    text = "abcd " * 20
    assert rest_by_time(text, 4 * 0.1 * 11.3 + 0.25, pace=pace) == "abcd " * 10
    fast = resume_point(text, heard_s=2.51, words=(), pace=pace, speed=2.0)
    assert fast.offset == resume_point(text, heard_s=4.77, words=(), pace=pace).offset > 0


def test_sounds_take_time() -> None:
    """A laugh before a word leaves less time for words, and so may a mood, if it is read out."""
    text = "One two three four five"
    assert rest_by_time("[excited] " + text, 2.0) == "three four five"
    assert rest_by_time(text, 2.0) == "five"
    assert rest_by_time("[laugh] " + text, 2.0) == "[laugh] " + text
    assert rest_by_time("<|speaker:1|>" + text, 2.0) == rest_by_time(text, 2.0)


def test_without_spaces_it_prefers_the_beginning_of_a_clause() -> None:
    """If one is near: four characters at most are repeated for it."""
    text = "今天天气，很好我们出去走走"
    assert rest_by_time(text, 3.1) == "很好我们出去走走"
    assert rest_by_time(text, 3.5) == "出去走走"
    assert rest_by_time("今天天气很好我们出去", 1.5) == "气很好我们出去"


@pytest.mark.parametrize(
    ("heard_s", "rest"),
    [
        (0.3, "[sad] Oh [laugh] dear, [whisper] [cough] yes [sigh] [soft]"),
        (0.5, "[laugh] dear, [whisper] [cough] yes [sigh] [soft]"),
        (0.6, "dear, [whisper] [cough] yes [sigh] [soft]"),
        (1.0, "[whisper] [cough] yes [sigh] [soft]"),
        (1.2, "yes [sigh] [soft]"),
        (1.5, "[sigh] [soft]"),
    ],
)
def test_tags_go_with_the_word_behind_them(heard_s: float, rest: str) -> None:
    """But a sound that was heard, because the word after it was begun, is not repeated."""
    text = "[sad] Oh [laugh] dear, [whisper] [cough] yes [sigh] [soft]"
    assert rest_of(text, "oh dear yes", heard_s) == rest


def test_a_sound_at_the_beginning_is_not_repeated() -> None:
    """If the first word was begun; otherwise all begins anew."""
    assert rest_of("[laugh] Hello you", "hello you", 0.2) == "Hello you"
    assert rest_of("  [sad] Hello you", "hello you", 0.2) == "  [sad] Hello you"
    late = (WordTime(text="hello", start_s=0.5, end_s=1, provenance="native"),)
    assert resume_point("[laugh] Hello", heard_s=0.4, words=late, pace=Pace()).offset == 0


def test_tags_alone_at_the_end_need_not_be_said() -> None:
    """All words were heard, and no sound follows."""
    assert rest_of("Good bye. <|speaker:1|> [sad]", "good bye", 1.0) == ""


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("one,two—three a:b", ["one,", "two—", "three", "a:", "b"]),
        ("3.14 1,000 1 000 000 12:30 [3 4]", ["3.14", "1,000", "1 000 000", "12:30", "[3 4]"]),
        ("see https://a.b/c,d?e:f www.a.b", ["see", "https://a.b/c,d?e:f", "www.a.b"]),
        ("¿Qué? «si» - ok 😀", ["¿Qué?", "«si»", "ok"]),
        ("e\u0301a \u0301b", ["e\u0301a \u0301b"]),
        ("👨\u200d👩\u200d👧 x", ["👨\u200d👩\u200d👧 x"]),
        ("「你好」，世😀界。", ["「你", "好」，", "世😀", "界。"]),
        ("コンピュータでしょう（笑）", ["コンピュータ", "で", "しょ", "う", "（笑）"]),
        ("我用Python写2024年二百一", ["我", "用", "Python", "写", "2024", "年", "二百一"]),
        ("เแก้ว", ["เแก้", "ว"]),
        ("[laugh]a(sad)b", ["[laugh]a", "(sad)b"]),
        ("a <|speaker:0|> b", ["a", "<|speaker:0|> b"]),
        ("你好，Python，3", ["你", "好，", "Python，", "3"]),
        ("e-mail state-of-the-art", ["e-mail", "state-", "of-", "the-", "art"]),
        ("5 % of $", ["5", "%", "of", "$"]),
    ],
)
def test_words_are_what_a_listener_counts(text: str, words: list[str]) -> None:
    """Numbers, addresses, tags, characters and emoji are never divided."""
    assert [text[word.start : word.end] for word in spoken_words(text)] == words


@pytest.mark.parametrize(
    ("before", "tags"),
    [
        ("", ""),
        ("Hello you ", ""),
        ("<|speaker:0|>Hi. <|speaker:1|>You. ", "<|speaker:1|>"),
        ("[excited] I am so ", "[excited] "),
        ("Yes. [excited] [soft voice] I am so ", "[excited] [soft voice] "),
        ("[excited] <|speaker:2|>I am so ", "<|speaker:2|>[excited] "),
        ("[excited] I am so happy. ", ""),
        ("[excited] 我很高兴。", ""),
        ("(sad)(laughing) I [laugh] am ", "(sad) "),
        ("(softly) I am ", ""),
        ("I [excited] am ", ""),
        ("I am [whisper] ", "[whisper] "),
        ("[sad] I am [whisper] [cough] ", "[sad] [whisper] "),
        ("[laughing voice] I ", "[laughing voice] "),
        ("[sad]", "[sad] "),
        ("[3] is ", ""),
        ("[sad] 3.14 is ", "[sad] "),
        ("[sad] One\n\nTwo ", ""),
    ],
)
def test_tags_in_force_go_along(before: str, tags: str) -> None:
    """The last speaker, and what colours the sentence; sounds are over."""
    assert carried_tags(before) == tags


def test_length_is_counted_in_latin_letters() -> None:
    """Other scripts take longer for each character, and digits are words; tags are silent."""
    assert spoken_length("one two") == 6
    assert spoken_length("[laugh] one <|speaker:1|>") == 3
    assert spoken_length("One") == 4
    assert spoken_length("你好") == 7
    assert spoken_length("です") == 4
    assert spoken_length("안녕") == 5
    assert spoken_length("12%") == 12
    assert spoken_length("a, b.") == 8
    assert spoken_length("नम") == 3


def test_the_pace_is_learned() -> None:
    """It starts as that of brisk English; the median of what is known replaces it."""
    pace = Pace()
    assert pace.per_character_s == PRIOR_S
    assert pace.cautious_s == pytest.approx(1.5 * PRIOR_S)
    pace.learn(100, 8.0)
    assert pace.per_character_s == pytest.approx(0.08)
    assert pace.cautious_s == pytest.approx(0.08 * 1.3)
    for duration_s in (9.0, 10.0, 1000.0, 10.0):
        pace.learn(100, duration_s)
    assert pace.per_character_s == pytest.approx(0.10)
    assert pace.cautious_s == pytest.approx(0.10 * (1.1 + 0.4 / 6))


def test_the_caution_follows_the_slowest() -> None:
    """If segments differ, most of them are to be faster than what is assumed."""
    pace = Pace()
    for duration_s in (6.0, 6.0, 6.0, 14.0, 14.0):
        pace.learn(100, duration_s)
    assert pace.cautious_s == pytest.approx(0.14)


@pytest.mark.parametrize(
    ("n_characters", "duration_s"), [(9, 1.0), (100, 0.0), (100, -1.0), (100, float("inf"))]
)
def test_the_pace_ignores_what_tells_nothing(n_characters: float, duration_s: float) -> None:
    """Short segments and impossible durations."""
    pace = Pace()
    pace.learn(n_characters, duration_s)
    assert pace.per_character_s == PRIOR_S


def test_the_pace_stays_human_and_forgets() -> None:
    """Bounds hold, and only recent segments count."""
    pace = Pace()
    pace.learn(100, 100)
    assert pace.per_character_s == 0.2
    for _ in range(33):
        pace.learn(1000, 1)
    assert pace.per_character_s == 0.03
    assert pace.cautious_s < 0.04

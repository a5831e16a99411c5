"""The words of a text as a listener counts them, and the directions among them."""

# ruff: noqa: RUF001  (the punctuation of all scripts)

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass, replace

_MARKERS = (
    "angry|sad|excited|surprised|satisfied|delighted|scared|worried|upset|nervous|frustrated|"
    "depressed|empathetic|embarrassed|disgusted|moved|proud|relaxed|grateful|confident|"
    "interested|curious|confused|joyful|disdainful|unhappy|anxious|hysterical|indifferent|"
    "impatient|guilty|scornful|panicked|furious|reluctant|keen|disapproving|negative|denying|"
    "astonished|serious|sarcastic|conciliative|comforting|sincere|sneering|hesitating|yielding|"
    "painful|awkward|amused|in a hurry tone|shouting|screaming|whispering|soft tone|laughing|"
    "chuckling|sobbing|crying loudly|sighing|panting|groaning|crowd laughing|"
    "background laughter|audience laughing"
)  # in round brackets, the S1 models know these
TAG = rf"\[(?!\d)[^\[\]\n]{{1,60}}\]|<\|[^|\n]{{1,40}}\|>|\((?:{_MARKERS})\)"
SPEAKER = re.compile(r"<\|speaker:\d+\|>")
_EFFECT = re.compile(
    r"[\[(](?!.*(?:tone|voice|style|manner)[\])]).*?\b(?:laugh|chuckl|giggl|sob|cry|sigh|panting|"
    r"groan|moan|cough|gasp|breath(?:e|s|ing)?\b|inhal|exhal|yawn|sneez|sniff|clear|pause|"
    r"break|silen|applau|audience|crowd|background|emphasi)"
)
_CLOSERS = r"[\"'”’»)\]}）」』】》]*"
SENTENCE_END = re.compile(
    rf"[。！？｡]+{_CLOSERS}\s*|[.!?…।॥؟۔።៕‽]+{_CLOSERS}(?:\s+|\Z)|\n[^\S\n]*\n\s*"
)

# Scripts that are written without spaces between words; the Thai and Lao vowels that belong to
# the letter before or behind them, small kana and what else is half a syllable.
UNSPACED = (
    "\u0e01-\u0e3a\u0e40-\u0e4e\u0e81-\u0ece\u1000-\u103f\u1050-\u109d\u1780-\u17d3\u2e80-\u2fdf"
    "\u3005-\u3007\u3021-\u3029\u3041-\u3096\u309d-\u309f\u30a1-\u30fa\u30fc-\u30ff\u31f0-\u31ff"
    "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\uff66-\uff9f\U0001b000-\U0001b16f"
    "\U00020000-\U0003ffff"
)
_IS_UNSPACED = re.compile(f"[{UNSPACED}]")
_JOINS_NEXT = re.compile("[\u0e40-\u0e44\u0ec0-\u0ec4\u17d2\u1039\u200d]")
_JOINS_LAST = re.compile(
    "[\u0e30\u0e32\u0e33\u0e45\u0eb0\u0eb2\u0eb3\u200c\u200dぁぃぅぇぉっゃゅょゎァィゥェォッャュョヮー々]"
)
_KATAKANA = re.compile("[\u30a1-\u30fa\u30fc-\u30ff\u31f0-\u31ff\uff66-\uff9f]")
_ATOM = re.compile(
    rf"(?P<tag>{TAG})|(?P<space>\s+)|\[\d[^\[\]\n]{{0,59}}\]|(?:https?://|www\.)[!-~]+"
    r"|(?<!\d)\d{1,3}(?:[ \u00a0\u202f]\d{3})+(?!\d)|\d(?:[\d.,:/'’]*\d)?"
    r"|[〇一二三四五六七八九十百千万亿萬億零]{2,}|."
)
_WEIGHTS = (  # how long a character is heard, a Latin letter being 1
    (re.compile(r"\d|[%&@#°+=€$£¥₹]"), 4.0),
    (
        re.compile("[\u2e80-\u2fdf\u3005-\u3029\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]"),
        3.5,
    ),
    (re.compile("[\uac00-\ud7a3]"), 2.5),
    (re.compile("[\u3041-\u30ff\u31f0-\u31ff\uff66-\uff9f]"), 2.0),
    (re.compile("[\u0590-\u07ff\u0900-\u109f\u1780-\u17ff]"), 1.5),  # vowels in part unwritten
    (re.compile(r"[.!?…。！？।؟]"), 4.0),
    (re.compile(r"[,;:，、；：،؛–—]"), 2.0),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class SpokenWord:
    """A word as a listener counts it, or a character of a script without spaces.

    Attributes:
        start: where it begins in the text, with the tags before it.
        word: where it begins without them.
        end: where it ends, with its punctuation.
    """

    start: int
    word: int
    end: int


def spoken_length(text: str) -> float:
    """How much there is to say, counted in Latin letters; tags and blanks are nothing."""
    return sum(map(_weight, re.sub(TAG, "", text)))


def spoken_words(text: str) -> list[SpokenWord]:
    """The words of a text, in order; none begins inside a tag, a number or a character."""
    words: list[SpokenWord] = []
    start: int | None = None  # of tags, and what is no word, before the word
    for begin, end, is_tag in _pieces(text):
        if not is_tag and words and _belongs_to_last(text[begin]):
            words[-1], start = replace(words[-1], end=end), None
        elif not is_tag and any(map(_is_spoken, text[begin:end])):
            words.append(SpokenWord(start=begin if start is None else start, word=begin, end=end))
            start = None
        elif start is None and (is_tag or not words):
            start = begin
    return words


def _pieces(text: str) -> Iterator[tuple[int, int, bool]]:
    """Start and end of whatever is never divided, and whether it is a tag; blanks are left out."""
    begin = end = 0
    for atom in _ATOM.finditer(text):
        if atom.lastgroup is None and begin < end and _joins(text, end):
            end = atom.end()
            continue
        if begin < end:
            yield begin, end, False
        begin, end = (atom.end(), atom.end()) if atom.lastgroup else atom.span()
        if atom["tag"]:
            yield *atom.span(), True
    if begin < end:
        yield begin, end, False


def is_unspaced(character: str) -> bool:
    """Whether it is of a script without spaces between words."""
    return _IS_UNSPACED.match(character) is not None


def is_effect(tag: str) -> bool:
    """Whether it asks for a sound, such as ``[laugh]``."""
    return _EFFECT.match(tag.lower()) is not None


def is_mood(tag: str) -> bool:
    """Whether it says how to speak, such as ``[excited]``."""
    return tag[0] != "<" and not is_effect(tag)


def _joins(text: str, at: int) -> bool:
    """Whether no word begins here, between two characters that are no blanks."""
    last, following = text[at - 1], text[at]
    if _belongs_to_last(following) or _JOINS_NEXT.match(last) or _is_opening(last):
        return True
    if not following.isalnum():
        return not (_is_opening(following) and is_unspaced(last))
    if is_unspaced(last) or is_unspaced(following):
        return bool(_KATAKANA.match(last) and _KATAKANA.match(following))
    if last in "，。、！？；：":
        return False
    if not (text[at - 2 : at - 1].isalpha() and following.isalpha()):
        return True
    return last not in ",;:!?…—―" and not (last == "-" and _is_in_compound(text, at))


def _is_in_compound(text: str, at: int) -> bool:
    """Whether three words or more are tied together; two may well be one."""
    before, after = text[:at].split(), text[at:].split()
    return before[-1].count("-") + after[0].count("-") > 1


def _belongs_to_last(character: str) -> bool:
    return unicodedata.category(character)[0] == "M" or bool(_JOINS_LAST.match(character))


def _is_opening(character: str) -> bool:
    return unicodedata.category(character) in ("Ps", "Pi") or character in "¿¡"


def _is_spoken(character: str) -> bool:
    return character.isalnum() or _WEIGHTS[0][0].match(character) is not None


def _weight(character: str) -> float:
    for pattern, weight in _WEIGHTS:
        if pattern.match(character):
            return weight
    return 2.0 if character.isupper() else float(character.isalnum())  # capitals may be spelt

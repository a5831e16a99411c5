"""Where the next backend goes on inside a segment that broke off.

Never a word is lost: whatever is uncertain is said again.
"""

from __future__ import annotations

import math
import re
import unicodedata
from collections import deque
from dataclasses import dataclass
from itertools import takewhile
from statistics import median

from junetts._report import Provenance, WordTime
from junetts._spoken_words import (
    SENTENCE_END,
    SPEAKER,
    TAG,
    SpokenWord,
    is_effect,
    is_mood,
    is_unspaced,
    spoken_length,
    spoken_words,
)
from junetts._word_match import key_after, keys, trusted_matches

PRIOR_S = 1 / 15  # seconds per character: brisk English
SLOWEST_S, FASTEST_S = 0.2, 0.03
MIN_CHARACTERS = 10  # of a shorter text, pauses are most of the duration
N_REMEMBERED = 32
LEAD_S = 0.25  # of silence before a word
ROUNDING_S = 0.001  # what word times are rounded to on the wire
EFFECT_CHARACTERS = 20.0  # a laugh takes as long as so many letters
SHORTEST_WORD = 3.0  # and so does a word of one letter
MAX_STEP_BACK = 4  # characters repeated in order to go on after punctuation, without spaces


@dataclass(frozen=True, slots=True, kw_only=True)
class ResumePoint:
    """Where to go on.

    Attributes:
        offset: characters of the segment's text that need not be said again; 0 is to begin anew.
        provenance: how that is known; ``estimated`` if from nothing but the time that has passed.
    """

    offset: int
    provenance: Provenance


class Pace:
    """How fast a backend speaks, in seconds per character; see `spoken_length`.

    Guarantees: stays within what people can do; a few odd segments do not matter.
    """

    def __init__(self) -> None:
        self._learned: deque[float] = deque(maxlen=N_REMEMBERED)

    def learn(self, n_characters: float, duration_s: float) -> None:
        """Take a finished segment into account, unless it is too short to tell."""
        if n_characters >= MIN_CHARACTERS and 0 < duration_s < math.inf:
            pace_s = min(max(duration_s / n_characters, FASTEST_S), SLOWEST_S)
            self._learned.append(pace_s)

    @property
    def per_character_s(self) -> float:
        """As far as is known."""
        return median(self._learned) if self._learned else PRIOR_S

    @property
    def cautious_s(self) -> float:
        """Slower than almost all speech of this backend; the less is known, the slower."""
        n = len(self._learned)
        margin = 1.1 + 0.4 / (1 + n)
        slow = sorted(self._learned)[int(0.8 * (n - 1))] if n else 0.0
        return max(self.per_character_s * margin, slow)


def carried_tags(text_before: str) -> str:
    """The tags that are still in force after a text, to be put before what follows it.

    They are the last speaker's, and those in brackets that colour the sentence: they stand at its
    beginning, or at the very end of ``text_before``. A sound such as ``[laugh]`` is over once it
    was heard.
    """
    speakers = SPEAKER.findall(text_before)
    ends = [match.end() for match in SENTENCE_END.finditer(text_before)]
    sentence = text_before[ends[-1] if ends else 0 :]
    opening = re.match(rf"(?:\s|{TAG})*", sentence)
    closing = re.search(rf"(?:\s|{TAG})*\Z", sentence)
    assert opening is not None
    assert closing is not None
    runs = [opening[0]] if opening.end() == len(sentence) else [opening[0], closing[0]]
    moods = [tag for run in runs for tag in re.findall(TAG, run) if is_mood(tag)]
    return "".join([*speakers[-1:], *(f"{mood} " for mood in moods)])


def resume_point(
    text: str,
    *,
    heard_s: float,
    words: tuple[WordTime, ...],
    pace: Pace,
    silent_s: float = 0.0,
    speed: float = 1.0,
) -> ResumePoint:
    """Where to go on in a segment of which some was heard.

    With word times it is the first word that was not heard to its end. Where they tell nothing,
    or nothing certain, it is estimated from the time, as if speech were slow; never then is
    everything taken for heard.

    Args:
        text: of the segment.
        heard_s: seconds of the segment's audio that were heard.
        words: as far as known; spelling may differ, and words be missing.
        pace: of the backend that broke off, at normal speed.
        silent_s: seconds of ``heard_s`` in which nothing was audible.
        speed: how much faster it was told to speak.
    """
    spoken = spoken_words(text)
    if not spoken:
        return ResumePoint(offset=0, provenance="estimated")
    known = _known(text, spoken, words, heard_s)
    seconds = (known.until_s - known.since_s - max(0.0, silent_s - LEAD_S)) * speed
    index = _estimated(text, spoken, known, seconds / pace.cautious_s)
    provenance: Provenance = "estimated"
    if words and index == known.first:
        provenance = words[known.n_heard - 1].provenance
    if index == len(spoken) and provenance != "estimated":
        return ResumePoint(offset=_end(text, spoken[-1].end), provenance=provenance)
    index = min(index, len(spoken) - 1)
    offset = _beginning(text, spoken[index], has_begun=index == known.begun)
    return ResumePoint(offset=offset if offset > spoken[0].start else 0, provenance=provenance)


def _beginning(text: str, word: SpokenWord, *, has_begun: bool) -> int:
    """Where a word is begun anew: with the tags before it, unless a sound was heard there."""
    effects = filter(is_effect, re.findall(TAG, text[word.start : word.word]))
    return word.word if has_begun and any(effects) else word.start


def _end(text: str, end: int) -> int:
    """The end of the text, or a sound that is to follow the last word."""
    tags = re.compile(TAG).finditer(text, end)
    return next((tag.start() for tag in tags if is_effect(tag[0])), len(text))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Known:
    """What word times tell: words before ``first`` were heard, those from ``last`` on were not.

    Of what lies between some may have been heard, from ``since_s`` to ``until_s``. These words
    are places in the list of the text's; ``n_heard`` counts those that times were told for.
    """

    first: int
    last: int
    begun: int | None  # the one in whose middle it broke off
    n_heard: int
    since_s: float
    until_s: float


def _known(
    text: str, spoken: list[SpokenWord], words: tuple[WordTime, ...], heard_s: float
) -> _Known:
    of_text = [
        (key, i) for i, unit in enumerate(spoken) for key in keys(text[unit.word : unit.end])
    ]
    of_words = [(key, i) for i, word in enumerate(words) for key in keys(word.text)]
    n_heard = sum(1 for _ in takewhile(lambda w: w.end_s <= heard_s + ROUNDING_S, words))
    n_heard_keys = sum(i < n_heard for _, i in of_words)
    matches = trusted_matches(of_text, of_words)
    heard = [pair for pair in matches if pair[1] < n_heard_keys]
    i, j = heard[-1] if heard else (-1, -1)
    first, last, begun = key_after(of_text, i), len(spoken), None
    if len(heard) < len(matches):
        next_i, next_j = matches[len(heard)]
        last = of_text[next_i][1]
        is_next = next_j == n_heard_keys and _is_told_without_gap(words, n_heard, heard_s)
        if is_next and last - first <= next_j - 1 - j:
            first = last  # what is spelt differently in between was heard
        if words[of_words[next_j][1]].start_s < heard_s:
            begun = last
    return _Known(
        first=first,
        last=last,
        begun=begun,
        n_heard=n_heard,
        since_s=LEAD_S + (words[of_words[j][1]].end_s if heard else 0.0),
        until_s=min([heard_s, *(word.start_s for word in words[n_heard : n_heard + 1])]),
    )


def _is_told_without_gap(words: tuple[WordTime, ...], n_heard: int, heard_s: float) -> bool:
    """Whether no word can be missing just where it broke off."""
    start_s = words[n_heard].start_s
    return start_s <= heard_s or n_heard == 0 or start_s - words[n_heard - 1].end_s < LEAD_S


def _estimated(text: str, spoken: list[SpokenWord], known: _Known, n_characters: float) -> int:
    """The word to go on with if so much was heard of those that nothing is known about."""
    index, limit = known.first, min(known.last, len(spoken) - 1)
    while index < limit:
        word, end = spoken[index], spoken[index + 1].start
        n_characters -= _length(text[word.start : end], is_whole=not is_unspaced(text[word.word]))
        if n_characters < 0:
            break
        index += 1
    return _after_punctuation(text, spoken, known.first, index)


def _length(text: str, *, is_whole: bool) -> float:
    """Of one word and the sounds before it, in letters.

    A mood counts as if it was read out: so does a voice that does not know it, and one that does
    may take its time to get into it.
    """
    tags = re.findall(TAG, text)
    n_tags = sum(EFFECT_CHARACTERS if is_effect(tag) else len(tag) * is_mood(tag) for tag in tags)
    n_least = SHORTEST_WORD if is_whole else 0.0
    return max(spoken_length(text), n_least) + n_tags


def _after_punctuation(text: str, spoken: list[SpokenWord], first: int, index: int) -> int:
    """A unit a little before, if a clause begins there and words are not told apart."""
    if index == first or not is_unspaced(text[spoken[index].word]):
        return index
    for earlier in range(index, max(first, index - MAX_STEP_BACK), -1):
        if unicodedata.category(text[spoken[earlier].start - 1])[0] in "PZ":
            return earlier
    return index

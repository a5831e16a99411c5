"""What of a segment's text the demo voice reads out, and the words in it."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence

from junetts._report import WordTime
from junetts.backends._demo_frames import WordEvent

# A Fish tag is a direction, not speech: [laugh], [whisper in small voice], <|speaker:0|>.
# Brackets that begin with a digit, such as [3], are text.
_TAG = re.compile(r"\[[^\W\d][^\[\]\n]{0,59}\]|<\|[^|\n]{1,40}\|>")
# Control characters would start eSpeak NG's embedded commands; surrogates are no text and private
# characters nobody knows. Line feed and tab are as good as blanks.
_UNSPEAKABLE = re.compile(
    r"[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff\ue000-\uf8ff\U000f0000-\U0010ffff]"
)


def masked(text: str) -> str:
    """The text to read out: tags and control characters are blanks, so that no offset moves."""
    without_tags = _TAG.sub(lambda tag: " " * len(tag[0]), text)
    return _UNSPEAKABLE.sub(" ", without_tags)


class WordTimer:
    """Turns the synthesiser's word events into the words of a segment.

    Every event is a spoken word, but ``3.14`` is several of them and "of the" is one. A word
    here is the slice of the segment's text from its event to the next one that lies beyond it,
    without the blanks, punctuation and tags after it. Words are in order and do not overlap;
    a word ends where the next one or a pause begins.
    """

    def __init__(self, text: str, sample_rate: int) -> None:
        self._text = text
        self._masked = masked(text)
        self._sample_rate = sample_rate
        self._starts: list[tuple[int, float]] = []  # [word]: first character, seconds
        self._pauses: dict[int, float] = {}  # [word]: seconds at which the pause after it begins
        self._covered = 0
        self._words: list[WordTime] = []

    def add(self, events: Sequence[WordEvent]) -> None:
        """Take in events."""
        for event in events:
            time_s = event.sample / self._sample_rate
            if event.length == 0:
                self._pauses[len(self._starts) - 1] = time_s
                continue
            if event.position >= self._covered and self._is_visible(event.position):
                self._starts.append((event.position, time_s))
            else:
                self._pauses.pop(len(self._starts) - 1, None)  # the word goes on after it
            self._covered = max(self._covered, event.position + event.length)

    def news(self, limit: int) -> tuple[WordTime, ...] | None:
        """The words whose end is known, if there are more than last time and at most ``limit``."""
        if not len(self._words) < len(self._starts) - 1 <= limit:
            return None
        self._finish()
        return tuple(self._words)

    def all(self, duration_s: float) -> tuple[WordTime, ...]:
        """All words, the last of which ends with the segment at the latest."""
        if not self._starts:
            return ()
        self._finish()
        return (*self._words, self._word(len(self._words), len(self._text), duration_s))

    def _is_visible(self, position: int) -> bool:
        return bool(self._masked[position : position + 1].strip())

    def _finish(self) -> None:
        """Make words of all starts but the last, whose end is not known."""
        for index in range(len(self._words), len(self._starts) - 1):
            self._words.append(self._word(index, *self._starts[index + 1]))

    def _word(self, index: int, next_position: int, next_s: float) -> WordTime:
        position, start_s = self._starts[index]
        stop = position
        while stop < next_position and self._text[stop] == self._masked[stop]:
            stop += 1
        return WordTime(
            text=_without_tail(self._text[position:stop]),
            start_s=start_s,
            end_s=min(next_s, self._pauses.get(index, next_s)),
            provenance="native",
        )


def _without_tail(text: str) -> str:
    """The text up to its last letter, digit, mark or symbol; all of it if it has none."""
    for index in range(len(text), 0, -1):
        if unicodedata.category(text[index - 1])[0] in "LNMS":
            return text[:index]
    return text.strip()

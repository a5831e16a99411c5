"""A stream of text cut into segments: one sentence each, the first one short for early sound."""

from __future__ import annotations

import re
from unicodedata import combining

from junetts._utterance import Segment

FIRST_LIMIT = 100  # characters after which the first segment may end at a clause
LIMIT = 300  # characters that no segment exceeds: what the cloud synthesises in one go
LOOKAHEAD = 12  # characters behind a sentence end that show whether it is one
MIN_CLAUSE = 20  # a shorter clause is not worth a segment of its own

_CLOSERS = r"[\"'”’»)\]}）」』】》]*"
_SENTENCE_END = re.compile(rf"[.!?…。！？｡।॥؟۔።៕‽]+{_CLOSERS}\s*|\n[^\S\n]*\n\s*")
_CLAUSE_END = re.compile(rf"[,;:،؛–—]+{_CLOSERS}\s+|[，、；：]+{_CLOSERS}\s*")
_TAG = re.compile(r"\[[^\[\]\n]{1,60}\]|<\|[^|\n]{1,40}\|>")
_OPEN_TAG = re.compile(r"(?:\[[^\[\]\n]{0,60}|<(?:\|[^|\n]{0,40}\|?)?)\Z")
_JOINERS = "\u200d\ufe0f"


def is_speakable(text: str, *, tags_count: bool = True) -> bool:
    """Whether the text contains anything to say: a letter or a digit.

    ``tags_count`` says whether Fish's tags, such as ``[laugh]``, are something to say.
    """
    if not tags_count:
        text = _TAG.sub("", text)
    return any(map(str.isalnum, text))


class Segmenter:
    """Cuts text into segments whose texts, joined, are the text.

    The cuts do not depend on how the text was divided over `push` calls: a cut is made only
    when everything that it depends on has arrived. No cut falls inside ``[tags]`` or
    ``<|speaker:N|>``, numbers, addresses and abbreviations.
    """

    def __init__(self, *, language: str | None = None) -> None:
        self._language = (language or "en").split("-")[0].lower()
        self._buffer = ""
        self._start = 0
        self._flushed = 0
        self._n_segments = 0

    @property
    def remaining(self) -> str:
        """Text pushed but not yet part of a segment."""
        return self._buffer[self._start :]

    def push(self, text: str) -> None:
        """Append text."""
        self._flushed = max(0, self._flushed - self._start)
        self._buffer = self._buffer[self._start :] + text
        self._start = 0

    def flush(self) -> None:
        """End a segment at the end of the text pushed so far, sentence end or not."""
        self._flushed = len(self._buffer)

    def take(self) -> Segment | None:
        """The next segment; None if where it ends depends on text that has not arrived."""
        final = self._start < self._flushed
        stop = self._flushed if final else len(self._buffer)
        end = _next_cut(
            self._buffer[self._start : min(stop, self._start + LIMIT + LOOKAHEAD)],
            final=final and stop <= self._start + LIMIT + LOOKAHEAD,
            first=self._n_segments == 0,
            language=self._language,
        )
        if end is None:
            return None
        text = self._buffer[self._start : self._start + end]
        self._start += end
        self._n_segments += 1
        return Segment(index=self._n_segments - 1, text=text)


def _next_cut(window: str, *, final: bool, first: bool, language: str) -> int | None:
    """Where the segment that starts the window ends; None if that cannot be known yet.

    The window is all text that there is, or enough of it to decide.
    """
    for limit in (FIRST_LIMIT, LIMIT) if first else (LIMIT,):
        for match in _SENTENCE_END.finditer(window, 0, limit):
            end = match.end()
            if not final and end + LOOKAHEAD > len(window):
                return None
            if end < len(window) and _is_sentence_end(window, end, language):
                return end
        if final and len(window) <= limit:
            return len(window) or None
        if not final and len(window) < limit + LOOKAHEAD:
            return None
        if cut := _clause_cut(window, limit):
            return cut
    return _forced_cut(window)


def _is_sentence_end(window: str, end: int, language: str) -> bool:
    from sentencex import get_sentence_boundaries

    text = window[:end]
    if not any(map(str.isalpha, text)) or _OPEN_TAG.search(text):
        return False
    if text[len(text.rstrip()) :].count("\n") > 1:  # a paragraph ends
        return True
    boundaries = get_sentence_boundaries(language, window[: end + LOOKAHEAD])
    starts = [boundary["start_index"] for boundary in boundaries]
    return any(len(text.rstrip()) <= start <= end for start in starts)


def _clause_cut(window: str, limit: int) -> int | None:
    """The last clause end within the limit, if a clause worth speaking ends there."""
    cuts = [
        match.end()
        for match in _CLAUSE_END.finditer(window, 0, limit)
        if match.end() >= MIN_CLAUSE and not _is_inside_tag(window, match.end())
    ]
    return cuts[-1] if cuts else None


def _forced_cut(window: str) -> int:
    """The last white space within the limit, else the limit, but never inside a character."""
    space = max(window.rfind(c, 0, LIMIT) for c in " \n\t\u3000")
    if space > 0 and not _is_inside_tag(window, space + 1):
        return space + 1
    for end in range(LIMIT, LIMIT // 2, -1):
        if not _joins(window[end - 1], window[end]) and not _is_inside_tag(window, end):
            return end
    return LIMIT


def _is_inside_tag(window: str, end: int) -> bool:
    return _OPEN_TAG.search(window, 0, end) is not None


def _joins(before: str, after: str) -> bool:
    """Whether two code points belong to one character on the page."""
    return combining(after) != 0 or after in _JOINERS or before in _JOINERS

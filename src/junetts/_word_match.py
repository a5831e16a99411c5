"""Which words of a text are those whose times are told, though they be spelt differently."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator

from junetts._spoken_words import UNSPACED

MAX_KEYS = 300  # of either side are compared; a segment has fewer

_KEY = re.compile(rf"[{UNSPACED}]|[^\W_{UNSPACED}](?:[^\W_{UNSPACED}]|[\u0300-\u036f])*")


def keys(text: str) -> Iterator[str]:
    """What spellings of a word have in common."""
    for match in _KEY.finditer(text):
        letters = unicodedata.normalize("NFKD", match[0]).casefold()
        if key := "".join(c for c in letters if unicodedata.category(c)[0] != "M"):
            yield key


def trusted_matches(
    of_text: list[tuple[str, int]], of_words: list[tuple[str, int]]
) -> list[tuple[int, int]]:
    """Which keys are the same, without those that may be so by chance.

    In "1999 nine men", heard as "nineteen ninety nine", the nine is not the text's. So a run of
    matches after words that do not match must be long enough, not counting such words.
    """
    trusted: list[tuple[int, int]] = []
    runs = _runs(_common([key for key, _ in of_text], [key for key, _ in of_words]))
    for number, run in enumerate(runs):
        (i, j), (last_i, last_j) = run[0], trusted[-1] if trusted else (-1, -1)
        n_units = of_text[i][1] - key_after(of_text, last_i)
        skipped = [key for key, _ in of_words[last_j + 1 : j]]
        support = sum(of_text[i][0] not in skipped for i, _ in run)
        if number + 1 < len(runs) and _is_balanced(of_text, run[-1], runs[number + 1][0]):
            support += len(runs[number + 1])
        needed = 3 if n_units > len(skipped) > 0 else 2
        if (i, j) == (last_i + 1, last_j + 1) or support >= needed:
            trusted += run
    return trusted


def key_after(of_text: list[tuple[str, int]], i: int) -> int:
    """The unit to go on with after a key; its own, if there is more of it."""
    if i < 0:
        return 0
    unit = of_text[i][1]
    return unit if i + 1 < len(of_text) and of_text[i + 1][1] == unit else unit + 1


def _is_balanced(
    of_text: list[tuple[str, int]], end: tuple[int, int], start: tuple[int, int]
) -> bool:
    """Whether as many words as were left out, or more, stand between two runs of matches."""
    n_units = of_text[start[0]][1] - key_after(of_text, end[0])
    return 0 < n_units <= start[1] - end[1] - 1


def _runs(pairs: list[tuple[int, int]]) -> list[list[tuple[int, int]]]:
    runs: list[list[tuple[int, int]]] = []
    for i, j in pairs:
        if runs and runs[-1][-1] == (i - 1, j - 1):
            runs[-1].append((i, j))
        else:
            runs.append([(i, j)])
    return runs


def _common(a: list[str], b: list[str]) -> list[tuple[int, int]]:
    """The longest common subsequence: early in ``a`` and late in ``b``, lest words be lost."""
    n = next((n for n, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b)))
    pairs = [(i, i) for i in range(n)]
    a, b = a[n : n + MAX_KEYS], b[n : n + MAX_KEYS]
    lengths = [[0] * (len(b) + 1) for _ in range(len(a) + 1)]  # [i][j]: of a[i:] and b[j:]
    for i in range(len(a) - 1, -1, -1):
        row, below = lengths[i], lengths[i + 1]
        for j in range(len(b) - 1, -1, -1):
            row[j] = below[j + 1] + 1 if a[i] == b[j] else max(row[j + 1], below[j])
    i = j = 0
    while i < len(a) and j < len(b):
        if lengths[i][j + 1] == lengths[i][j]:
            j += 1
        elif a[i] == b[j]:
            pairs.append((n + i, n + j))
            i, j = i + 1, j + 1
        else:
            i += 1
    return pairs

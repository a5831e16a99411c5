"""What the listener heard, as stretches of the text."""

from __future__ import annotations

from dataclasses import dataclass

from faults.story import PLACE_OF, VOICE, WORDS
from junetts.testing import Heard


@dataclass(slots=True, kw_only=True)
class Stretch:
    """Words that follow each other in the text, heard one after another.

    Attributes:
        first: the place of the first one in the text.
        last: the place of the last one.
        broken: the places of those that were not heard whole.
    """

    first: int
    last: int
    broken: list[int]

    def __str__(self) -> str:
        return " ".join(
            WORDS[place].name + "-" * (place in self.broken)
            for place in range(self.first, self.last + 1)
        )

    @property
    def ends_in(self) -> int:
        """The segment of the last word."""
        return WORDS[self.last].segment


def hear(pcm: bytes, sample_rate: int) -> list[Heard]:
    """The words in what was handed out."""
    return VOICE.hear(pcm, sample_rate)


def place_of(one: Heard) -> int | None:
    """Where a word stands in the text; None for noise, and for what is no word of it."""
    return None if one.word is None else PLACE_OF.get(one.word)


def stretches(heard: list[Heard]) -> list[Stretch]:
    """Where the text was followed, and where it was not; what is no part of it is left out."""
    found: list[Stretch] = []
    for one in heard:
        place = place_of(one)
        if place is None:
            continue
        if not found or place != found[-1].last + 1:
            found.append(Stretch(first=place, last=place, broken=[]))
        found[-1].last = place
        if not one.is_whole:
            found[-1].broken.append(place)
    return found

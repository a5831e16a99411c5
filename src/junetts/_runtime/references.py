"""What callers may give for a voice, or for a turn of a conversation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

from junetts._errors import InvalidRequestError
from junetts._runtime.prompt import Codes, Turn
from junetts._utterance import ReferenceClip

Reference: TypeAlias = ReferenceClip | Turn | tuple[str, Codes]


def as_references(references: Sequence[Reference]) -> tuple[ReferenceClip | Turn, ...]:
    """Recordings as they are, all else as turns.

    Raises:
        InvalidRequestError: naming which one is neither.
    """
    return tuple(
        one if isinstance(one, ReferenceClip) else _as_turn(one, "references", index)
        for index, one in enumerate(references)
    )


def as_turns(history: Sequence[Turn | tuple[str, Codes]]) -> list[Turn]:
    """Texts with codes, as turns.

    Raises:
        InvalidRequestError: naming which one is none.
    """
    return [_as_turn(one, "history", index) for index, one in enumerate(history)]


def _as_turn(turn: Turn | tuple[str, Codes], field: str, index: int) -> Turn:
    if isinstance(turn, Turn):
        return turn
    if not _is_pair(turn):
        kinds = (
            "a recording, or a text with its codes" if field == "references" else "(text, codes)"
        )
        raise InvalidRequestError(
            f"{field}[{index}] must be {kinds}, not {type(turn).__name__}", field=field
        )
    text, codes = turn
    return Turn(text=text, codes=codes)


def _is_pair(given: object) -> bool:
    return isinstance(given, (tuple, list)) and len(given) == 2

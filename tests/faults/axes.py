"""What the matrix is made of: every combination of fault, wire, place, segment, call and policy."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import product
from typing import Literal, get_args

from junetts.testing import (
    AFTER_END,
    AT_END,
    BEFORE_ANSWER,
    BEFORE_SOUND,
    Detection,
    Fault,
    FaultKind,
    Where,
    after_bytes,
)
from junetts.testing.faults import RESHAPING, Wire

Place = Literal["at the door", "before sound", "mid-segment", "between segments", "at the end"]
Call = Literal["synthesize", "stream"]
Policy = Literal["respeak", "continue", "fail"]

WIRES: tuple[Wire, ...] = get_args(Wire)
PLACES: tuple[Place, ...] = get_args(Place)
CALLS: tuple[Call, ...] = get_args(Call)
POLICIES: tuple[Policy, ...] = get_args(Policy)
HUGE_BYTES = 2**25 + 1  # one more than the cloud's client takes; more takes longer to make
SEGMENTS = (0, 1, 2)  # the first, one in the middle, the last


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One utterance that meets one fault.

    Attributes:
        wire: of the backend that is preferred, and faulty.
        struck: the segment that the fault strikes.
    """

    wire: Wire
    kind: FaultKind
    place: Place
    struck: int
    call: Call
    policy: Policy

    def __str__(self) -> str:
        where = f"{self.kind.value}, {self.place}, segment {self.struck}"
        return f"{self.wire}: {where}, {self.call}, {self.policy}"

    def fault(self, middle: Where) -> Fault:
        """What strikes; ``middle`` is the middle of the segment on this wire."""
        wheres: Mapping[Place, Where] = {
            "at the door": BEFORE_ANSWER,
            "before sound": BEFORE_SOUND,
            "mid-segment": middle,
            "between segments": AFTER_END,
            "at the end": AT_END,
        }
        return Fault(kind=self.kind, where=wheres[self.place], huge_bytes=HUGE_BYTES)

    @property
    def detection(self) -> Detection:
        """What a client can make of it."""
        return self.fault(after_bytes(1)).detection(self.wire)

    @property
    def may_break_a_sentence(self) -> bool:
        """Whether some of the struck sentence may be heard, but not its end."""
        return self.place in ("mid-segment", "at the end")

    @property
    def why_left_out(self) -> str | None:
        """Why there is no such case, if there is none."""
        return next((why for why, holds in _LEFT_OUT.items() if holds(self)), None)


def cases(wire: Wire, kind: FaultKind, policy: Policy) -> Iterator[Case]:
    """Every combination that there is with these, those left out included."""
    for place, struck, call in product(PLACES, SEGMENTS, CALLS):
        yield Case(wire=wire, kind=kind, place=place, struck=struck, call=call, policy=policy)


def _is_at_door(case: Case) -> bool:
    return case.place == "at the door"


def _has_door_version(case: Case) -> bool:
    return Fault(kind=case.kind, where=BEFORE_ANSWER).is_at_door


_LEFT_OUT: Mapping[str, Callable[[Case], bool]] = {
    "a backend in this process has no door": lambda case: (
        _is_at_door(case) and case.wire == "backend"
    ),
    "it needs an answer that has begun, so not the door": lambda case: (
        _is_at_door(case) and not _has_door_version(case)
    ),
    "at the door there is no text, so no second segment": lambda case: (
        _is_at_door(case) and case.struck > 0
    ),
    "a late finish is at the end, wherever it is wanted": lambda case: (
        case.kind is FaultKind.LATE_FINISH and case.place != "at the end"
    ),
    "what changes audio does so within a segment": lambda case: (
        case.kind in RESHAPING and case.place == "between segments"
    ),
}

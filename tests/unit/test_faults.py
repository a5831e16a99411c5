"""The vocabulary of faults, and plans that say which of them strikes what."""

from __future__ import annotations

from collections import Counter

import pytest

from junetts.testing import (
    AFTER_END,
    AT_END,
    BEFORE_ANSWER,
    BEFORE_SOUND,
    Detection,
    Fault,
    FaultKind,
    FaultPlan,
    FaultRule,
    Where,
    after_bytes,
    after_events,
    applies,
)
from junetts.testing.faults import Wire

WIRES: tuple[Wire, ...] = ("cloud", "server", "backend")
TEXTS = [f"Sentence number {i}." for i in range(500)]


@pytest.mark.parametrize("point", ["answer", "sound", "end", "after"])
def test_a_place_that_is_a_point_has_no_number(point: str) -> None:
    """Only bytes and events are counted."""
    with pytest.raises(ValueError, match=f"'{point}' cannot be after 1"):
        Where(point=point, n=1)  # type: ignore[arg-type]


@pytest.mark.parametrize("n", [0, -1])
def test_a_place_after_nothing_is_no_place(n: int) -> None:
    """Before sound has a name of its own."""
    with pytest.raises(ValueError, match=f"cannot be after {n}"):
        after_bytes(n)
    with pytest.raises(ValueError, match=f"cannot be after {n}"):
        after_events(n)


def test_a_fault_says_what_it_is() -> None:
    """For the names of tests and the lines of reports."""
    assert str(Fault(kind=FaultKind.HALF_OPEN, where=after_bytes(7))) == "half-open at bytes 7"
    assert str(Fault(kind=FaultKind.DROP, where=AT_END)) == "close without a frame at end"


@pytest.mark.parametrize(
    "kind", [FaultKind.DUPLICATE, FaultKind.REORDER, FaultKind.WRONG_RATE, FaultKind.ZEROS]
)
def test_what_no_client_can_see(kind: FaultKind) -> None:
    """The reason is told."""
    fault = Fault(kind=kind, where=after_events(1))
    assert not fault.is_detectable
    assert fault.why_undetectable
    assert {fault.detection(wire) for wire in WIRES} == {Detection.IMPOSSIBLE}


@pytest.mark.parametrize("kind", [FaultKind.ZEROS, FaultKind.NO_AUDIO])
def test_silence_can_be_seen_if_there_is_nothing_else(kind: FaultKind) -> None:
    """Once there was sound it may be a pause, or the end."""
    assert Fault(kind=kind, where=BEFORE_SOUND).is_detectable
    assert Fault(kind=kind, where=BEFORE_ANSWER).is_detectable
    assert not Fault(kind=kind, where=AT_END).is_detectable


def test_what_is_harmless() -> None:
    """All audio comes, if slowly; in process nothing bounds an item; and what is over is whole."""
    trickle, huge = Fault(kind=FaultKind.TRICKLE), Fault(kind=FaultKind.HUGE_FRAME)
    assert {trickle.detection(wire) for wire in WIRES} == {Detection.HARMLESS}
    assert huge.detection("backend") is Detection.HARMLESS
    assert Fault(kind=FaultKind.DROP, where=AFTER_END).detection("cloud") is Detection.HARMLESS
    assert Fault(kind=FaultKind.ZEROS, where=AFTER_END).detection("cloud") is Detection.IMPOSSIBLE
    assert huge.detection("cloud") is huge.detection("server") is Detection.FAILURE


@pytest.mark.parametrize("kind", FaultKind)
def test_each_kind_is_something_on_each_wire(kind: FaultKind) -> None:
    """Itself, or its nearest equivalent in words."""
    for wire in WIRES:
        application = applies(kind, wire)
        assert application.what
        assert application.is_literal == (application.what == kind.value)
    assert applies(FaultKind.FINISH_ERROR, "cloud").is_literal
    assert not applies(FaultKind.FINISH_ERROR, "server").is_literal


def test_the_first_rule_that_fits_strikes() -> None:
    """Until it is spent."""
    first, second = Fault(kind=FaultKind.DROP), Fault(kind=FaultKind.RESET)
    plan = FaultPlan(FaultRule(fault=first, when=str.isupper, times=2), second)
    struck = [plan.in_segment(text) for text in ("A", "a", "A", "A")]
    assert struck == [first, second, first, second]
    assert [strike.text for strike in plan.strikes] == ["A", "a", "A", "A"]


def test_what_strikes_at_the_door_spares_the_segments() -> None:
    """Except where there is no door."""
    fault = Fault(kind=FaultKind.STATUS)
    plan = FaultPlan(fault)
    assert plan.in_segment("A") is None
    assert plan.at_door() is fault
    assert plan.in_segment("A", has_door=False) is fault
    assert plan.at_start() is None


def test_a_port_that_is_shut_is_shut_once() -> None:
    """Whoever comes after it was opened may come in."""
    fault = Fault(kind=FaultKind.REFUSE)
    plan = FaultPlan(fault)
    assert plan.at_start() is fault
    assert plan.at_door() is None
    assert [strike.text for strike in plan.strikes] == [None]


def test_conditions_on_the_text_keep_a_fault_from_the_door() -> None:
    """There nothing is known of it."""
    fault = Fault(kind=FaultKind.REFUSE)
    for rule in (FaultRule(fault=fault, when=bool), FaultRule(fault=fault, segment=0)):
        plan = FaultPlan(rule)
        assert plan.at_start() is plan.at_door() is None
        assert plan.in_segment("A") is fault


def test_chance_depends_on_seed_and_text_alone() -> None:
    """Concurrent speakers may come in any order; a text that comes again has another chance."""
    one, same, other = (FaultPlan.random(seed, wire="cloud") for seed in (1, 1, 2))
    forwards = [one.in_segment(text) for text in TEXTS]
    backwards = [same.in_segment(text) for text in reversed(TEXTS)]
    assert forwards == backwards[::-1]
    assert forwards != [other.in_segment(text) for text in TEXTS]
    assert forwards != [one.in_segment(text) for text in TEXTS]


@pytest.mark.parametrize("wire", WIRES)
def test_chance_strikes_as_often_as_it_is_told_to(wire: Wire) -> None:
    """With all kinds, everywhere, but with nothing that cannot be seen."""
    plan = FaultPlan.random(3, wire=wire, rate=0.3)
    struck = [fault for text in TEXTS * 4 if (fault := plan.in_segment(text)) is not None]
    assert 0.25 < len(struck) / (4 * len(TEXTS)) < 0.35
    assert all(fault.detection(wire) is not Detection.IMPOSSIBLE for fault in struck)
    kinds = Counter(fault.kind for fault in struck)
    always_hidden = {FaultKind.DUPLICATE, FaultKind.REORDER, FaultKind.WRONG_RATE}
    assert set(kinds) == set(FaultKind) - always_hidden
    assert {fault.where.point for fault in struck} == {
        "answer",
        "sound",
        "bytes",
        "events",
        "end",
        "after",
    }
    assert all(fault.lasts_s is not None for fault in struck)
    assert plan.at_door() is None


def test_chance_can_be_narrowed_and_widened() -> None:
    """To some kinds, and to those that no client can see."""
    kinds = (FaultKind.DUPLICATE, FaultKind.STALL)
    plan = FaultPlan.random(3, wire="cloud", rate=1.0, kinds=kinds, is_undetectable_too=True)
    struck = [plan.in_segment(text) for text in TEXTS]
    assert {fault.kind for fault in struck if fault is not None} == set(kinds)
    assert None not in struck
    assert not any(FaultPlan.random(3, wire="cloud", rate=0).in_segment(text) for text in TEXTS)


def test_chance_without_anything_to_see_is_refused() -> None:
    """Rather than looked for, for ever."""
    with pytest.raises(ValueError, match="none of these kinds"):
        FaultPlan.random(3, wire="cloud", kinds=[FaultKind.REORDER])

"""Which fault strikes which segment, connection or request."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from junetts.testing.faults import (
    AFTER_END,
    AT_END,
    BEFORE_ANSWER,
    BEFORE_SOUND,
    Detection,
    Fault,
    FaultKind,
    Where,
    Wire,
    after_bytes,
    after_events,
)

Draw = Callable[[str, int], Fault | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class FaultRule:
    """When a fault strikes; a rule without conditions strikes whatever comes.

    Attributes:
        fault: what strikes.
        when: whether it strikes a text.
        segment: which of the distinct texts it strikes, the first being 0; the same text again
            is the same segment, however often and over however many sockets it is asked for.
        request: which request it strikes, the first being 0. For faults at the door these are
            connections and calls of any kind, else requests to speak, repeated ones included.
        times: how often it strikes at most.
    """

    fault: Fault
    when: Callable[[str], bool] | None = None
    segment: int | None = None
    request: int | None = None
    times: int | None = None

    @property
    def is_at_door(self) -> bool:
        """Whether it can strike whoever knocks, because it does not depend on the text."""
        needs_text = self.when is not None or self.segment is not None
        return self.fault.is_at_door and not needs_text

    @property
    def shuts_port(self) -> bool:
        """Whether it keeps the port shut from the beginning."""
        is_about_port = self.fault.kind in (FaultKind.REFUSE, FaultKind.NEVER_ACCEPT)
        return self.is_at_door and is_about_port and self.request is None


@dataclass(frozen=True, slots=True, kw_only=True)
class Strike:
    """A fault that struck; ``text`` is None where it struck before there was any."""

    fault: Fault
    text: str | None


class FaultPlan:
    """Decides for every knock and every segment whether something goes wrong.

    The first rule that fits strikes. A plan has a memory, so make one for each server.

    Args:
        rules: a fault alone is a rule without conditions.

    Attributes:
        strikes: what struck, in order.
    """

    def __init__(self, *rules: FaultRule | Fault) -> None:
        self.strikes: list[Strike] = []
        self._rules = [_rule(given) for given in rules]
        self._n_left = [rule.times for rule in self._rules]
        self._draw: Draw = _draw_nothing
        self._segments: dict[str, int] = {}
        self._asked: Counter[str] = Counter()
        self._n_knocks = 0

    @classmethod
    def random(
        cls,
        seed: int,
        *,
        wire: Wire,
        rate: float = 0.3,
        kinds: Iterable[FaultKind] = FaultKind,
        is_undetectable_too: bool = False,
    ) -> FaultPlan:
        """A plan that strikes at random, never at the door, but within a segment.

        What strikes a text depends on the seed, the text and how often it was asked for, not
        on the order in which concurrent speakers come. Doors that close open again.

        Args:
            seed: the same one gives the same faults.
            wire: what the plan is for.
            rate: the share of segments that are struck, from 0 to 1.
            kinds: what may strike.
            is_undetectable_too: whether faults that no client can see may strike.

        Raises:
            ValueError: if none of the kinds may.
        """
        plan = cls()
        chosen = tuple(kinds)
        if not is_undetectable_too and not any(Fault(kind=kind).is_detectable for kind in chosen):
            raise ValueError("none of these kinds can be detected by a client")

        def draw(text: str, n_before: int) -> Fault | None:
            dice = random.Random(f"{seed} {n_before} {text}")  # noqa: S311  no secret
            if dice.random() >= rate:
                return None
            while True:
                fault = _any_fault(dice, chosen)
                if is_undetectable_too or fault.detection(wire) is not Detection.IMPOSSIBLE:
                    return fault

        plan._draw = draw
        return plan

    def at_start(self) -> Fault | None:
        """What keeps the port shut from the beginning, if anything does."""
        return self._struck((i for i, rule in enumerate(self._rules) if rule.shuts_port), text=None)

    def at_door(self) -> Fault | None:
        """What strikes the next connection or call, before it is looked at."""
        n_before, self._n_knocks = self._n_knocks, self._n_knocks + 1
        fits = (
            i
            for i, rule in enumerate(self._rules)
            if rule.is_at_door and not rule.shuts_port and rule.request in (None, n_before)
        )
        return self._struck(fits, text=None)

    def in_segment(self, text: str, *, has_door: bool = True) -> Fault | None:
        """What strikes the next request to speak this text.

        Where there is no door, what would have struck there strikes here.
        """
        n_requests = self._asked.total()
        n_same = self._asked[text]
        self._asked[text] += 1
        segment = self._segments.setdefault(text, len(self._segments))
        fits = (
            i
            for i, rule in enumerate(self._rules)
            if not (has_door and rule.is_at_door)
            and rule.segment in (None, segment)
            and rule.request in (None, n_requests)
            and (rule.when is None or rule.when(text))
        )
        struck = self._struck(fits, text=text)
        return struck or self._record(self._draw(text, n_same), text)

    def _struck(self, fitting: Iterable[int], *, text: str | None) -> Fault | None:
        for i in fitting:
            n_left = self._n_left[i]
            if n_left is None or n_left > 0:
                self._n_left[i] = None if n_left is None else n_left - 1
                return self._record(self._rules[i].fault, text)
        return None

    def _record(self, fault: Fault | None, text: str | None) -> Fault | None:
        if fault is not None:
            self.strikes.append(Strike(fault=fault, text=text))
        return fault


def _rule(given: FaultRule | Fault) -> FaultRule:
    return given if isinstance(given, FaultRule) else FaultRule(fault=given)


def _draw_nothing(_text: str, _n_before: int) -> None:
    return None


def _any_fault(dice: random.Random, kinds: tuple[FaultKind, ...]) -> Fault:
    return Fault(
        kind=dice.choice(kinds),
        where=_anywhere(dice),
        status=dice.choice((401, 402, 429, 500, 502, 503)),
        retry_after_s=dice.choice((None, 1.0, 5.0)),
        max_concurrency=dice.choice((None, 5)),
        delay_s=dice.uniform(0.1, 60.0),
        trickle_bytes=dice.randint(1, 7),
        lasts_s=dice.uniform(0.1, 5.0),
    )


def _anywhere(dice: random.Random) -> Where:
    places = (
        BEFORE_ANSWER,
        BEFORE_SOUND,
        after_bytes(dice.randint(1, 100_000)),
        after_events(dice.randint(1, 20)),
        AT_END,
        AFTER_END,
    )
    return dice.choice(places)

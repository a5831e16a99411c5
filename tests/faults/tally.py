"""How many cases there were, failed and were left out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from faults.axes import WIRES, Case
from junetts.testing.faults import Wire, applies


class Tally:
    """Counts cases; `lines` says it in words."""

    def __init__(self) -> None:
        self._n_cases: Counter[Wire] = Counter()
        self._n_failures: Counter[Wire] = Counter()
        self._n_nearest: Counter[Wire] = Counter()
        self._n_left_out: Counter[Wire] = Counter()
        self._why_left_out: Counter[str] = Counter()

    def played(self, case: Case, *, failed: bool) -> None:
        """Count a case that was played."""
        self._n_cases[case.wire] += 1
        self._n_failures[case.wire] += failed
        self._n_nearest[case.wire] += not applies(case.kind, case.wire).is_literal

    def left_out(self, case: Case, why: str) -> None:
        """Count a combination that does not exist."""
        self._n_left_out[case.wire] += 1
        self._why_left_out[why] += 1

    def lines(self) -> Iterator[str]:
        """The counts, per wire and in all, and the reasons; none if nothing was counted."""
        if not self._n_cases:
            return
        yield f"{'wire':<10}{'cases':>8}{'failures':>10}{'left out':>10}{'nearest kin':>13}"
        for wire in WIRES:
            yield self._line(wire, *(counter[wire] for counter in self._counters))
        yield self._line("all", *(counter.total() for counter in self._counters))
        yield "nearest kin: the fault has no literal form on the wire, so what is nearest to it"
        for why, n in self._why_left_out.most_common():
            yield f"left out: {n:>5}, because {why}"

    @property
    def _counters(self) -> tuple[Counter[Wire], ...]:
        return (self._n_cases, self._n_failures, self._n_left_out, self._n_nearest)

    @staticmethod
    def _line(name: str, n_cases: int, n_failures: int, n_left_out: int, n_nearest: int) -> str:
        return f"{name:<10}{n_cases:>8}{n_failures:>10}{n_left_out:>10}{n_nearest:>13}"

"""Every fault, everywhere, in every way to speak: what is heard is right, and what is told true."""

from __future__ import annotations

import pytest

from faults.axes import POLICIES, WIRES, Case, Policy, cases
from faults.stage import play
from faults.tally import Tally
from faults.verdict import complaints
from junetts.testing import FaultKind
from junetts.testing.faults import Wire
from junetts.testing.virtual_time import StuckError

MAX_SHOWN = 12


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("kind", FaultKind, ids=lambda kind: kind.value)
@pytest.mark.parametrize("wire", WIRES)
def test_matrix(wire: Wire, kind: FaultKind, policy: Policy, tally: Tally) -> None:
    """No finished sentence is heard twice, none is lost, and the ending is honest."""
    failures: list[str] = []
    for case in cases(wire, kind, policy):
        if case.why_left_out is not None:
            tally.left_out(case, case.why_left_out)
            continue
        wrong = judged(case)
        tally.played(case, failed=bool(wrong))
        if wrong:
            failures.append("\n    ".join([str(case), *wrong]))
    shown = "\n".join(failures[:MAX_SHOWN])
    assert not failures, f"{len(failures)} cases failed, the first of them:\n{shown}"


def judged(case: Case) -> list[str]:
    """Play a case, and say what is wrong with it."""
    try:
        return complaints(case, play(case))
    except StuckError as error:
        return [f"it hangs: {error}"]
    except Exception as error:  # noqa: BLE001  (noqa: reviewed) counted, whatever it is
        return [f"it raises {error!r}"]

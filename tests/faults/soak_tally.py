"""What a soak amounted to, told in one line when all tests are over."""

from __future__ import annotations

from collections import Counter

import pytest

from faults.soak_clients import Life
from junetts import Finished, HandedOver, Hedged, Retrying, VoiceSubstituted

KINDS = {
    HandedOver: "handovers",
    Retrying: "retries",
    Hedged: "hedges",
    VoiceSubstituted: "substitutions",
}


class Tally:
    """Counts utterances by outcome, and what it took to speak them."""

    def __init__(self) -> None:
        self.outcomes: Counter[str] = Counter()
        self.events: Counter[str] = Counter()
        self.n_faults = 0
        self.n_failed_seeds = 0

    def add(self, life: Life) -> None:
        """Count one client's utterances."""
        self.n_faults += life.n_strikes
        for event in life.events:
            if isinstance(event, Finished):
                self.outcomes[event.report.outcome] += 1
            elif type(event) in KINDS:
                self.events[KINDS[type(event)]] += 1

    def __str__(self) -> str:
        outcomes = ", ".join(f"{n} {outcome}" for outcome, n in sorted(self.outcomes.items()))
        events = ", ".join(f"{self.events[name]} {name}" for name in KINDS.values())
        return (
            f"soak: {self.outcomes.total()} utterances ({outcomes}), {self.n_faults} faults, "
            f"{events}; {self.n_failed_seeds} seeds failed"
        )

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Print it below the results."""
        terminalreporter.write_line(str(self))

"""The mutants of all that keeps speech going when a backend fails."""

from __future__ import annotations

from mutation import (
    chronicle,
    delivery,
    failover,
    journal,
    relay,
    replay,
    roster,
    seam,
    starter,
    watch,
)

TARGETS = (
    failover.TARGET,
    relay.TARGET,
    starter.TARGET,
    delivery.TARGET,
    roster.TARGET,
    replay.TARGET,
    seam.TARGET,
    watch.TARGET,
    journal.TARGET,
    chronicle.TARGET,
)

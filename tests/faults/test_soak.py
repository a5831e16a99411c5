"""Thousands of utterances over flaky backends: no word is lost or repeated, and nothing hangs.

``SOAK_SEEDS=100`` runs more of them, ``SOAK_FIRST_SEED=17 SOAK_SEEDS=1`` the seed that failed.
"""

from __future__ import annotations

import os
import random

import pytest

from faults.soak_checks import check_life
from faults.soak_clients import lived
from faults.soak_plan import soak_plans
from faults.soak_tally import Tally

N_PER_SEED = 200
FIRST_SEED = int(os.environ.get("SOAK_FIRST_SEED", "0"))
N_SEEDS = int(os.environ.get("SOAK_SEEDS", "25"))


@pytest.fixture(scope="module")
def counts(request: pytest.FixtureRequest) -> Tally:
    """Counts what all seeds did."""
    counting = Tally()
    request.config.pluginmanager.register(counting, "soak tally")
    return counting


@pytest.fixture
def chance(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have back-off and probes draw from the seed, too."""
    dice = random.Random(seed)
    monkeypatch.setattr("junetts._monitor.Random", lambda: dice)
    random.seed(seed)


@pytest.mark.usefixtures("chance")
@pytest.mark.parametrize("seed", range(FIRST_SEED, FIRST_SEED + N_SEEDS))
def test_speech_survives_whatever_happens(seed: int, counts: Tally) -> None:
    """Every word in order and once, an honest ending, and nothing left of any client."""
    for plan in soak_plans(seed, n_utterances=N_PER_SEED):
        try:
            life = lived(plan)
            counts.add(life)
            check_life(life)
        except BaseException as error:
            counts.n_failed_seeds += 1
            error.add_note(f"seed {seed}, client {plan.number}: SOAK_FIRST_SEED={seed}")
            raise

"""Loading a checkpoint: it can be given up."""

from __future__ import annotations

from pathlib import Path

import pytest

from junetts import EngineError
from junetts._runtime.runtime import load_runtime

CHECKPOINT = Path(__file__).parents[2] / "data" / "s1-tiny"


class Patience:
    """Ends after so many questions."""

    def __init__(self, n_questions: float) -> None:
        self.n_asked = 0
        self._n_questions = n_questions

    def __call__(self) -> None:
        """Be asked."""
        self.n_asked += 1
        if self.n_asked > self._n_questions:
            raise EngineError("nobody waits any more")


def test_loading_can_be_given_up_at_any_time() -> None:
    """Between files, and between the weights of both networks."""
    endless = Patience(float("inf"))
    runtime = load_runtime(CHECKPOINT, device="cpu", dtype="float32", check=endless)
    n_weights = sum(1 for _ in runtime.model.parameters())
    assert endless.n_asked > 2 * n_weights
    for n_questions in (0, 1, 2, n_weights, endless.n_asked - 1):
        short = Patience(n_questions)
        with pytest.raises(EngineError, match="nobody waits"):
            load_runtime(CHECKPOINT, device="cpu", dtype="float32", check=short)
        assert short.n_asked == n_questions + 1

"""Delays between tries."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from junetts._backoff import Backoff

BACKOFF = Backoff(first_s=0.5, max_s=4.0)


@pytest.mark.parametrize(
    ("n_failures", "delay_s"), [(1, 0.5), (2, 1.0), (3, 2.0), (4, 4.0), (9, 4.0)]
)
def test_it_doubles_up_to_its_bound(n_failures: int, delay_s: float) -> None:
    """Without chance, it is 0.5, 1, 2, 4, 4..."""
    assert BACKOFF.delay_s(n_failures, random=lambda: 0.0) == delay_s


def test_chance_takes_away_half_at_most() -> None:
    """Clients that failed together do not come back together."""
    assert BACKOFF.delay_s(2, random=lambda: 1.0) == 0.5
    assert BACKOFF.delay_s(2, random=lambda: 0.5) == 0.75


def test_a_server_is_not_come_back_to_sooner_than_it_asked() -> None:
    """Retry-After is the least, not the most."""
    assert BACKOFF.delay_s(1, random=lambda: 1.0, retry_after_s=7.0) == 7.0
    assert BACKOFF.delay_s(4, random=lambda: 0.0, retry_after_s=1.0) == 4.0


@given(st.integers(1, 10**9), st.floats(0, 1), st.none() | st.floats(0, 100))
def test_it_is_always_within_its_bounds(
    n_failures: int, chance: float, retry_after_s: float | None
) -> None:
    """Whatever happened, the delay is a number of seconds to be lived with."""
    delay_s = BACKOFF.delay_s(n_failures, random=lambda: chance, retry_after_s=retry_after_s)
    assert 0.25 <= delay_s <= max(4.0, retry_after_s or 0.0)
    assert delay_s >= (retry_after_s or 0.0)

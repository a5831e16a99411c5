"""How long to wait before something that failed is tried again."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

_MAX_DOUBLINGS = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class Backoff:
    """Delays that double with every failure, up to a bound, each shortened at random.

    The randomness keeps clients that failed together from coming back together.

    Attributes:
        first_s: the delay after the first failure, at most.
        max_s: the longest delay.
        jitter: the part of a delay that chance may take away, 0 to 1.
    """

    first_s: float
    max_s: float
    jitter: float = 0.5

    def delay_s(
        self,
        n_failures: int,
        *,
        random: Callable[[], float],
        retry_after_s: float | None = None,
    ) -> float:
        """The delay after that many failures in a row.

        Args:
            n_failures: at least 1.
            random: gives numbers from 0 to 1.
            retry_after_s: what the server asked for; it is never come back to sooner.
        """
        doublings = min(n_failures - 1, _MAX_DOUBLINGS)
        delay_s = min(self.max_s, self.first_s * 2.0**doublings)
        delay_s *= 1.0 - self.jitter * random()
        return max(delay_s, retry_after_s or 0.0)

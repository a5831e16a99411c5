"""Whose turn it is to begin, while an utterance has no sound."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from junetts._backoff import Backoff
from junetts._errors import (
    AuthenticationError,
    BackendTimeoutError,
    InvalidRequestError,
    JuneTtsError,
    QuotaError,
    RequestRejectedError,
    UnknownVoiceError,
)

RETRY = Backoff(first_s=0.25, max_s=8.0)
LAST_RESORT_S = 1.0  # how long a retry of a sound backend may keep one that is down waiting
OWN_VOICE_S = 1e6  # another voice comes after everything else

_FOR_GOOD = (InvalidRequestError, RequestRejectedError, AuthenticationError, QuotaError)


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """One backend's chance to begin.

    Attributes:
        backend: its name.
        number: 1 for the first try.
        not_before: when, on the caller's clock.
        is_last_resort: it is known to be down.
        in_own_voice: not in the voice that was asked for, which it does not know.
        wants_patience: it had a short deadline before, and is to have a long one.
    """

    backend: str
    number: int = 1
    not_before: float = 0.0
    is_last_resort: bool = False
    in_own_voice: bool = False
    wants_patience: bool = False

    @property
    def is_relief(self) -> bool:
        """Whether there is reason to believe that it will succeed where another is late."""
        return self.number == 1 and not self.is_last_resort and not self.in_own_voice

    def handicap_s(self, now: float) -> float:
        """The less, the sooner its turn is."""
        waiting_s = max(0.0, self.not_before - now)
        return waiting_s + LAST_RESORT_S * self.is_last_resort + OWN_VOICE_S * self.in_own_voice


class Roster:
    """The turns of one utterance's backends; pure, but for what `is_ready` and `random` say.

    Guarantees: backends have their first turns in order of preference, those that are known to
    be down last; a second turn comes when each that is not down has had its first; no turn is
    given that cannot help; one that broke off after sound is not next, and comes last later on,
    and not at all once it has broken off ``tries`` times; the number of turns is bounded.

    Args:
        names: in order of preference.
        is_ready: whether a backend is not known to be down.
        tries: turns per backend, without counting the one in its own voice.
        max_wait_s: the longest wait for a turn that is worth it.
        substitutes: whether those who do not know the voice may speak in their own at last.
        random: gives numbers from 0 to 1.
    """

    def __init__(
        self,
        names: Sequence[str],
        *,
        is_ready: Callable[[str], bool],
        tries: int,
        max_wait_s: float,
        substitutes: bool,
        random: Callable[[], float],
    ) -> None:
        self._names = tuple(names)
        self._is_ready = is_ready
        self._tries = tries
        self._max_wait_s = max_wait_s
        self._substitutes = substitutes
        self._random = random
        self._n_breaks: Counter[str] = Counter()  # after sound
        self._broken: set[str] = set()  # those who did, and were not called back since
        self._last_broken: str | None = None
        self._refused: set[str] = set()  # will refuse this utterance again
        self._strangers: set[str] = set()  # do not know its voice
        self._is_patience_spent = False
        self._turns: list[Turn] = []

    def begin(self) -> None:
        """Give everyone a first turn who has neither broken off nor refused for good."""
        self._is_patience_spent = False
        candidates = [name for name in self.admitted if name not in self._refused]
        ready = {name for name in candidates if self._is_ready(name) and name not in self._broken}
        # If all are down, that does not tell one from the other.
        self._turns = [
            Turn(
                backend=name,
                is_last_resort=bool(ready) and name not in ready,
                in_own_voice=name in self._strangers,
            )
            for name in candidates
        ]

    @property
    def admitted(self) -> tuple[str, ...]:
        """Those who may speak: not who has just broken off, nor who has too often."""
        return tuple(name for name in self._names if self._is_admitted(name))

    def _is_admitted(self, name: str) -> bool:
        return name != self._last_broken and self._n_breaks[name] < self._tries

    @property
    def has_relief(self) -> bool:
        """Whether someone is left who could take over from one that is late."""
        return any(turn.is_relief for turn in self._turns)

    def take(self, *, now: float) -> Turn | None:
        """The next turn, which may be for later; None if nobody is left."""
        if self._is_patience_spent:
            self._turns = [turn for turn in self._turns if not turn.wants_patience]
        if not self._turns:
            return None
        turn = min(self._turns, key=lambda turn: turn.handicap_s(now))
        self._turns.remove(turn)
        return turn

    def failed(
        self, turn: Turn, error: JuneTtsError, *, now: float, was_hurried: bool
    ) -> Turn | None:
        """Enter that a turn came to nothing; returns the one that it gets instead, if any.

        ``was_hurried`` says that a time-out was a short one, so that patience may help.
        """
        again = self._another(turn, error, now=now, was_hurried=was_hurried)
        if again is not None:
            self._turns.append(again)
        return again

    def _another(
        self, turn: Turn, error: JuneTtsError, *, now: float, was_hurried: bool
    ) -> Turn | None:
        if isinstance(error, UnknownVoiceError):
            if turn.in_own_voice or not self._substitutes:
                self._refused.add(turn.backend)
                return None
            self._strangers.add(turn.backend)
            return Turn(backend=turn.backend, in_own_voice=True)
        if isinstance(error, _FOR_GOOD):
            self._refused.add(turn.backend)
        if isinstance(error, BackendTimeoutError) and not was_hurried:
            self._is_patience_spent = True
        if not self._can_help(turn, error, was_hurried=was_hurried):
            return None
        delay_s = RETRY.delay_s(turn.number, random=self._random, retry_after_s=error.retry_after_s)
        if delay_s > self._max_wait_s:
            return None
        return Turn(
            backend=turn.backend,
            number=turn.number + 1,
            not_before=now + delay_s,
            is_last_resort=turn.is_last_resort,
            in_own_voice=turn.in_own_voice,
            wants_patience=isinstance(error, BackendTimeoutError),
        )

    def _can_help(self, turn: Turn, error: JuneTtsError, *, was_hurried: bool) -> bool:
        """Whether the same backend may do better next time."""
        if turn.number >= self._tries or isinstance(error, InvalidRequestError):
            return False
        if isinstance(error, BackendTimeoutError):
            return was_hurried
        return error.retryable

    def broke_off(self, name: str) -> None:
        """Note that a backend failed after sound; it comes last from now on, and not next."""
        self._n_breaks[name] += 1
        self._broken.add(name)
        self._last_broken = name

    def better_than(self, name: str) -> tuple[str, ...]:
        """Who is preferred to a backend and may speak: not who refused or broke too often."""
        before = self._names[: self._names.index(name)]
        unwilling = self._refused | self._strangers
        return tuple(
            other
            for other in before
            if other not in unwilling and self._n_breaks[other] < self._tries
        )

    def call_back(self, name: str) -> None:
        """Let a backend that broke off have its usual turn: it has recovered, and is wanted."""
        self._broken.discard(name)
        if self._last_broken == name:
            self._last_broken = None

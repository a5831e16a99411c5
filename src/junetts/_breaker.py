"""One backend's breaker: whether it is worth trying, and when to look at it again."""

from __future__ import annotations

import enum
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

from junetts._errors import (
    AuthenticationError,
    InvalidRequestError,
    JuneTtsError,
    QuotaError,
    RequestRejectedError,
)

BreakerState = Literal["closed", "open", "half_open"]

_ABOUT_THE_REQUEST = (InvalidRequestError, RequestRejectedError)  # any backend might say so
_HELD = (AuthenticationError, QuotaError)  # time does not mend these


@dataclass(frozen=True, slots=True, kw_only=True)
class BreakerRules:
    """When a backend that failed is looked at again.

    Attributes:
        first_probe_s: how long after it failed; each further wait is twice as long.
        max_probe_s: the longest wait, unless the backend itself asks for a longer one.
        jitter: the share by which chance may shorten a wait, so that many clients of one server
            do not come back together; 0 to less than 1.
    """

    first_probe_s: float = 1.0
    max_probe_s: float = 60.0
    jitter: float = 0.2

    def __post_init__(self) -> None:
        if not 0 < self.first_probe_s <= self.max_probe_s:
            raise ValueError("first_probe_s must be more than 0 and at most max_probe_s")
        if not 0 <= self.jitter < 1:
            raise ValueError("jitter must be from 0 to less than 1")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Use:
    """One utterance's use of a backend; verdicts on the backend name the use they come from."""

    era: int
    is_trial: bool


class _Stage(enum.Enum):
    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half-open, waiting for an utterance to try it"
    ON_TRIAL = "half-open, being tried"


_What = Literal["begun", "succeeded", "failed", "left", "probed well", "probed ill"]

_STATE: Mapping[_Stage, BreakerState] = {
    _Stage.CLOSED: "closed",
    _Stage.OPEN: "open",
    _Stage.HALF_OPEN: "half_open",
    _Stage.ON_TRIAL: "half_open",
}
# What is not in the table changes nothing. A trial is not ended by a probe: speech knows better.
_NEXT: Mapping[_Stage, Mapping[_What, _Stage]] = {
    _Stage.CLOSED: {
        "failed": _Stage.OPEN,
    },
    _Stage.OPEN: {
        "succeeded": _Stage.CLOSED,
        "probed well": _Stage.HALF_OPEN,
    },
    _Stage.HALF_OPEN: {
        "begun": _Stage.ON_TRIAL,
        "succeeded": _Stage.CLOSED,
        "failed": _Stage.OPEN,
        "probed ill": _Stage.OPEN,
    },
    _Stage.ON_TRIAL: {
        "succeeded": _Stage.CLOSED,
        "failed": _Stage.OPEN,
        "left": _Stage.HALF_OPEN,
    },
}


class Breaker:
    """Follows one backend's successes and failures; pure, times are passed in.

    Guarantees: it opens at the first failure that speaks against the backend rather than the
    request; while half-open, one utterance at a time is the trial; a whole segment spoken closes
    it. A verdict counts only if its utterance began after the breaker last opened and after the
    last good probe: ten utterances that one outage breaks off open it once and lengthen no wait,
    one that noticed late does not undo a recovery, and one that finishes what was made before
    the outage does not end it. A probe's verdict counts only if nothing changed meanwhile.

    Attributes:
        reason: the failure that opened it, or a refused key or spent credit found since then.
        probe_at: when it should be probed; None while it is not open, and where waiting is no
            help: after a refused key or spent credit.
        n_failures: how often in a row it was found failing, by utterances and by probes.
        era: grows with every change of ``state``.
    """

    def __init__(self, rules: BreakerRules, *, random: Callable[[], float]) -> None:
        self.reason: JuneTtsError | None = None
        self.probe_at: float | None = None
        self.n_failures = 0
        self.era = 0
        self._rules = rules
        self._random = random
        self._stage = _Stage.CLOSED
        self._wait_s = rules.first_probe_s
        self._heard_since = 0  # the first era whose utterances have a say
        self._trial: Use | None = None

    def __repr__(self) -> str:
        return f"Breaker({self._stage.value})"

    @property
    def state(self) -> BreakerState:
        """``closed`` is working, ``open`` is not, ``half_open`` may be."""
        return _STATE[self._stage]

    @property
    def is_ready(self) -> bool:
        """Whether an utterance should use the backend, if need be as the trial."""
        return self._stage in (_Stage.CLOSED, _Stage.HALF_OPEN)

    def begin(self) -> Use:
        """Note that an utterance begins to use the backend, ready or not."""
        is_trial = self._stage is _Stage.HALF_OPEN
        use = Use(era=self.era, is_trial=is_trial)
        if is_trial:
            self._trial = use
        self._advance("begun")
        return use

    def succeeded(self, *, use: Use) -> BreakerState | None:
        """Note that a whole segment was spoken; returns the state, if it is a new one."""
        if not self._has_a_say(use):
            return None
        entered = self._advance("succeeded")
        if entered is not None:
            self.reason = self.probe_at = None
            self.n_failures = 0
            self._wait_s = self._rules.first_probe_s
        return entered

    def failed(self, error: JuneTtsError, *, use: Use, now: float) -> BreakerState | None:
        """Note a failure; returns the state, if it is a new one.

        A failure that is the request's fault says nothing about the backend: a trial is given
        back. While open, a failure changes no wait, lest a busy client never probe at all; but
        the time that a server asked to be left alone is kept.
        """
        if not speaks_against_backend(error):
            self.left(use=use)
            return None
        if not self._has_a_say(use):
            return None
        return self._found_failing("failed", error, now=now)

    def left(self, *, use: Use) -> None:
        """Note that a use is over; a trial without a verdict is given back."""
        if use is self._trial:
            self._advance("left")

    def probed(
        self, is_ok: bool, *, since: int, now: float, reason: JuneTtsError | None = None
    ) -> BreakerState | None:
        """Note what a probe found that began in the era ``since``; returns the state, if new.

        A good probe makes an open breaker half-open. After any other, the next wait is longer.
        ``reason`` is given if the backend is unavailable rather than busy, and opens a half-open
        breaker; not a closed one, for what speaks need not answer probes.
        """
        if since != self.era:
            return None
        if is_ok:
            return self._found_well()
        entered = None
        if reason is not None and speaks_against_backend(reason):
            entered = self._found_failing("probed ill", reason, now=now)
        if entered is None and self._stage is _Stage.OPEN:
            self._wait(now)
        return entered

    def _has_a_say(self, use: Use) -> bool:
        return use.era >= self._heard_since

    def _advance(self, what: _What) -> BreakerState | None:
        before = self.state
        self._stage = _NEXT[self._stage].get(what, self._stage)
        if self.state == before:
            return None
        self.era += 1
        return self.state

    def _found_well(self) -> BreakerState | None:
        entered = self._advance("probed well")
        if entered is not None:
            self.probe_at = None
            self._heard_since = self.era
        return entered

    def _found_failing(
        self, what: _What, error: JuneTtsError, *, now: float
    ) -> BreakerState | None:
        entered = self._advance(what)
        if self._stage is not _Stage.OPEN:
            return None
        self.n_failures += 1
        if entered is not None or isinstance(error, _HELD):
            self.reason = error
        if entered is not None:
            self._heard_since = self.era
            self._wait(now)
        self._probe_not_before(now + (error.retry_after_s or 0.0))
        return entered

    def _wait(self, now: float) -> None:
        """Put the next probe off by a wait that is longer than the last."""
        wait_s = self._wait_s * (1 - self._rules.jitter * self._random())
        self._wait_s = min(2 * self._wait_s, self._rules.max_probe_s)
        self._probe_not_before(now + wait_s)

    def _probe_not_before(self, moment: float) -> None:
        if isinstance(self.reason, _HELD):
            self.probe_at = None
        elif self.probe_at is None or moment > self.probe_at:
            self.probe_at = moment


def speaks_against_backend(error: JuneTtsError) -> bool:
    """Whether the next utterance had better go elsewhere; not if only the request was wrong."""
    return not isinstance(error, _ABOUT_THE_REQUEST)

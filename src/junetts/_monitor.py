"""The health of several backends: a breaker each, and probes on a timer."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from random import Random

from anyio import move_on_after

from junetts._backend import Health, TtsBackend
from junetts._breaker import Breaker, BreakerRules, BreakerState, Use
from junetts._errors import BackendTimeoutError, BackendUnavailableError, JuneTtsError
from junetts._events import BreakerClosed, BreakerEvent, BreakerHalfOpened, BreakerOpened

PROBE_TIMEOUT_S = 10.0  # longer than any built-in backend's own deadlines for a probe
CLOSE_TIMEOUT_S = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """What is known of a backend without asking it.

    Attributes:
        state: its breaker's.
        reason: why it is not ``closed``.
        retry_in_s: when it is looked at next, in seconds from now; None if it is not, by itself.
        n_failures: how often in a row it was found failing, by utterances and by probes.
    """

    state: BreakerState
    reason: str | None
    retry_in_s: float | None
    n_failures: int


class HealthMonitor:
    """Keeps a breaker for each backend, told by those who use it and by probes of its own.

    Guarantees: a backend is probed by itself only while its breaker is open and a probe can help,
    at most once at a time, and never with a user's text; one backend's hanging probe delays no
    other; a probe that fails in whatever way is one that found the backend unavailable; a task
    exists only while a probe is under way, and after `aclose` none does. It belongs to the event
    loop in which it is first told of a failure.

    Args:
        backends: by name.
        rules: when to look again.
        on_event: told of every change, after it has happened; must not raise.
        clock: seconds; None is the running loop's.
        random: from 0 to less than 1, for the jitter.
    """

    def __init__(
        self,
        backends: Mapping[str, TtsBackend],
        rules: BreakerRules | None = None,
        *,
        on_event: Callable[[BreakerEvent], None] | None = None,
        clock: Callable[[], float] | None = None,
        random: Callable[[], float] | None = None,
    ) -> None:
        rules, random = rules or BreakerRules(), random or Random().random  # noqa: S311  jitter
        self._backends = dict(backends)
        self._rules, self._random = rules, random
        self._breakers = {name: Breaker(rules, random=random) for name in backends}
        self._on_event = on_event
        self._clock = clock
        self._timers: dict[str, asyncio.TimerHandle] = {}
        self._probes: dict[str, asyncio.Task[Health]] = {}
        self._is_closed = False

    def watch(self, backend: TtsBackend) -> None:
        """Take one more backend in; it is believed to be well."""
        self._backends[backend.name] = backend
        self._breakers[backend.name] = Breaker(self._rules, random=self._random)

    def is_ready(self, name: str) -> bool:
        """Whether an utterance should use this backend, if need be as the trial."""
        return self._breakers[name].is_ready

    def standing(self, name: str) -> Standing:
        """What is known of this backend now."""
        breaker = self._breakers[name]
        return Standing(
            state=breaker.state,
            reason=None if breaker.reason is None else breaker.reason.message,
            retry_in_s=self._probe_in_s(name),
            n_failures=breaker.n_failures,
        )

    def begin(self, name: str) -> Use:
        """Note that an utterance begins to use this backend; its verdicts name the use."""
        return self._breakers[name].begin()

    def succeeded(self, name: str, *, use: Use) -> None:
        """Note that this use has spoken a whole segment."""
        self._follow(name, self._breakers[name].succeeded(use=use))

    def failed(self, name: str, error: JuneTtsError, *, use: Use) -> None:
        """Note that this use has failed."""
        self._follow(name, self._breakers[name].failed(error, use=use, now=self._now()))

    def left(self, name: str, *, use: Use) -> None:
        """Note that this use is over; without effect after a verdict."""
        self._breakers[name].left(use=use)

    async def look(self, backend: TtsBackend) -> Health:
        """Probe a backend now, and heed what it says; its failures are its health."""
        breaker = self._breakers[backend.name]
        since = breaker.era
        health, reason = await _probed(backend)
        is_ok = health.status == "ok"
        entered = breaker.probed(is_ok, since=since, now=self._now(), reason=reason)
        self._follow(backend.name, entered)
        return health

    async def aclose(self) -> None:
        """Stop probing; may be called more than once."""
        self._is_closed = True
        for timer in self._timers.values():
            timer.cancel()
        probes = tuple(self._probes.values())
        for probe in probes:
            probe.cancel()
        if probes:
            with move_on_after(CLOSE_TIMEOUT_S, shield=True):
                await asyncio.wait(probes)

    def _now(self) -> float:
        return asyncio.get_running_loop().time() if self._clock is None else self._clock()

    def _probe_in_s(self, name: str) -> float | None:
        probe_at = self._breakers[name].probe_at
        return None if probe_at is None else max(0.0, probe_at - self._now())

    def _follow(self, name: str, entered: BreakerState | None) -> None:
        """Do what a verdict calls for: set the timer anew, and tell of the change."""
        self._set_timer(name)
        if entered is not None and self._on_event is not None:
            self._on_event(self._event(name, entered))

    def _event(self, name: str, entered: BreakerState) -> BreakerEvent:
        if entered == "closed":
            return BreakerClosed(backend=name)
        if entered == "half_open":
            return BreakerHalfOpened(backend=name)
        reason = self._breakers[name].reason
        assert reason is not None
        return BreakerOpened(backend=name, reason=reason.message, probe_in_s=self._probe_in_s(name))

    def _set_timer(self, name: str) -> None:
        if (timer := self._timers.pop(name, None)) is not None:
            timer.cancel()
        delay_s = self._probe_in_s(name)
        if delay_s is None or name in self._probes or self._is_closed:
            return
        loop = asyncio.get_running_loop()
        self._timers[name] = loop.call_later(delay_s, self._start_probe, name)

    def _start_probe(self, name: str) -> None:
        del self._timers[name]
        probe = asyncio.create_task(self.look(self._backends[name]), name=f"junetts probe {name}")
        self._probes[name] = probe
        # Not in the task itself, which may be cancelled before it begins.
        probe.add_done_callback(lambda probe: self._probe_ended(name, probe))

    def _probe_ended(self, name: str, probe: asyncio.Task[Health]) -> None:
        del self._probes[name]
        if probe.cancelled():  # and so found nothing; if not by us, perhaps the program is ending
            breaker = self._breakers[name]
            breaker.probed(False, since=breaker.era, now=self._now())
        self._set_timer(name)


async def _probed(backend: TtsBackend) -> tuple[Health, JuneTtsError | None]:
    """A backend's health and, if it is unavailable, an error that says so."""
    task = asyncio.current_task()
    assert task is not None
    n_cancellations = task.cancelling()
    try:
        async with asyncio.timeout(PROBE_TIMEOUT_S) as deadline:
            health = await backend.probe()
        return health, _reason(health, backend.name)
    except (Exception, BaseExceptionGroup, asyncio.CancelledError) as error:
        if task.cancelling() > n_cancellations:  # it is we who are cancelled, not what it awaited
            raise
        ours = _ours(error, backend.name, is_late=deadline.expired())
        return Health(status="unavailable", detail=ours.message, hint=ours.hint), ours


def _reason(health: Health, backend: str) -> JuneTtsError | None:
    if health.status != "unavailable":
        return None
    return BackendUnavailableError(health.detail, backend=backend, hint=health.hint)


def _ours(error: BaseException, backend: str, *, is_late: bool) -> JuneTtsError:
    """What a probe raised as one of our errors: a third party's may raise anything."""
    if isinstance(error, JuneTtsError):
        return error
    if is_late:
        message = f"a probe was not answered for {PROBE_TIMEOUT_S:g} s"
        ours: JuneTtsError = BackendTimeoutError(message, backend=backend)
    else:
        message = f"a probe failed: {type(error).__name__}: {error}"
        ours = BackendUnavailableError(message, backend=backend)
    ours.__cause__ = error
    return ours

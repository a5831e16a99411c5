"""When backends are probed, what a probe may do to its monitor, and what listeners learn."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress

import anyio
import pytest

from fakes import FakeBackend, settled
from junetts._backend import Health
from junetts._breaker import BreakerRules
from junetts._errors import (
    AuthenticationError,
    BackendUnavailableError,
    InvalidRequestError,
    JuneTtsError,
    RateLimitedError,
)
from junetts._events import BreakerClosed, BreakerEvent, BreakerHalfOpened, BreakerOpened
from junetts._monitor import PROBE_TIMEOUT_S, HealthMonitor, Standing
from virtual_time import VIRTUAL_TIME

OK = Health(status="ok", detail="answers")
BUSY = Health(status="busy", detail="occupied")
DOWN = Health(status="unavailable", detail="no answer", hint="start it")
GONE = BackendUnavailableError("gone")
REFUSED = AuthenticationError("the key was refused", hint="set another one")
Answer = Health | BaseException | Callable[[], Awaitable[Health]]


@pytest.fixture
def anyio_backend() -> tuple[str, dict[str, object]]:
    """No test here waits for real time."""
    return VIRTUAL_TIME


class Patient(FakeBackend):
    """A backend whose probes are answered by a script, the last answer for ever."""

    def __init__(self, *answers: Answer, name: str = "a") -> None:
        super().__init__(name=name)
        self.answers = list(answers) or [OK]
        self.probed_at: list[float] = []
        self.n_probing = 0
        self.most_probing = 0

    async def probe(self) -> Health:
        """Answer as scripted."""
        self.probed_at.append(now())
        self.n_probing += 1
        self.most_probing = max(self.most_probing, self.n_probing)
        try:
            answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
            if isinstance(answer, BaseException):
                raise answer
            return answer if isinstance(answer, Health) else await answer()
        finally:
            self.n_probing -= 1


async def never() -> Health:
    """Hang."""
    return await asyncio.get_running_loop().create_future()


def now() -> float:
    """The loop's time, which starts at 0."""
    return asyncio.get_running_loop().time()


@asynccontextmanager
async def monitoring(
    *patients: Patient, events: list[BreakerEvent] | None = None, jitter: float = 0
) -> AsyncIterator[HealthMonitor]:
    """A monitor of these; afterwards no task is left, and nobody is being probed."""
    before = asyncio.all_tasks()
    monitor = HealthMonitor(
        {patient.name: patient for patient in patients},
        BreakerRules(jitter=jitter),
        on_event=None if events is None else events.append,
        random=lambda: 0.5,
    )
    yield monitor
    await monitor.aclose()
    await monitor.aclose()
    assert asyncio.all_tasks() == before
    assert not any(patient.n_probing for patient in patients)
    n_probes = [len(patient.probed_at) for patient in patients]
    await asyncio.sleep(1000)
    assert [len(patient.probed_at) for patient in patients] == n_probes


def fail(monitor: HealthMonitor, name: str = "a", error: JuneTtsError = GONE) -> None:
    """Let one utterance use the backend, and fail."""
    monitor.failed(name, error, use=monitor.begin(name))


def succeed(monitor: HealthMonitor, name: str = "a") -> None:
    """Let one utterance use the backend, and speak."""
    monitor.succeeded(name, use=monitor.begin(name))


@pytest.mark.anyio
async def test_a_well_backend_is_left_in_peace() -> None:
    """Where nothing fails there is no probe and nothing to tell."""
    patient, events = Patient(), list[BreakerEvent]()
    async with monitoring(patient, events=events) as monitor:
        succeed(monitor)
        monitor.left("a", use=monitor.begin("a"))
        fail(monitor, error=InvalidRequestError("no"))
        assert monitor.is_ready("a")
        await asyncio.sleep(500)
        assert monitor.standing("a") == Standing(
            state="closed", reason=None, retry_in_s=None, n_failures=0
        )
    assert (patient.probed_at, events) == ([], [])


@pytest.mark.anyio
async def test_from_the_failure_to_the_recovery() -> None:
    """Probed after 1, 2 and 4 s; the third probe is good, one utterance tries, all come back."""
    patient, events = Patient(DOWN, BUSY, OK), list[BreakerEvent]()
    async with monitoring(patient, events=events) as monitor:
        fail(monitor)
        assert not monitor.is_ready("a")
        assert monitor.standing("a") == Standing(
            state="open", reason="gone", retry_in_s=1, n_failures=1
        )
        await asyncio.sleep(5)
        assert monitor.standing("a").retry_in_s == pytest.approx(2)
        assert monitor.standing("a").n_failures == 2
        await asyncio.sleep(100)
        assert patient.probed_at == pytest.approx([1, 3, 7])
        assert monitor.is_ready("a")
        trial = monitor.begin("a")
        assert trial.is_trial
        assert not monitor.is_ready("a")
        assert monitor.standing("a").state == "half_open"
        monitor.succeeded("a", use=trial)
        assert monitor.is_ready("a")
    assert events == [
        BreakerOpened(backend="a", reason="gone", probe_in_s=1),
        BreakerHalfOpened(backend="a"),
        BreakerClosed(backend="a"),
    ]


@pytest.mark.anyio
async def test_a_failed_trial_is_followed_by_further_probes() -> None:
    """And a trial that was left is given to the next utterance."""
    patient, events = Patient(OK), list[BreakerEvent]()
    async with monitoring(patient, events=events) as monitor:
        fail(monitor)
        await asyncio.sleep(1.5)
        monitor.left("a", use=monitor.begin("a"))
        assert monitor.is_ready("a")
        fail(monitor)
        assert not monitor.is_ready("a")
        await asyncio.sleep(10)
        assert patient.probed_at == pytest.approx([1, 3.5])
    assert events[2] == BreakerOpened(backend="a", reason="gone", probe_in_s=2)


@pytest.mark.anyio
async def test_chance_shortens_the_waits() -> None:
    """Half of the jitter's share, by this monitor's dice."""
    patient = Patient(DOWN)
    async with monitoring(patient, jitter=0.2) as monitor:
        fail(monitor)
        await asyncio.sleep(10)
    assert patient.probed_at == pytest.approx([0.9, 2.7, 6.3])


@pytest.mark.anyio
async def test_its_own_dice_and_rules_are_fair() -> None:
    """By default a probe comes after 0.8 to 1 s."""
    patient = Patient(OK)
    monitor = HealthMonitor({"a": patient})
    fail(monitor)
    await asyncio.sleep(1)
    await monitor.aclose()
    assert 0.8 <= patient.probed_at[0] <= 1


@pytest.mark.anyio
async def test_a_refused_key_is_not_probed_by_itself() -> None:
    """Only `look` changes that."""
    patient, events = Patient(OK), list[BreakerEvent]()
    async with monitoring(patient, events=events) as monitor:
        fail(monitor, error=REFUSED)
        await asyncio.sleep(500)
        assert patient.probed_at == []
        assert monitor.standing("a").retry_in_s is None
        assert await monitor.look(patient) == OK
        assert monitor.is_ready("a")
    refused = BreakerOpened(backend="a", reason="the key was refused", probe_in_s=None)
    assert events == [refused, BreakerHalfOpened(backend="a")]


@pytest.mark.anyio
async def test_a_rate_limit_is_waited_for() -> None:
    """A longer time that a last resort is asked for moves the timer."""
    patient = Patient(OK)
    async with monitoring(patient) as monitor:
        fail(monitor, error=RateLimitedError("too many", retry_after_s=20))
        await asyncio.sleep(10)
        fail(monitor, error=RateLimitedError("too many", retry_after_s=30))
        await asyncio.sleep(100)
    assert patient.probed_at == pytest.approx([40])


@pytest.mark.anyio
async def test_two_backends_at_once() -> None:
    """One that hangs in its probe delays no other."""
    a, b = Patient(never), Patient(DOWN, OK, name="b")
    async with monitoring(a, b) as monitor:
        fail(monitor, "a")
        fail(monitor, "b")
        await asyncio.sleep(5)
        assert b.probed_at == pytest.approx([1, 3])
        assert monitor.is_ready("b")
        assert (monitor.is_ready("a"), a.probed_at) == (False, pytest.approx([1]))


@pytest.mark.anyio
async def test_a_probe_that_hangs_is_cut_off() -> None:
    """It counts as a failure, and the next one comes after a longer wait."""
    patient = Patient(never)
    async with monitoring(patient) as monitor:
        fail(monitor)
        await asyncio.sleep(1 + PROBE_TIMEOUT_S + 1.5)
        assert monitor.standing("a").n_failures == 2
        await asyncio.sleep(1)
        assert patient.probed_at == pytest.approx([1, 1 + PROBE_TIMEOUT_S + 2])
        assert patient.most_probing == 1


async def _breaks_in_the_group() -> Health:
    async with anyio.create_task_group() as group:
        group.start_soon(never)
        raise BaseExceptionGroup("several", [asyncio.CancelledError()])


async def _cancelled_by_someone_else() -> Health:
    other = asyncio.ensure_future(never())
    asyncio.get_running_loop().call_soon(other.cancel)
    return await other


async def _answers_nonsense() -> Health:
    return None  # type: ignore[return-value]


@pytest.mark.anyio
@pytest.mark.parametrize(
    "answer",
    [
        GONE,
        RuntimeError("boom"),
        ExceptionGroup("several", [OSError("no route")]),
        TimeoutError("its own"),
        asyncio.CancelledError(),
        _breaks_in_the_group,
        _cancelled_by_someone_else,
        _answers_nonsense,
        DOWN,
    ],
    ids=lambda answer: getattr(answer, "__name__", type(answer).__name__),
)
async def test_whatever_a_probe_raises_probing_goes_on(answer: Answer) -> None:
    """It found the backend unavailable; the one after next finds it well."""
    patient = Patient(answer, answer, OK)
    async with monitoring(patient) as monitor:
        fail(monitor)
        await asyncio.sleep(5)
        assert monitor.standing("a").n_failures == 3
        await asyncio.sleep(100)
        assert patient.probed_at == pytest.approx([1, 3, 7])
        assert monitor.is_ready("a")


@pytest.mark.anyio
async def test_a_look_returns_what_the_probe_said() -> None:
    """Health as it is, one of our errors with its hint, anything else with its name."""
    patient = Patient(BUSY, REFUSED, RuntimeError("boom"), never)
    async with monitoring(patient) as monitor:
        assert await monitor.look(patient) == BUSY
        assert await monitor.look(patient) == Health(
            status="unavailable", detail="the key was refused", hint="set another one"
        )
        health = await monitor.look(patient)
        assert (health.status, health.hint) == ("unavailable", None)
        assert health.detail == "a probe failed: RuntimeError: boom"
        health = await monitor.look(patient)
        assert (health.status, health.detail) == (
            "unavailable", "a probe was not answered for 10 s"
        )  # fmt: skip


@pytest.mark.anyio
async def test_a_look_alone_opens_no_breaker() -> None:
    """Only speech that fails does; who merely looks changes no order of preference."""
    patient, events = Patient(BUSY, DOWN), list[BreakerEvent]()
    async with monitoring(patient, events=events) as monitor:
        assert await monitor.look(patient) is BUSY
        assert await monitor.look(patient) is DOWN
        assert monitor.is_ready("a")
        assert monitor.standing("a").reason is None
        await asyncio.sleep(100)
        assert patient.probed_at == [0, 0]
    assert events == []


@pytest.mark.anyio
async def test_a_look_stands_for_the_probe_on_the_timer() -> None:
    """A good one half-opens the breaker and stops the timer; a bad one puts it off."""
    patient = Patient(DOWN, OK)
    async with monitoring(patient) as monitor:
        fail(monitor)
        await asyncio.sleep(0.5)
        await monitor.look(patient)
        await asyncio.sleep(1)
        assert patient.probed_at == pytest.approx([0.5])
        await monitor.look(patient)
        assert monitor.is_ready("a")
        await asyncio.sleep(100)
        assert patient.probed_at == pytest.approx([0.5, 1.5])


@pytest.mark.anyio
async def test_a_breaker_that_opens_while_a_look_is_under_way() -> None:
    """The answer is about the time before: the breaker keeps its own schedule."""
    answered = asyncio.Event()

    async def slow() -> Health:
        await answered.wait()
        return OK

    patient = Patient(slow, DOWN)
    async with monitoring(patient) as monitor:
        looking = asyncio.create_task(monitor.look(patient))
        await settled()
        fail(monitor)
        answered.set()
        assert await looking == OK
        assert monitor.standing("a").state == "open"
        assert monitor.standing("a").retry_in_s == 1
        await asyncio.sleep(1.5)
        assert len(patient.probed_at) == 2


@pytest.mark.anyio
async def test_a_backend_that_recovers_while_it_is_probed() -> None:
    """A last resort has spoken meanwhile; that the probe then finds it down says nothing."""

    async def slow() -> Health:
        await asyncio.sleep(2)
        return DOWN

    patient, events = Patient(slow), list[BreakerEvent]()
    async with monitoring(patient, events=events) as monitor:
        fail(monitor)
        await asyncio.sleep(2)
        succeed(monitor)
        assert patient.n_probing == 1
        await asyncio.sleep(100)
        assert monitor.is_ready("a")
        assert len(patient.probed_at) == 1
    assert [type(event) for event in events] == [BreakerOpened, BreakerClosed]


@pytest.mark.anyio
async def test_a_backend_that_recovers_and_fails_again_while_it_is_probed() -> None:
    """It is probed once at a time; the new schedule begins where the old probe ends."""

    async def slow() -> Health:
        await asyncio.sleep(5)
        return OK

    patient = Patient(slow)
    async with monitoring(patient) as monitor:
        fail(monitor)
        await asyncio.sleep(2)
        succeed(monitor)
        fail(monitor)
        await asyncio.sleep(2.5)
        fail(monitor)
        assert patient.probed_at == pytest.approx([1])
        await asyncio.sleep(2)
        assert not monitor.is_ready("a")
        assert patient.probed_at == pytest.approx([1, 6])
        await asyncio.sleep(10)
        assert monitor.is_ready("a")
        assert patient.most_probing == 1


@pytest.mark.anyio
async def test_a_success_before_the_probe_stops_the_timer() -> None:
    """What works is not probed."""
    patient = Patient(DOWN)
    async with monitoring(patient) as monitor:
        fail(monitor)
        succeed(monitor)
        await asyncio.sleep(100)
        assert monitor.is_ready("a")
    assert patient.probed_at == []


@pytest.mark.anyio
@pytest.mark.parametrize("n_rounds", range(8))
async def test_closing_at_any_moment_of_a_probe(n_rounds: int) -> None:
    """Before its task has begun, while it waits, when it is done: no task and no timer is left."""

    async def slow() -> Health:
        for _ in range(4):
            await asyncio.sleep(0)
        return OK

    patient = Patient(slow)
    async with monitoring(patient) as monitor:
        ringing = asyncio.Event()
        fail(monitor)
        asyncio.get_running_loop().call_later(1, ringing.set)
        await ringing.wait()
        for _ in range(n_rounds):
            await asyncio.sleep(0)


async def lets_go_slowly() -> Health:
    """Hang, and take a second to end."""
    try:
        return await never()
    finally:
        await asyncio.sleep(1)


@pytest.mark.anyio
@pytest.mark.parametrize("is_cancelled", [False, True])
async def test_closing_waits_for_the_end_of_a_probe(is_cancelled: bool) -> None:
    """It is cancelled and let end, also where the scope of who closes has been cancelled."""
    patient = Patient(lets_go_slowly)
    async with monitoring(patient) as monitor:
        fail(monitor)
        await asyncio.sleep(3)
        with anyio.CancelScope() as scope:
            if is_cancelled:
                scope.cancel()
            await monitor.aclose()
        assert (now(), patient.n_probing) == (pytest.approx(4), 0)


@pytest.mark.anyio
async def test_closing_does_not_wait_for_ever() -> None:
    """A probe that does not let itself be cancelled is left behind after 5 s."""
    released = asyncio.Event()

    async def stubborn() -> Health:
        while not released.is_set():
            with suppress(asyncio.CancelledError):
                await released.wait()
        return OK

    async with monitoring(Patient(stubborn)) as monitor:
        fail(monitor)
        await asyncio.sleep(2)
        await monitor.aclose()
        assert now() == pytest.approx(7)
        released.set()
        await settled()


@pytest.mark.anyio
async def test_closing_can_be_cancelled_and_repeated() -> None:
    """A task that is cancelled while it closes leaves no probe that goes on."""
    patient = Patient(never)
    async with monitoring(patient) as monitor:
        fail(monitor)
        await asyncio.sleep(2)
        closing = asyncio.create_task(monitor.aclose())
        await asyncio.sleep(0)
        closing.cancel()
        await asyncio.wait([closing])
        await settled()
        assert patient.n_probing == 0


@pytest.mark.anyio
async def test_after_closing_failures_set_no_timer() -> None:
    """Utterances may still be ending then."""
    patient = Patient(OK)
    async with monitoring(patient) as monitor:
        await monitor.aclose()
        fail(monitor)
        assert monitor.standing("a").state == "open"
        await asyncio.sleep(100)
        assert patient.probed_at == []


@pytest.mark.anyio
async def test_a_look_that_is_cancelled_says_nothing() -> None:
    """Neither the look's caller nor the breaker is told anything."""
    for translates in False, True:

        async def hangs(translates: bool = translates) -> Health:
            try:
                return await never()
            except asyncio.CancelledError:
                if translates:
                    raise BackendUnavailableError("cancelled") from None
                raise

        patient = Patient(hangs)
        async with monitoring(patient) as monitor:
            looking = asyncio.create_task(monitor.look(patient))
            await settled()
            looking.cancel()
            await asyncio.wait([looking])
            assert looking.cancelled() or looking.exception() is not None
            assert monitor.is_ready("a")


@pytest.mark.anyio
async def test_a_look_in_a_scope_with_a_deadline_obeys_it() -> None:
    """Whoever asked for health may stop waiting earlier than the monitor would."""
    patient = Patient(never)
    async with monitoring(patient) as monitor:
        with anyio.move_on_after(2) as scope:
            await monitor.look(patient)
        assert scope.cancelled_caught
        assert now() == pytest.approx(2)
        assert monitor.is_ready("a")


@pytest.mark.anyio
async def test_a_timed_probe_that_another_cancels_is_followed_by_another() -> None:
    """Not at once: when a program ends, everything that it finds is cancelled."""
    patient = Patient(never, OK)
    async with monitoring(patient) as monitor:
        fail(monitor)
        await asyncio.sleep(2)
        for task in asyncio.all_tasks():
            if task.get_name() == "junetts probe a":
                task.cancel()
        await asyncio.sleep(10)
        assert patient.probed_at == pytest.approx([1, 4])
        assert monitor.is_ready("a")


@pytest.mark.anyio
async def test_a_backend_may_be_taken_in_later() -> None:
    """From then on it is like the others."""
    a, late = Patient(OK), Patient(OK, name="late")
    async with monitoring(a) as monitor:
        monitor.watch(late)
        assert monitor.is_ready("late")
        fail(monitor, "late")
        await asyncio.sleep(2)
        assert (a.probed_at, late.probed_at) == ([], pytest.approx([1]))


@pytest.mark.anyio
async def test_another_clock_may_be_given() -> None:
    """Waits are differences of its times."""
    time = 1e9
    patient = Patient(OK)
    monitor = HealthMonitor({"a": patient}, BreakerRules(jitter=0), clock=lambda: time)
    fail(monitor)
    time += 0.25
    assert monitor.standing("a").retry_in_s == pytest.approx(0.75)
    time += 100
    assert monitor.standing("a").retry_in_s == 0
    await asyncio.sleep(1.5)
    assert patient.probed_at == pytest.approx([1])
    await monitor.aclose()


def test_it_is_made_and_closed_outside_an_event_loop() -> None:
    """A client is constructed before its loop runs."""
    monitor = HealthMonitor({"a": Patient()})
    assert monitor.is_ready("a")
    assert monitor.standing("a").state == "closed"
    with asyncio.Runner() as runner:
        runner.run(monitor.aclose())


@pytest.mark.anyio
async def test_a_listener_that_is_told_finds_everything_done() -> None:
    """It may ask for the standing, and even close the monitor, from where it is told."""
    patient = Patient(OK)
    found: list[tuple[str, float | None]] = []
    closing: list[asyncio.Task[None]] = []

    def listener(event: BreakerEvent) -> None:
        standing = monitor.standing("a")
        found.append((standing.state, standing.retry_in_s))
        if isinstance(event, BreakerHalfOpened):
            closing.append(asyncio.create_task(monitor.aclose()))

    monitor = HealthMonitor({"a": patient}, BreakerRules(jitter=0), on_event=listener)
    fail(monitor)
    await asyncio.sleep(5)
    assert found == [("open", 1), ("half_open", None)]
    await closing[0]
    assert patient.n_probing == 0


@pytest.mark.anyio
async def test_a_listener_that_raises_does_not_keep_a_backend_from_being_probed() -> None:
    """The timer is set before anyone is told."""
    patient = Patient(OK)

    def listener(event: BreakerEvent) -> None:
        if isinstance(event, BreakerOpened):
            raise RuntimeError("a bug in the application")

    monitor = HealthMonitor({"a": patient}, on_event=listener)
    with pytest.raises(RuntimeError, match="a bug"):
        fail(monitor)
    await asyncio.sleep(2)
    assert monitor.is_ready("a")
    await monitor.aclose()

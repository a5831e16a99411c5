"""The search for a backend that has sound: whose turn, how long, and what others are told of it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterable, AsyncIterator, Mapping
from contextlib import asynccontextmanager

import pytest

from fakes import FakeBackend, Hook, settled
from junetts._backend import BackendAudio
from junetts._breaker import Use
from junetts._config_sections import FallbackSection
from junetts._delivery import InlineDelivery, TaskDelivery
from junetts._errors import (
    AuthenticationError,
    BackendTimeoutError,
    BackendUnavailableError,
    InvalidRequestError,
    JuneTtsError,
    NoBackendAvailableError,
    RateLimitedError,
    RequestRejectedError,
    UnknownVoiceError,
)
from junetts._events import (
    AttemptFailed,
    BackendChosen,
    Hedged,
    Retrying,
    UtteranceEvent,
    VoiceSubstituted,
)
from junetts._monitor import HealthMonitor
from junetts._replay import Replay
from junetts._report import Attempt, Substitution
from junetts._starter import Starter
from junetts._utterance import Segment, Utterance, Voice
from virtual_time import VIRTUAL_TIME

pytestmark = pytest.mark.anyio

GONE = BackendUnavailableError("gone")
LATE = BackendTimeoutError("late")
Rules = Mapping[str, object]
HEDGED: Rules = {"hedge_after_s": 0.5}


@pytest.fixture
def anyio_backend() -> tuple[str, dict[str, object]]:
    """No test here waits for real time."""
    return VIRTUAL_TIME


def now() -> float:
    """The loop's time."""
    return asyncio.get_running_loop().time()


def takes(seconds: float) -> Hook:
    """What a backend does before it has sound."""
    return lambda: asyncio.sleep(seconds)


def slow(name: str, seconds: float) -> FakeBackend:
    """Has sound in its own time."""
    return FakeBackend(name=name, enter=takes(seconds))


def failing(name: str, error: JuneTtsError = GONE) -> FakeBackend:
    """Has none."""
    return FakeBackend(name=name, refuses=error)


class Stranger(FakeBackend):
    """Knows no voice but its own, if that."""

    def __init__(self, name: str, refusal: JuneTtsError | None) -> None:
        super().__init__(name=name, refuses=refusal)

    @asynccontextmanager
    async def speak(
        self, utterance: Utterance, segments: AsyncIterable[Segment]
    ) -> AsyncIterator[AsyncIterator[BackendAudio]]:
        """Refuse, or speak."""
        if utterance.voice is not None:
            self.utterances.append(utterance)
            raise UnknownVoiceError("who is june", field="voice")
        async with super().speak(utterance, segments) as made:
            yield made


async def sentences() -> AsyncIterator[Segment]:
    """One."""
    yield Segment(index=0, text="Some words.")


class Scene:
    """A starter among backends, and what it tells."""

    def __init__(
        self,
        *backends: FakeBackend,
        voice: Voice | None = None,
        chance: float = 0.0,
        rules: Rules | None = None,
    ) -> None:
        self.backends = {backend.name: backend for backend in backends}
        self.monitor = HealthMonitor(self.backends, random=lambda: 0.0)
        self.events: list[UtteranceEvent] = []
        self.starter = Starter(
            self.backends,
            Utterance(voice=voice, observe=self.events.append, number=7),
            Replay(sentences()),
            rules=FallbackSection.model_validate(rules or {}),
            monitor=self.monitor,
            random=lambda: chance,
        )

    async def half_open(self, name: str) -> None:
        """Let a backend have failed, and be well again."""
        self.monitor.failed(name, GONE, use=self.monitor.begin(name))
        await self.monitor.look(self.backends[name])
        assert self.monitor.is_ready(name)

    def state(self, name: str) -> str:
        """Of a backend's breaker."""
        return self.monitor.standing(name).state


@asynccontextmanager
async def scene(
    *backends: FakeBackend,
    voice: Voice | None = None,
    chance: float = 0.0,
    rules: Rules | None = None,
) -> AsyncIterator[Scene]:
    """A scene after which nothing is left."""
    before = asyncio.all_tasks()
    made = Scene(*backends, voice=voice, chance=chance, rules=rules)
    yield made
    await made.starter.aclose()
    await made.monitor.aclose()
    assert asyncio.all_tasks() == before


async def test_the_first_who_has_sound_is_chosen() -> None:
    """Nobody else is asked."""
    first, second = FakeBackend(name="a"), FakeBackend(name="b")
    async with scene(first, second) as made:
        delivery = await made.starter.start()
        assert isinstance(delivery, InlineDelivery)
        assert (delivery.backend, first.n_open) == ("a", 1)
        await delivery.aclose()
    assert made.events == [BackendChosen(utterance=7, backend="a")]
    assert second.utterances == []


async def test_who_fails_is_followed_by_the_next_at_once() -> None:
    """The attempt is told, and the monitor knows."""
    async with scene(failing("a"), FakeBackend(name="b")) as made:
        delivery = await made.starter.start()
        await delivery.aclose()
        assert now() == 0
        assert (made.state("a"), made.state("b")) == ("open", "closed")
    assert made.events == [
        AttemptFailed(utterance=7, attempt=Attempt(backend="a", reason="gone")),
        BackendChosen(utterance=7, backend="b"),
    ]


@pytest.mark.parametrize(("chance", "delay_s"), [(0.0, 0.25), (1.0, 0.125)])
async def test_a_retry_waits_and_says_so(chance: float, delay_s: float) -> None:
    """As long as back-off and chance want it."""
    backend = failing("a")
    async with scene(backend, chance=chance) as made:
        starting = asyncio.create_task(made.starter.start())
        await settled()
        backend.refuses = None
        delivery = await starting
        assert now() == pytest.approx(delay_s)
        await delivery.aclose()
    assert made.events[1] == Retrying(utterance=7, backend="a", delay_s=delay_s)
    assert len(backend.utterances) == 2


async def test_a_wait_that_is_over_is_no_wait() -> None:
    """Others took so long that the time has passed: never is a delay negative."""
    first = failing("a")
    second = FakeBackend(name="b", enter=takes(9.0), refuses=AuthenticationError("no"))
    async with scene(first, second) as made:
        with pytest.raises(NoBackendAvailableError):
            await made.starter.start()
        assert now() == 9.0
    assert Retrying(utterance=7, backend="a", delay_s=0.0) in made.events


async def test_a_retry_waits_from_when_it_failed() -> None:
    """Not from when it began."""
    backend = FakeBackend(name="a", enter=takes(5.0), refuses=GONE)
    async with scene(backend) as made:
        with pytest.raises(BackendUnavailableError):
            await made.starter.start()
        assert now() == pytest.approx(5.0 + 0.25 + 5.0)


async def test_what_was_too_long_a_wait_may_be_over() -> None:
    """Then it comes before the last resort."""
    asked: list[str] = []
    limit = RateLimitedError("limit", retry_after_s=5.0)
    no = AuthenticationError("no")
    backends = [
        FakeBackend(name="a", refuses=limit, enter=noting(asked, "a")),
        FakeBackend(name="b", refuses=no, enter=noting(asked, "b")),
        FakeBackend(name="c", refuses=no, enter=noting(asked, "c", seconds=10.0)),
    ]
    async with scene(*backends) as made:
        made.monitor.failed("b", no, use=made.monitor.begin("b"))
        with pytest.raises(NoBackendAvailableError):
            await made.starter.start()
    assert asked == ["a", "c", "a", "b"]


def noting(asked: list[str], name: str, *, seconds: float = 0.0) -> Hook:
    """Remembers who was asked when."""

    async def note() -> None:
        asked.append(name)
        await asyncio.sleep(seconds)

    return note


async def test_each_use_is_one_of_the_backend_that_is_used() -> None:
    """So that the trial of one is not taken for another's."""
    async with scene(failing("a"), FakeBackend(name="b")) as made:
        await made.half_open("b")
        delivery = await made.starter.start()
        assert not made.monitor.is_ready("b")
        made.monitor.succeeded("b", use=delivery.use)
        assert made.state("b") == "closed"
        await delivery.aclose()


@pytest.mark.parametrize("tries", [1, 3])
async def test_the_number_of_tries_is_a_setting(tries: int) -> None:
    """For each backend."""
    backends = [failing("a"), failing("b")]
    async with scene(*backends, rules={"tries": tries}) as made:
        with pytest.raises(NoBackendAvailableError):
            await made.starter.start()
    assert [len(backend.utterances) for backend in backends] == [tries, tries]


@pytest.mark.parametrize(("patience_s", "n_tries"), [(4.0, 1), (6.0, 2)])
async def test_a_server_that_wants_more_peace_than_there_is_patience(
    patience_s: float, n_tries: int
) -> None:
    """It is not come back to."""
    backend = failing("a", RateLimitedError("429", retry_after_s=5.0))
    async with scene(backend, rules={"patience_s": patience_s}) as made:
        with pytest.raises(RateLimitedError):
            await made.starter.start()
    assert len(backend.utterances) == n_tries


async def test_only_those_who_could_be_relieved_are_hurried() -> None:
    """The last one has the utterance's own patience; once in vain is enough."""
    backends = [failing("a", LATE), failing("b", LATE)]
    rules = {"first_audio_timeout_s": 2, "stall_timeout_s": 4}
    async with scene(*backends, rules=rules) as made:
        with pytest.raises(NoBackendAvailableError):
            await made.starter.start()
    given = [
        [(one.first_audio_timeout_s, one.stall_timeout_s) for one in backend.utterances]
        for backend in backends
    ]
    assert given == [[(2, 4)], [(30, 30)]]


async def test_one_alone_fails_with_its_own_error() -> None:
    """The last one, if it was tried more than once."""
    backend = failing("a")
    async with scene(backend) as made:
        starting = asyncio.create_task(made.starter.start())
        await settled()
        backend.refuses = last = AuthenticationError("no")
        with pytest.raises(AuthenticationError) as caught:
            await starting
    assert caught.value is last


async def test_several_fail_with_the_last_reason_of_each() -> None:
    """In the order in which they were first tried; the cause is the last one's."""
    limit = RateLimitedError("limit", retry_after_s=99)
    async with scene(failing("a", InvalidRequestError("wrong")), failing("b", limit)) as made:
        with pytest.raises(NoBackendAvailableError) as caught:
            await made.starter.start()
    assert [name for name, _ in caught.value.reasons] == ["a", "b"]
    assert caught.value.__cause__ is limit


async def test_what_everyone_finds_wrong_is_the_callers_error() -> None:
    """But a voice that none of them knows is a matter of the backends."""
    wrong = InvalidRequestError("wrong")
    async with scene(failing("a", wrong), failing("b", InvalidRequestError("too"))) as made:
        with pytest.raises(InvalidRequestError) as caught:
            await made.starter.start()
        assert caught.value is wrong
    unknown = UnknownVoiceError("who")
    async with scene(failing("a", unknown), failing("b", unknown)) as made:
        with pytest.raises(NoBackendAvailableError):
            await made.starter.start()


async def test_what_speaks_against_the_request_opens_nothing() -> None:
    """The backend is as well as before."""
    async with scene(failing("a", RequestRejectedError("422")), FakeBackend(name="b")) as made:
        await (await made.starter.start()).aclose()
        assert made.state("a") == "closed"


async def test_its_own_voice_is_the_last_resort() -> None:
    """Told once, with the reason; and if it fails with that, there is no third turn."""
    events = []
    for refusal in (None, UnknownVoiceError("not even mine")):
        backend = Stranger("a", refusal)
        rules = {"on_unknown_voice": "substitute", "tries": 3}
        async with scene(backend, voice=Voice("june"), rules=rules) as made:
            try:
                delivery = await made.starter.start()
            except UnknownVoiceError:
                assert refusal is not None
            else:
                assert delivery.in_own_voice
                await delivery.aclose()
        assert [one.voice for one in backend.utterances] == [Voice("june"), None]
        events.append([event for event in made.events if isinstance(event, VoiceSubstituted)])
    substitution = Substitution(backend="a", reason="who is june")
    assert events == [[VoiceSubstituted(utterance=7, substitution=substitution)], []]


async def test_without_a_voice_there_is_nothing_to_substitute() -> None:
    """A backend that knows not even its own is not asked twice."""
    backend = failing("a", UnknownVoiceError("who"))
    async with scene(backend, rules={"on_unknown_voice": "substitute"}) as made:
        with pytest.raises(UnknownVoiceError):
            await made.starter.start()
    assert len(backend.utterances) == 1


async def test_who_is_in_time_has_no_rival() -> None:
    """Though its task is one of its own."""
    second = FakeBackend(name="b")
    async with scene(slow("a", 0.4), second, rules=HEDGED) as made:
        delivery = await made.starter.start()
        assert isinstance(delivery, TaskDelivery)
        assert delivery.is_hurried
        await delivery.aclose()
    assert second.utterances == []
    assert made.events == [BackendChosen(utterance=7, backend="a")]


async def test_a_race_is_told_and_won_by_the_first_sound() -> None:
    """The loser is stopped at once and left by the end; its failure is nobody's."""
    first, second = slow("a", 9.0), slow("b", 1.0)
    async with scene(first, second, rules=HEDGED) as made:
        await made.half_open("a")
        delivery = await made.starter.start()
        assert (delivery.backend, now()) == ("b", 1.5)
        assert not delivery.is_hurried
        await settled()
        assert (first.n_open, second.n_open) == (0, 1)
        assert made.monitor.is_ready("a")  # for the next trial
        await delivery.aclose()
    lost = Attempt(backend="a", reason="b had sound sooner")
    assert made.events == [
        Hedged(utterance=7, slow_backend="a", backend="b"),
        AttemptFailed(utterance=7, attempt=lost),
        BackendChosen(utterance=7, backend="b"),
    ]


async def test_if_both_have_sound_the_preferred_one_speaks() -> None:
    """Even if the other was quicker by nothing."""
    async with scene(slow("a", 1.0), slow("b", 0.5), rules=HEDGED) as made:
        delivery = await made.starter.start()
        assert (delivery.backend, now()) == ("a", 1.0)
        await delivery.aclose()


async def test_a_race_of_two_who_fail_goes_on_with_the_third() -> None:
    """Both failures count, and both are released before."""
    async with scene(*losers(), FakeBackend(name="c"), rules=HEDGED) as made:
        delivery = await made.starter.start()
        assert (delivery.backend, now()) == ("c", 1.5)
        assert (made.state("a"), made.state("b")) == ("open", "open")
        await delivery.aclose()
    assert [e.attempt.backend for e in made.events if isinstance(e, AttemptFailed)] == ["b", "a"]


def losers() -> tuple[FakeBackend, FakeBackend]:
    """Two who take their time to fail."""
    return (
        FakeBackend(name="a", enter=takes(1.5), refuses=GONE),
        FakeBackend(name="b", enter=takes(0.5), refuses=GONE),
    )


async def test_in_a_race_there_are_two() -> None:
    """A third begins only when both have failed, however late they are."""
    third = FakeBackend(name="c")
    async with scene(slow("a", 5.0), slow("b", 5.0), third, rules=HEDGED) as made:
        delivery = await made.starter.start()
        assert (delivery.backend, now()) == ("a", 5.0)
        await delivery.aclose()
    assert third.utterances == []


@pytest.mark.parametrize("down", ["a", "b"])
async def test_who_is_down_is_no_rival(down: str) -> None:
    """There is no race with nobody but a last resort left."""
    backends = [slow("a", 2.0), slow("b", 2.0)]
    async with scene(*backends, rules=HEDGED) as made:
        made.monitor.failed(down, AuthenticationError("no"), use=made.monitor.begin(down))
        delivery = await made.starter.start()
        assert isinstance(delivery, InlineDelivery)
        assert (delivery.backend, now()) == ("b" if down == "a" else "a", 2.0)
        await delivery.aclose()
    assert not any(isinstance(event, Hedged) for event in made.events)


@pytest.mark.parametrize("rules", [{}, HEDGED])
async def test_a_trial_that_is_left_before_sound_is_given_back(rules: Rules) -> None:
    """Leaving is no verdict; the next utterance may try it."""
    first = slow("a", 9.0)
    async with scene(first, slow("b", 9.0), rules=rules) as made:
        await made.half_open("a")
        starting = asyncio.create_task(made.starter.start())
        await settled()
        assert not made.monitor.is_ready("a")
        starting.cancel()
        await asyncio.wait([starting])
        assert made.monitor.is_ready("a")
        await made.starter.aclose()
        assert first.n_open == 0
    assert made.events == []


async def test_closing_waits_for_everyone_who_lost() -> None:
    """Until all that they held is released."""
    first = LeavesSlowly("a")
    async with scene(first, FakeBackend(name="b"), rules=HEDGED) as made:
        delivery = await made.starter.start()
        await delivery.aclose()
        assert now() == 0.5
        await made.starter.aclose()
        assert now() == 3.5
        await made.starter.aclose()
    assert first.n_open == 0


class LeavesSlowly(FakeBackend):
    """Has no sound, and takes three seconds to say goodbye."""

    def __init__(self, name: str) -> None:
        super().__init__(name=name, enter=self._wait)

    async def _wait(self) -> None:
        try:
            await asyncio.sleep(9.0)
        finally:
            await asyncio.sleep(3.0)


async def test_who_broke_off_is_out_and_known_to_be_down() -> None:
    """Its reason is one of those that are told when nobody is left."""
    async with scene(FakeBackend(name="a"), failing("b")) as made:
        delivery = await made.starter.start()
        assert made.starter.has_others_than("a")
        assert made.starter.has_others_than("b")
        broken = BackendUnavailableError("broken")
        made.starter.broke_off(delivery, broken)
        await delivery.aclose()
        assert made.state("a") == "open"
        assert made.starter.has_others_than("a")
        assert not made.starter.has_others_than("b")
        with pytest.raises(NoBackendAvailableError) as caught:
            await made.starter.start()
    assert caught.value.reasons == (("a", broken), ("b", GONE))


async def test_who_is_well_again_and_preferred_may_return() -> None:
    """Those who are still down, or stand behind, may not."""
    backends = [FakeBackend(name=name) for name in "abcd"]
    async with scene(*backends) as made:
        assert made.starter.has_better_than("b")
        assert not made.starter.has_better_than("a")
        for name in "abd":
            made.starter.broke_off(_delivery(name, made.monitor.begin(name)), GONE)
        assert not made.starter.has_better_than("c")
        await made.monitor.look(backends[1])
        await made.monitor.look(backends[3])
        assert made.starter.has_better_than("c")
        made.starter.call_back("c")
        delivery = await made.starter.start()
        assert delivery.backend == "b"
        await delivery.aclose()


def _delivery(name: str, use: Use) -> InlineDelivery:
    return InlineDelivery(
        FakeBackend(name=name),
        Utterance(),
        Replay(sentences()).reader(),
        is_hurried=False,
        in_own_voice=False,
        use=use,
    )

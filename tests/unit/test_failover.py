"""Several backends as one: who speaks, what the next one is told, and what the listener learns."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from fakes import FakeBackend, audio, breaks, client, hangs, settled, speaks, yields
from junetts._backend import Health
from junetts._config import Config
from junetts._errors import (
    AuthenticationError,
    BackendUnavailableError,
    InvalidRequestError,
    NoBackendAvailableError,
    UnknownVoiceError,
)
from junetts._failover import FailoverBackend
from junetts._monitor import HealthMonitor
from junetts._report import Attempt
from junetts._utterance import Prosody, Segment, Utterance
from virtual_time import VIRTUAL_TIME

SENTENCES = ["This is the first one. ", "This is the second one. ", "This is the third one. "]
TEXT = "".join(SENTENCES)
RULES = Config().fallback


@pytest.fixture
def anyio_backend() -> tuple[str, dict[str, object]]:
    """No test here waits for real time."""
    return VIRTUAL_TIME


async def arriving(pause_s: float = 1.0) -> AsyncIterator[str]:
    """The text, a sentence at a time."""
    for sentence in SENTENCES:
        yield sentence
        await asyncio.sleep(pause_s)


class Swallows(FakeBackend):
    """Takes some segments and fails before any sound."""

    def __init__(self, n_segments: int) -> None:
        super().__init__(name="first")
        self.n_segments = n_segments

    async def _made(self, segments: AsyncIterator[object]) -> AsyncIterator[object]:  # type: ignore[override]
        async for segment in segments:
            self.given.append(segment.text)  # type: ignore[attr-defined]
            if len(self.given) == self.n_segments:
                raise BackendUnavailableError("swallowed the text")
        yield segment


@pytest.mark.anyio
@pytest.mark.parametrize("n_segments", [1, 2, 3])
async def test_the_next_backend_speaks_all_of_the_text(n_segments: int) -> None:
    """Text that the first one took is given to the second from the beginning, though streamed."""
    first, second = Swallows(n_segments), FakeBackend(name="second")
    async with client(first, second, fallback={"first_audio_timeout_s": 100}) as tts:
        speech = await tts.synthesize(arriving())
    assert first.given == SENTENCES[:n_segments]
    assert second.given == SENTENCES
    report = speech.report
    assert (report.outcome, report.spoken_text, report.backend) == ("complete", TEXT, "second")
    assert report.attempts == (Attempt(backend="first", reason="swallowed the text"),)
    assert report.handovers == ()
    assert speech.duration_s == pytest.approx(0.9)


@pytest.mark.anyio
@pytest.mark.parametrize(
    "first",
    [
        FakeBackend(refuses=BackendUnavailableError("down"), name="first"),
        FakeBackend(breaks(BackendUnavailableError("down"), after=0), name="first"),
        FakeBackend(refuses=UnknownVoiceError("down"), name="first"),
        FakeBackend(refuses=AuthenticationError("down"), name="first"),
    ],
)
async def test_failing_before_sound_costs_nothing(first: FakeBackend) -> None:
    """However the first one fails, the listener hears the second one only."""
    async with client(first, FakeBackend(name="second")) as tts:
        stream = tts.stream(TEXT)
        assert len([chunk async for chunk in stream]) == 9
    assert stream.report.attempts == (Attempt(backend="first", reason="down"),)
    assert stream.report.ttfa_s is not None


@pytest.mark.anyio
async def test_silence_is_a_failure_before_sound() -> None:
    """A backend that says it spoke but made no sound is passed over."""
    silent = FakeBackend(yields(audio(0, end="complete")), name="first")
    async with client(silent, FakeBackend(name="second")) as tts:
        assert (await tts.synthesize(TEXT)).report.backend == "second"


@pytest.mark.anyio
async def test_what_a_backend_cannot_do_another_may() -> None:
    """A pace that the first one cannot change is left to the next, or refused by all."""
    async with client(FakeBackend(name="first"), FakeBackend(name="second")) as tts:
        with pytest.raises(InvalidRequestError, match=r"first: .*pace"):
            await tts.synthesize(TEXT, prosody=Prosody(speed=1.5))


@pytest.mark.anyio
async def test_all_of_them_fail() -> None:
    """The error tells each one's reason, readably and once."""
    first = FakeBackend(
        refuses=AuthenticationError("the key was refused", status=401), name="first"
    )
    second = FakeBackend(hangs(), name="second")
    async with client(first, second, fallback={"patience_s": 7}) as tts:
        stream = tts.stream(TEXT)
        with pytest.raises(NoBackendAvailableError) as raised:
            await anext(stream)
    error = raised.value
    assert str(error).splitlines() == [
        "no backend could speak:",
        "  first: the key was refused (status 401)",
        "  second: no sound came for 7 s",
    ]
    assert [name for name, _ in error.reasons] == ["first", "second"]
    assert error.__cause__ is error.reasons[-1][1]
    assert error.retryable
    assert error.report is not None
    assert (error.report.outcome, len(error.report.attempts)) == ("failed", 2)
    assert error.report.unspoken_text == TEXT


@pytest.mark.anyio
async def test_all_but_the_last_are_in_a_hurry() -> None:
    """Where another could take over, the deadlines are short; the last one has patience."""
    loop = asyncio.get_running_loop()
    backends = [FakeBackend(hangs(), name=name) for name in ("a", "b")]
    backends.append(FakeBackend(speaks(pause_s=20), name="c"))
    fallback = {"first_audio_timeout_s": 2, "stall_timeout_s": 3, "patience_s": 25}
    async with client(*backends, fallback=fallback) as tts:
        stream = tts.stream(TEXT)
        await anext(stream)
        assert loop.time() == pytest.approx(2 + 2 + 20, abs=0.1)
        assert len([chunk async for chunk in stream]) == 8
    deadlines = [
        (one.utterances[0].first_audio_timeout_s, one.utterances[0].stall_timeout_s)
        for one in backends
    ]
    assert deadlines == [(2, 3), (2, 3), (25, 25)]


@pytest.mark.anyio
async def test_a_backend_asked_for_by_name_is_not_hurried() -> None:
    """``backend=`` means that one, with all patience, and its own error."""
    first = FakeBackend(refuses=BackendUnavailableError("down"), name="first")
    async with client(first, FakeBackend(name="second")) as tts:
        with pytest.raises(BackendUnavailableError, match="first: down"):
            await tts.synthesize(TEXT, backend="first")
    assert first.utterances[0].first_audio_timeout_s == 30


@pytest.mark.anyio
async def test_leaving_during_the_first_attempt_tries_no_other() -> None:
    """Barge-in is no failure: the second backend is never asked."""
    first, second = FakeBackend(hangs(), name="first"), FakeBackend(name="second")
    async with client(first, second) as tts:
        stream = tts.stream(TEXT)
        await settled()
        assert first.n_open == 1
        await stream.aclose()
    assert second.utterances == []
    assert (stream.report.outcome, stream.report.attempts) == ("cancelled", ())


@pytest.mark.anyio
async def test_each_failed_backend_is_released_before_the_next_begins() -> None:
    """Only one backend at a time holds resources."""
    first = FakeBackend(hangs(), name="first")
    open_meanwhile: list[int] = []

    async def look() -> None:
        open_meanwhile.append(first.n_open)

    async with client(first, FakeBackend(name="second", enter=look)) as tts:
        await tts.synthesize(TEXT)
    assert open_meanwhile == [0]


@pytest.mark.anyio
async def test_it_answers_for_its_backends() -> None:
    """Capabilities of the first, health of the first that has any, closing of all."""

    class Stuck(FakeBackend):
        async def aclose(self) -> None:
            await super().aclose()
            raise OSError("stuck")

    first, second, third = FakeBackend(name="a"), Stuck(name="b"), FakeBackend(name="c")
    failover = FailoverBackend([first, second, third], rules=RULES, monitor=HealthMonitor({}))
    assert failover.capabilities is first.capabilities
    assert (await failover.probe()).status == "ok"
    for one in (first, second, third):
        one.health = Health(status="unavailable", detail=one.name)
    second.health = Health(status="busy", detail="b")
    assert (await failover.probe()).detail == "b"
    second.health = third.health
    assert (await failover.probe()).detail == "c"
    with pytest.raises(OSError, match="stuck"):
        await failover.aclose()
    assert [one.n_closed for one in (first, second, third)] == [1, 1, 1]


@pytest.mark.anyio
async def test_a_source_error_is_not_the_backends_fault() -> None:
    """Text that ends in an error is spoken by the first backend, and the error is the caller's."""

    async def broken() -> AsyncIterator[str]:
        yield SENTENCES[0]
        raise ZeroDivisionError

    second = FakeBackend(name="second")
    async with client(FakeBackend(name="first"), second) as tts:
        with pytest.raises(ZeroDivisionError):
            await tts.synthesize(broken())
        with pytest.raises(InvalidRequestError):
            await tts.synthesize(iter([None]))  # type: ignore[arg-type]
    assert second.utterances == []


def failover_of(*backends: FakeBackend, **settings: object) -> FailoverBackend:
    """Several backends as one, without a client."""
    monitor = HealthMonitor({one.name: one for one in backends}, random=lambda: 0.0)
    return FailoverBackend(backends, rules=RULES, monitor=monitor, **settings)  # type: ignore[arg-type]


@pytest.mark.anyio
async def test_warming_up_succeeds_if_anyone_can() -> None:
    """All are warmed, side by side; one alone has its own error, several have all of theirs."""
    gone = BackendUnavailableError("gone")
    well, ill = FakeBackend(name="well"), FakeBackend(refuses=gone, name="ill")
    await failover_of(ill, well).warmup()
    assert (ill.n_warmups, well.n_warmups) == (1, 1)
    with pytest.raises(BackendUnavailableError) as caught:
        await failover_of(ill).warmup()
    assert caught.value is gone
    other = FakeBackend(refuses=AuthenticationError("no"), name="other")
    with pytest.raises(NoBackendAvailableError) as all_of_them:
        await failover_of(ill, other).warmup()
    assert [name for name, _ in all_of_them.value.reasons] == ["ill", "other"]


@pytest.mark.anyio
@pytest.mark.parametrize(("chance", "delay_s"), [(0.0, 0.25), (1.0, 0.125)])
async def test_chance_decides_how_long_a_retry_waits(chance: float, delay_s: float) -> None:
    """The randomness that was given, and nothing else; paces need not be known."""
    backend = FakeBackend(refuses=BackendUnavailableError("gone"), name="one")
    failover = failover_of(backend, random=lambda: chance)
    segments = given(Segment(index=0, text="Some words."))

    async def speak() -> int:
        async with failover.speak(Utterance(), segments) as made:
            return len([item async for item in made])

    speaking = asyncio.create_task(speak())
    await settled()
    backend.refuses = None
    assert await speaking == 4
    assert asyncio.get_running_loop().time() == pytest.approx(delay_s)


async def given(*segments: Segment) -> AsyncIterator[Segment]:
    """Segments that are there."""
    for segment in segments:
        yield segment

"""Who failed is left alone, looked at again, and speaks again when it is well."""

from __future__ import annotations

import asyncio

import pytest

from fakes import FakeBackend, breaks, client, speaks
from junetts import TTS, Health
from junetts._errors import (
    AuthenticationError,
    BackendUnavailableError,
    NoBackendAvailableError,
    RateLimitedError,
    RequestRejectedError,
)
from virtual_time import VIRTUAL_TIME

SENTENCES = ["This is the first one. ", "This is the second one. ", "This is the third one. "]
TEXT = "".join(SENTENCES)
GONE = BackendUnavailableError("gone")
ILL = Health(status="unavailable", detail="no answer")


@pytest.fixture
def anyio_backend() -> tuple[str, dict[str, object]]:
    """No test here waits for real time."""
    return VIRTUAL_TIME


async def speaker(tts: TTS) -> str | None:
    """Who speaks now."""
    return (await tts.synthesize(TEXT)).report.backend


def ill(name: str = "first", error: BackendUnavailableError = GONE) -> FakeBackend:
    """A backend that refuses, and whose probe says so."""
    backend = FakeBackend(refuses=error, name=name)
    backend.health = ILL
    return backend


def recover(backend: FakeBackend) -> None:
    """From now on it is well."""
    backend.refuses = None
    backend.health = Health(status="ok", detail="well")


@pytest.mark.anyio
async def test_who_failed_is_left_alone_until_a_probe_finds_it_well() -> None:
    """One utterance pays for the outage; the others go elsewhere at once."""
    first = ill()
    async with client(first, FakeBackend(name="second")) as tts:
        assert [await speaker(tts) for _ in range(3)] == ["second"] * 3
        assert len(first.utterances) == 1
        recover(first)
        await asyncio.sleep(1.1)
        assert [await speaker(tts) for _ in range(2)] == ["first"] * 2
    assert len(first.utterances) == 3


@pytest.mark.anyio
async def test_only_one_utterance_is_the_trial() -> None:
    """While it is tried by one, the others do not wait for it."""
    first = ill()
    async with client(first, FakeBackend(name="second")) as tts:
        await speaker(tts)
        recover(first)
        await asyncio.sleep(1.1)
        first._perform = speaks(pause_s=1.0)
        trial = asyncio.create_task(speaker(tts))
        await asyncio.sleep(0.1)
        assert await speaker(tts) == "second"
        assert await trial == "first"
        assert await speaker(tts) == "first"


@pytest.mark.anyio
async def test_a_refused_key_is_not_tried_again_by_itself() -> None:
    """Only `health`, which asks without text, brings it back."""
    first = ill(error=AuthenticationError("the key was refused"))
    async with client(first, FakeBackend(name="second")) as tts:
        assert await speaker(tts) == "second"
        recover(first)
        await asyncio.sleep(3600)
        assert await speaker(tts) == "second"
        assert len(first.utterances) == 1
        health = await tts.health()
        assert (health["first"].status, health["first"].breaker) == ("ok", "half_open")
        assert await speaker(tts) == "first"
        assert (await tts.health())["first"].breaker == "closed"


@pytest.mark.anyio
async def test_health_shows_what_is_known() -> None:
    """The probe's finding, the breaker, its reason, and when it looks again."""
    first = ill(error=RateLimitedError("too many", retry_after_s=20))
    async with client(first, FakeBackend(name="second"), fallback={"tries": 1}) as tts:
        await speaker(tts)
        health = await tts.health()
    found = health["first"]
    assert (found.status, found.detail) == ("unavailable", "no answer")
    assert (found.breaker, found.failure) == ("open", "too many")
    assert found.probe_in_s is not None
    assert found.probe_in_s == pytest.approx(20, abs=0.1)
    assert health["second"] == Health(status="ok", detail="a fake is always well")


@pytest.mark.anyio
async def test_a_rejected_request_says_nothing_about_the_backend() -> None:
    """The next utterance begins with it again."""
    first = ill(error=RequestRejectedError("422"))
    async with client(first, FakeBackend(name="second")) as tts:
        await speaker(tts)
        await speaker(tts)
        assert (await tts.health())["second"].breaker == "closed"
    assert len(first.utterances) == 2


@pytest.mark.anyio
async def test_if_everyone_is_down_they_are_tried_all_the_same() -> None:
    """A breaker changes the order; it never keeps anyone silent."""
    first, second = ill("first"), ill("second")
    async with client(first, second) as tts:
        with pytest.raises(NoBackendAvailableError):
            await speaker(tts)
        second.refuses = None
        assert await speaker(tts) == "second"


@pytest.mark.anyio
async def test_the_only_backend_is_tried_whatever_its_breaker_says() -> None:
    """Nobody else could speak, and its key may be good again."""
    only = ill(error=AuthenticationError("the key was refused"))
    async with client(only) as tts:
        for _ in range(2):
            with pytest.raises(AuthenticationError, match="the key was refused"):
                await speaker(tts)
        only.refuses = None
        assert await speaker(tts) == "first"
    assert len(only.utterances) == 3


@pytest.mark.anyio
async def test_the_preferred_backend_returns_with_the_next_utterance() -> None:
    """Not in the middle of one, unless that is wanted."""
    first = FakeBackend(breaks(GONE, segment=1), name="first")
    second = FakeBackend(speaks(pause_s=1.0), name="second")
    async with client(first, second) as tts:
        report = (await tts.synthesize(TEXT)).report
        assert [segment.backend for segment in report.segments] == ["first", "second", "second"]
        first._perform = speaks()
        assert await speaker(tts) == "first"


@pytest.mark.anyio
async def test_it_may_return_between_two_sentences() -> None:
    """With ``return_at = "segment"`` a recovered backend goes on where the other one is."""
    first = FakeBackend(breaks(GONE, segment=0), name="first")
    second = FakeBackend(speaks(pause_s=1.0), name="second")
    async with client(first, second, fallback={"return_at": "segment"}) as tts:
        stream = tts.stream(TEXT)
        await anext(stream)
        first._perform = speaks()
        async for _ in stream:
            pass
    report = stream.report
    assert (report.outcome, report.spoken_text) == ("complete", TEXT)
    assert [segment.backend for segment in report.segments] == ["second", "first", "first"]
    assert [(one.to_backend, one.segment) for one in report.handovers] == [
        ("second", 0),
        ("first", 1),
    ]
    assert report.handovers[1].reason == "a preferred backend has recovered"
    assert first.given == [SENTENCES[0], *SENTENCES[1:]]


@pytest.mark.anyio
async def test_a_return_that_fails_costs_nothing_but_time() -> None:
    """The one that spoke goes on; nothing is repeated, nothing lost, no handover reported."""
    first = FakeBackend(breaks(GONE, segment=0), name="first")
    second = FakeBackend(speaks(pause_s=1.0), name="second")
    async with client(first, second, fallback={"return_at": "segment"}) as tts:
        stream = tts.stream(TEXT)
        await anext(stream)
        first.refuses = GONE  # its probe says that it is well
        async for _ in stream:
            pass
    report = stream.report
    assert (report.outcome, report.spoken_text) == ("complete", TEXT)
    assert {segment.backend for segment in report.segments} == {"second"}
    assert len(report.handovers) == 1
    assert "".join(second.given).count(SENTENCES[2]) >= 1
    assert report.audio_s == pytest.approx(0.1 + 0.005 + 3 * 0.3)


@pytest.mark.anyio
async def test_without_anyone_to_return_to_nobody_is_left() -> None:
    """Who speaks speaks on, be it the preferred one or the one that is well."""
    fallback = {"return_at": "segment"}
    first, second = FakeBackend(name="first"), FakeBackend(name="second")
    async with client(first, second, fallback=fallback) as tts:
        await speaker(tts)
    assert len(first.utterances) == 1
    first, second = ill(error=AuthenticationError("no")), FakeBackend(name="second")
    async with client(first, second, fallback=fallback) as tts:
        await speaker(tts)
    assert (len(first.utterances), len(second.utterances)) == (1, 1)


@pytest.mark.anyio
async def test_who_spoke_is_released_before_the_preferred_one_returns() -> None:
    """Only one of them holds resources at a time, here as with every handover."""
    open_meanwhile: list[int] = []

    async def look() -> None:
        open_meanwhile.append(second.n_open)

    first = FakeBackend(breaks(GONE, segment=0), name="first", enter=look)
    second = FakeBackend(speaks(pause_s=1.0), name="second")
    async with client(first, second, fallback={"return_at": "segment"}) as tts:
        stream = tts.stream(TEXT)
        await anext(stream)
        first._perform = speaks()
        async for _ in stream:
            pass
    assert open_meanwhile == [0, 0]


@pytest.mark.anyio
async def test_a_trial_that_is_left_in_the_middle_is_given_back() -> None:
    """Barge-in is no verdict: the next utterance is the trial."""
    first = ill()
    async with client(first, FakeBackend(name="second")) as tts:
        await speaker(tts)
        recover(first)
        await asyncio.sleep(1.1)
        first._perform = speaks(pause_s=1.0)
        stream = tts.stream(TEXT)
        await anext(stream)
        assert await speaker(tts) == "second"
        await stream.aclose()
        assert stream.report.backend == "first"
        assert await speaker(tts) == "first"


@pytest.mark.anyio
async def test_nobody_returns_when_all_is_said() -> None:
    """After the last sentence no backend is woken for nothing."""
    first = FakeBackend(breaks(GONE, segment=0), name="first")
    second = FakeBackend(speaks(pause_s=1.0), name="second")
    async with client(first, second, fallback={"return_at": "segment"}) as tts:
        report = (await tts.synthesize(SENTENCES[0])).report
    assert report.outcome == "complete"
    assert len(first.utterances) == 1


@pytest.mark.anyio
async def test_failing_when_all_is_said_is_no_failure() -> None:
    """The listener heard everything; only the breaker takes note."""

    class Late(FakeBackend):
        async def _made(self, segments):  # type: ignore[no-untyped-def, override]
            async for item in super()._made(segments):
                yield item
            raise GONE

    first, second = Late(name="first"), FakeBackend(name="second")
    async with client(first, second) as tts:
        report = (await tts.synthesize(TEXT)).report
        assert (report.outcome, report.handovers, report.audio_s) == (
            "complete",
            (),
            pytest.approx(0.9),
        )
        assert (await tts.health())["first"].failure == "gone"
    assert second.utterances == []

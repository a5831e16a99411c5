"""A backend's cleanup: it may fail or hang, and decides nothing."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, aclosing

import pytest

import junetts
from fakes import FakeBackend, audio, breaks, client, hangs, settled, tone_pcm, yields
from junetts._backend import BackendAudio
from junetts._errors import BackendUnavailableError, JuneTtsError, RemoteProtocolError
from junetts._guard import CLEANUP_TIMEOUT_S, GuardedBackend
from junetts._utterance import Segment, Utterance
from virtual_time import VIRTUAL_TIME

SENTENCES = ["This is the first one. ", "This is the second one. ", "This is the third one. "]
TEXT = "".join(SENTENCES)


@pytest.fixture
def anyio_backend() -> tuple[str, dict[str, object]]:
    """No test here waits for real time."""
    return VIRTUAL_TIME


class CleanupError(Exception):
    """A third party's own."""


async def cannot_clean_up() -> None:
    """A backend's cleanup that fails."""
    raise CleanupError


async def never_done() -> None:
    """A backend's cleanup that hangs."""
    await asyncio.Event().wait()


async def spoken(backend: FakeBackend) -> list[BackendAudio]:
    """What the guarded backend yields for one sentence."""

    async def one() -> AsyncIterator[Segment]:
        yield Segment(index=0, text="Hello there.")

    guarded = GuardedBackend(backend, sample_rate=8000)
    async with guarded.speak(Utterance(), one()) as items:
        return [item async for item in items]


@pytest.mark.anyio
async def test_a_cleanup_that_fails_does_not_make_success_a_failure(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Everything was heard; the log names the backend and has the error."""
    items = await spoken(FakeBackend(leave=cannot_clean_up, name="theirs"))
    assert items[-1].end == "complete"
    (record,) = caplog.records
    assert (record.levelno, record.name) == (logging.WARNING, "junetts")
    assert record.getMessage() == "theirs: its cleanup failed"
    assert record.exc_info is not None
    assert record.exc_info[0] is CleanupError


@pytest.mark.anyio
async def test_a_cleanup_that_fails_does_not_hide_why_speech_did(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The error that the audio ended with is raised, and is one of ours."""
    backend = FakeBackend(breaks(KeyError("x")), leave=cannot_clean_up, name="theirs")
    with pytest.raises(BackendUnavailableError, match="theirs: the backend failed: KeyError"):
        await spoken(backend)
    assert [record.getMessage() for record in caplog.records] == ["theirs: its cleanup failed"]


class Raising:
    """A context that raises again what was thrown into it, as some third party's may."""

    def __init__(self, context: AbstractAsyncContextManager[AsyncIterator[BackendAudio]]) -> None:
        self._context = context

    async def __aenter__(self) -> AsyncIterator[BackendAudio]:
        return await self._context.__aenter__()

    async def __aexit__(self, *thrown: object) -> None:
        await self._context.__aexit__(*thrown)  # type: ignore[arg-type]
        if isinstance(thrown[1], BaseException):
            raise thrown[1]


class RaisingBackend(FakeBackend):
    """A backend with such a context."""

    def speak(self, utterance: Utterance, segments: AsyncIterable[Segment]) -> Raising:  # type: ignore[override]
        """As the fake does."""
        return Raising(super().speak(utterance, segments))


@pytest.mark.anyio
async def test_a_cleanup_that_passes_an_error_on_is_no_news(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """What was thrown into the backend's context comes out of it: nothing is logged."""
    with pytest.raises(RemoteProtocolError, match="broken"):
        await spoken(RaisingBackend(breaks(RemoteProtocolError("broken"))))
    assert caplog.records == []


@pytest.mark.anyio
async def test_a_cleanup_that_hangs_is_given_up(caplog: pytest.LogCaptureFixture) -> None:
    """The utterance ends, a little later."""
    begun_at = asyncio.get_running_loop().time()
    items = await spoken(FakeBackend(leave=never_done, name="theirs"))
    assert items[-1].end == "complete"
    assert asyncio.get_running_loop().time() - begun_at == pytest.approx(CLEANUP_TIMEOUT_S)
    assert [r.getMessage() for r in caplog.records] == [
        "theirs: its cleanup hung, and was given up"
    ]


@pytest.mark.anyio
@pytest.mark.parametrize("leave", [cannot_clean_up, never_done])
async def test_the_next_backend_goes_on_after_a_cleanup_that_fails(
    leave: Callable[[], Awaitable[None]],
) -> None:
    """A broken backend that cannot even be left is replaced like any other."""
    first = FakeBackend(breaks(RemoteProtocolError("gone"), segment=1), leave=leave, name="first")
    second = FakeBackend(name="second")
    async with junetts.TTS({"backends": [first, second], "sample_rate": 8000}) as tts:
        speech = await tts.synthesize(TEXT)
    assert (speech.report.outcome, speech.report.spoken_text) == ("complete", TEXT)
    assert second.given == SENTENCES[1:]


@pytest.mark.anyio
async def test_a_cleanup_that_fails_does_not_swallow_a_cancellation() -> None:
    """Barge-in stays barge-in."""
    backend = FakeBackend(hangs(after=1), leave=cannot_clean_up)
    async with junetts.TTS({"backends": [backend], "sample_rate": 8000}) as tts:
        async with tts.stream(TEXT) as stream:
            await anext(stream)
        assert stream.report.outcome == "cancelled"

        async def listen() -> None:
            async with aclosing(tts.stream(TEXT)) as other:
                async for _ in other:
                    pass

        task = asyncio.create_task(listen())
        await settled()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task


@pytest.mark.anyio
async def test_every_error_of_the_library_is_one_of_ours() -> None:
    """Whatever a third party's backend raises, and wherever."""

    async def odd(segment: Segment) -> AsyncIterator[BackendAudio]:
        yield audio(segment, tone_pcm())
        raise ExceptionGroup("several", [KeyError("a"), ValueError("b")])

    for backend in (
        FakeBackend(odd),
        FakeBackend(breaks(StopAsyncIteration())),
        FakeBackend(breaks(TimeoutError("theirs"), after=0)),
        FakeBackend(enter=cannot_clean_up),
        FakeBackend(yields(audio(7, tone_pcm()))),
    ):
        async with client(backend) as tts:
            with pytest.raises(JuneTtsError) as raised:
                await tts.synthesize(TEXT)
            assert raised.value.backend == "fake"
            assert raised.value.report is not None
            assert raised.value.report.outcome == "failed"

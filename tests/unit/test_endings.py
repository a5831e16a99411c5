"""Honest endings: what is raised, what it carries, how it reads, and what is no failure at all."""

from __future__ import annotations

import asyncio
import pickle
import traceback
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

import junetts
from fakes import FakeBackend, breaks, client, settled
from junetts._errors import (
    AuthenticationError,
    BackendUnavailableError,
    NoBackendAvailableError,
    RemoteProtocolError,
    SynthesisInterruptedError,
)
from junetts.cli.failures import complain
from junetts.testing import CloudServer, FishServer
from virtual_time import VIRTUAL_TIME

SENTENCES = ["This is the first one. ", "This is the second one. ", "This is the third one. "]
TEXT = "".join(SENTENCES)
NOTHING = ["", "   ", "...", "\n\n- - -\n\n***", "?!"]


@pytest.fixture
def anyio_backend() -> tuple[str, dict[str, object]]:
    """No test here waits for real time, but for those that say so."""
    return VIRTUAL_TIME


# Failure carries what was heard.


@pytest.mark.anyio
@pytest.mark.parametrize("streamed", [False, True])
async def test_a_failed_synthesize_carries_what_was_heard(*, streamed: bool) -> None:
    """The error has the partial audio and the report, with one backend and with several."""
    gone = RemoteProtocolError("the line went dead")
    for others in ([], [FakeBackend(refuses=BackendUnavailableError("down"), name="second")]):
        first = FakeBackend(breaks(gone, segment=1, after=2), name="first")
        async with client(first, *others) as tts:
            with pytest.raises(SynthesisInterruptedError) as raised:
                await tts.synthesize(iter(SENTENCES) if streamed else TEXT)
        error = raised.value
        assert error.speech is not None
        assert error.report is not None
        assert error.speech.report == error.report
        assert error.speech.duration_s == pytest.approx(error.report.audio_s)
        assert error.report.audio_s == pytest.approx(0.5, abs=0.01)  # and a fade
        assert (error.report.outcome, error.report.spoken_text) == ("failed", SENTENCES[0])
        read = TEXT[: error.report.characters]
        assert error.report.spoken_text + error.report.unspoken_text == read
        assert "the line went dead" in str(error)


@pytest.mark.anyio
async def test_a_failure_before_any_sound_has_a_report_and_no_speech() -> None:
    """All of the text is unspoken, and each backend's reason is there."""
    backends = [
        FakeBackend(refuses=BackendUnavailableError(f"{name} is down"), name=name)
        for name in ("first", "second")
    ]
    async with client(*backends) as tts:
        with pytest.raises(NoBackendAvailableError) as raised:
            await tts.synthesize(TEXT)
    error = raised.value
    assert error.report is not None
    assert (error.report.outcome, error.report.unspoken_text) == ("failed", TEXT)
    assert error.speech is None
    assert [name for name, _ in error.reasons][:2] == ["first", "second"]


# How it reads.


def everything_failed() -> NoBackendAvailableError:
    """A typical collection of reasons, one of them twice."""
    hint = "check the key at https://fish.audio"
    refused = AuthenticationError("the key was refused", backend="cloud", status=401, hint=hint)
    return NoBackendAvailableError(
        [
            ("cloud", refused),
            ("server", BackendUnavailableError("connection refused", hint="is it running?")),
            ("local", BackendUnavailableError("failed:\nno such file\nreally", backend="local")),
            ("server", BackendUnavailableError("connection refused", hint="is it running?")),
        ]
    )


def test_every_reason_has_a_line() -> None:
    """In the order tried, and what happened again is not told again."""
    assert str(everything_failed()).splitlines() == [
        "no backend could speak:",
        "  cloud: the key was refused (status 401)",
        "  server: connection refused (2 times)",
        "  local: failed:",
        "  no such file",
        "  really",
    ]


def test_a_traceback_ends_with_the_reasons_and_what_to_do() -> None:
    """Each backend's hint stands below the message."""
    error = everything_failed()
    shown = "".join(traceback.format_exception_only(error)).splitlines()
    assert shown[0] == "junetts._errors.NoBackendAvailableError: no backend could speak:"
    assert shown[-2:] == [
        "Hint: cloud: check the key at https://fish.audio",
        "Hint: server: is it running?",
    ]
    copy = pickle.loads(pickle.dumps(error))  # noqa: S301  our own bytes
    assert "".join(traceback.format_exception_only(copy)).splitlines() == shown


def test_at_the_command_line_it_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    """Reason after reason, and a line for what to do."""
    complain(everything_failed())
    assert capsys.readouterr().err.splitlines() == [
        "junetts: no backend could speak: cloud: the key was refused (status 401); "
        "server: connection refused (2 times); local: failed:; no such file; really",
        "hint: `junetts doctor` checks every backend",
    ]


# Nothing to say is no failure.


async def arriving(*pieces: str) -> AsyncIterator[str]:
    """Text that comes piece by piece."""
    for piece in pieces:
        await asyncio.sleep(0)
        yield piece


def silent_texts() -> Iterator[object]:
    """Nothing to say, in every form that a text may have."""
    yield from NOTHING
    yield []
    yield ["", " ", "..."]
    yield arriving()
    yield arriving("", " \n", "...", "?!")


@pytest.mark.anyio
async def test_nothing_to_say_troubles_no_backend() -> None:
    """It is complete, without audio, however sick the backends are."""
    backends = [
        FakeBackend(refuses=BackendUnavailableError("down"), name=name) for name in ("a", "b")
    ]
    async with client(*backends) as tts:
        for text in silent_texts():
            speech = await tts.synthesize(text, timeout_s=5)  # type: ignore[arg-type]
            report = speech.report
            assert (report.outcome, speech.duration_s, speech.pcm) == ("complete", 0, b"")
            assert (report.attempts, report.backend, report.unspoken_text) == ((), None, "")
            assert report.characters == len(report.spoken_text)
    assert [backend.utterances for backend in backends] == [[], []]


@pytest.mark.anyio
@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_nothing_to_say_reaches_no_server() -> None:
    """Neither socket nor request; and where nobody listens, it is complete as well."""
    missing = {"checkpoint": str(Path(__file__).parent / "no such checkpoint")}
    async with CloudServer(keys={"k"}) as cloud, FishServer() as server:
        for cloud_port, server_port in ((cloud.port, server.port), (9, 9)):
            config = {
                "backends": ["cloud", "server", "local", "demo"],
                "cloud": {
                    "url": f"ws://127.0.0.1:{cloud_port}/v1/tts/live",
                    "api_keys": ["k"],
                },
                "server": {"url": f"http://127.0.0.1:{server_port}"},
                "local": missing,
            }
            async with junetts.TTS(config) as tts:
                for name in (None, "cloud", "server", "local", "demo"):
                    for text in ("", "...", iter(["", "..."]), arriving(" ", "...")):
                        speech = await tts.synthesize(text, backend=name)
                        assert (speech.report.outcome, speech.pcm) == ("complete", b"")
        assert (cloud.n_connections, cloud.requests, server.calls) == (0, [], [])


@pytest.mark.anyio
async def test_a_backend_is_troubled_once_there_is_something_to_say() -> None:
    """What is not speakable before the first word does not begin an utterance."""
    backend, more = FakeBackend(), asyncio.Event()

    async def slow() -> AsyncIterator[str]:
        yield "...\n\n"
        await more.wait()
        yield "Hello there. How is it going?"

    async with client(backend) as tts:
        stream = tts.stream(slow())
        await settled()
        assert backend.utterances == []
        more.set()
        speech = await stream.collect()
    assert backend.given == ["...\n\nHello there. ", "How is it going?"]
    assert speech.report.spoken_text == "...\n\nHello there. How is it going?"

"""Sessions that go wrong, each as its own kind of error."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from junetts._errors import (
    BackendUnavailableError,
    InvalidRequestError,
    RateLimitedError,
    RemoteProtocolError,
    RequestRejectedError,
    UnknownVoiceError,
)
from junetts._utterance import Sampling, Segment, Utterance, Voice
from junetts.testing import CloudServer, CloudSession, Knock, Refusal

pytestmark = pytest.mark.anyio


@pytest.fixture
def failure_in(cloud, failure_of):
    """What a sentence fails with under a script."""

    async def run(script) -> BackendUnavailableError:
        async with cloud(CloudServer(script=script)) as c:
            error = await failure_of(c.backend)
        assert isinstance(error, BackendUnavailableError)
        assert error.backend == "cloud"
        return error

    return run


async def test_finish_with_error(failure_in) -> None:
    """`finish: error` is failure, in the server's words, even after audio."""

    async def script(session: CloudSession) -> None:
        await session.receive_request()
        await session.send_audio(b"\x01\x02")
        await session.finish("error", message="out of memory")

    error = await failure_in(script)
    assert type(error) is BackendUnavailableError
    assert "out of memory" in str(error)
    assert error.retryable


async def test_finish_with_an_unknown_reason(failure_in) -> None:
    """Only `stop` is success, whatever reasons there may come to be."""

    async def script(session: CloudSession) -> None:
        await session.receive_request()
        await session.finish("length")

    assert "'length'" in str(await failure_in(script))


async def test_error_event(failure_in) -> None:
    """A request-level failure cannot be helped by trying again."""

    async def script(session: CloudSession) -> None:
        await session.receive()
        await session.fail("Reference not found")

    error = await failure_in(script)
    assert isinstance(error, RequestRejectedError)
    assert error.trace_id == "trace-0"
    assert not error.retryable
    assert "Reference not found" in str(error)


@pytest.mark.parametrize("words", ["internal error, please try again", "overloaded"])
async def test_error_event_about_the_server(failure_in, words: str) -> None:
    """A failure that is not about the request may pass."""

    async def script(session: CloudSession) -> None:
        await session.receive_request()
        await session.fail(words)

    error = await failure_in(script)
    assert type(error) is BackendUnavailableError
    assert error.retryable


@pytest.mark.parametrize(
    "words", ["Reference not found", "Invalid format", "model not found", "Validation failed: x"]
)
async def test_error_event_about_the_request(failure_in, words: str) -> None:
    """The same request would be refused again."""

    async def script(session: CloudSession) -> None:
        await session.receive_request()
        await session.fail(words)

    assert isinstance(await failure_in(script), RequestRejectedError)


async def test_error_event_after_audio(failure_in) -> None:
    """A request that had been accepted may well succeed another time."""

    async def script(session: CloudSession) -> None:
        await session.receive_request()
        await session.send_audio(b"\x01\x02")
        await session.fail("invalid state")

    error = await failure_in(script)
    assert type(error) is BackendUnavailableError
    assert error.retryable


async def test_too_many_at_once(failure_in) -> None:
    """The in-band refusal for concurrency is a rate limit, with the limit."""

    async def script(session: CloudSession) -> None:
        await session.receive()
        await session.fail("Concurrency limit exceeded", max_concurrency=8)

    error = await failure_in(script)
    assert isinstance(error, RateLimitedError)
    assert error.retryable
    assert "at most 8" in str(error)


@pytest.mark.parametrize("where", ["started", "after audio"])
@pytest.mark.parametrize("how", ["close", "drop", "abort", "bad frame", "too big"])
async def test_early_close(failure_in, how: str, where: str) -> None:
    """A socket that closes before `finish` is an error, whoever closed it and however."""

    async def script(session: CloudSession) -> None:
        await session.receive_request()
        if where == "after audio":
            await session.send_audio(b"\x01\x02")
        match how:
            case "close":
                await session.close(1011, "restarting")
            case "drop":
                await session.drop()
            case "abort":
                session.abort()
            case "bad frame":
                await session.send_raw(b"\xff\xff\xff\xff")
            case "too big":
                await session.send_raw(b"\x82\x7f" + (2**40).to_bytes(8, "big"))

    error = await failure_in(script)
    assert isinstance(error, RemoteProtocolError)
    assert error.retryable
    expected = {"close": "code 1011: restarting", "drop": "without a close frame"}
    assert expected.get(how, "closed before the speech was finished") in str(error)


@pytest.mark.parametrize(
    ("message", "words"),
    [(b"\xc1", "not MessagePack"), (b"\x81\xa5event\xa5audio", "audio is missing")],
)
async def test_undecodable(failure_in, message: bytes, words: str) -> None:
    """Bytes that are no event are the server's fault."""

    async def script(session: CloudSession) -> None:
        await session.receive_request()
        await session.send_message(message)

    error = await failure_in(script)
    assert isinstance(error, RemoteProtocolError)
    assert words in str(error)


async def test_finish_too_early(cloud, failure_of) -> None:
    """`finish` for a session whose text has not all been sent would hide unspoken text."""
    clip = Voice.clone(b"?" * 20_000_000, "t")

    async def script(session: CloudSession) -> None:
        await session.finish()

    async with cloud(CloudServer(script=script)) as c:
        error = await failure_of(c.backend, Utterance(voice=clip))
    assert isinstance(error, RemoteProtocolError)


@pytest.mark.parametrize(
    "utterance",
    [Utterance(sampling=Sampling(seed=1)), Utterance(voice=Voice(server_id="s"))],
)
async def test_refused_without_connecting(cloud, utterance: Utterance, failure_of) -> None:
    """Bad input is told before anything is dialled."""
    async with cloud() as c:
        error = await failure_of(c.backend, utterance)
        assert c.server.n_connections == 0
    assert isinstance(error, (InvalidRequestError, UnknownVoiceError))
    assert error.backend == "cloud"


async def test_request_errors_name_the_backend(cloud, failure_of) -> None:
    """An error found in the request itself knows whose it is."""
    async with cloud(model="s1") as c:
        error = await failure_of(c.backend, Utterance(voice=Voice(cloud_id=("a", "b"))))
    assert isinstance(error, InvalidRequestError)
    assert error.backend == "cloud"


async def test_failure_in_turn(cloud) -> None:
    """What goes wrong with the segment ahead is raised after the audio of the one before it."""

    async def script(session: CloudSession) -> None:
        request = await session.receive_request()
        if request.text == "Bad.":
            await session.fail("invalid")
        else:
            await session.send_audio(b"\x01\x02")
            await session.finish()

    async def segments() -> AsyncIterator[Segment]:
        yield Segment(index=0, text="Good.")
        yield Segment(index=1, text="Bad.")

    async with (
        cloud(CloudServer(script=script)) as c,
        c.backend.speak(Utterance(), segments()) as audio,
    ):
        assert (await anext(audio)).data
        await c.server.until(lambda: len(c.server.requests) == 2)
        assert (await anext(audio)).end == "complete"
        with pytest.raises(RequestRejectedError):
            await anext(audio)


async def test_one_too_many_in_band(cloud) -> None:
    """A segment refused only because it began before its turn is spoken in its turn."""
    gate = asyncio.Event()
    refused: list[str] = []

    async def script(session: CloudSession) -> None:
        request = await session.receive_request()
        if request.text == "Two." and not refused:
            refused.append(request.text)
            await session.fail("Concurrency limit exceeded", max_concurrency=1)
            gate.set()
            return
        await gate.wait()
        await session.send_audio(request.text.encode())
        await session.finish()

    async with cloud(CloudServer(script=script)) as c:
        items = await c.speak("One.", "Two.")
    assert [item.data for item in items] == [b"One.", b"", b"Two.", b""]
    assert refused == ["Two."]


def busy_for(*keys: str, heard: list[str], before: bytes = b""):
    """A script that refuses some keys for having too many sessions at once."""

    async def script(session: CloudSession) -> None:
        key = session.headers["authorization"].removeprefix("Bearer ")
        heard.append(key)
        await session.receive_request()
        if before:
            await session.send_audio(before)
        if key in keys:
            await session.fail("Concurrency limit exceeded", max_concurrency=1)
        else:
            await session.finish()

    return script


async def test_another_key_when_too_many_at_once(cloud) -> None:
    """Concurrency is counted per key: the next one speaks, and stays in front."""
    heard: list[str] = []
    server = CloudServer(script=busy_for("a", "b", heard=heard))
    async with cloud(server, api_keys=["a", "b", "c"]) as c:
        assert [item.end for item in await c.speak("One.")] == ["complete"]
        await c.speak("Two.")
    assert heard == ["a", "b", "c", "c"]


async def test_every_key_has_too_many_at_once(cloud, failure_of) -> None:
    """Each key is tried once, and then it is told."""
    heard: list[str] = []
    server = CloudServer(script=busy_for("a", "b", heard=heard))
    async with cloud(server, api_keys=["a", "b"]) as c:
        assert isinstance(await failure_of(c.backend), RateLimitedError)
    assert heard == ["a", "b"]


async def test_no_other_key_after_audio(cloud, failure_of) -> None:
    """What was heard is not spoken again with another key."""
    heard: list[str] = []
    server = CloudServer(script=busy_for("a", heard=heard, before=b"\x01\x02"))
    async with cloud(server, api_keys=["a", "b"]) as c:
        assert isinstance(await failure_of(c.backend), RateLimitedError)
    assert heard == ["a"]


async def test_refused_in_its_turn(cloud) -> None:
    """A refusal is told where nothing of our own was in the way."""

    async def doorman(knock: Knock) -> Refusal | None:
        return Refusal(status=429) if server.requests else None

    async def script(session: CloudSession) -> None:
        await session.answer(after_finish="close")

    spoken = asyncio.Event()

    async def segments() -> AsyncIterator[Segment]:
        yield Segment(index=0, text="One.")
        await spoken.wait()
        await server.until(lambda: server.n_open == 0)
        yield Segment(index=1, text="Two.")

    server = CloudServer(doorman=doorman, script=script)
    async with cloud(server) as c, c.backend.speak(Utterance(), segments()) as audio:
        while (await anext(audio)).end is None:
            pass
        spoken.set()
        with pytest.raises(RateLimitedError):
            await anext(audio)


async def test_one_too_many_at_the_door(cloud) -> None:
    """A second connection refused while the first speaks is not needed any more afterwards."""
    gate = asyncio.Event()

    async def doorman(knock: Knock) -> Refusal | None:
        if server.n_open:
            gate.set()
            return Refusal(status=429)
        return None

    server = CloudServer(doorman=doorman, pace=gate.wait)
    async with cloud(server) as c:
        items = await c.speak("One.", "Two.", "Three.")
        assert c.server.n_connections == 1
    assert sum(item.end == "complete" for item in items) == 3

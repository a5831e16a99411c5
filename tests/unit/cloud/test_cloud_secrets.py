"""Keys are seen by the server and by nobody else."""

from __future__ import annotations

import asyncio
import logging
import traceback

import pytest

from junetts._config import CloudSection
from junetts._errors import AuthenticationError, BackendUnavailableError
from junetts.backends.cloud import CloudBackend
from junetts.testing import CloudServer, CloudSession, Knock, Refusal

CANARY = "canary-4711"

pytestmark = pytest.mark.anyio


async def test_no_key_in_logs(cloud, caplog: pytest.LogCaptureFixture) -> None:
    """With every logger at DEBUG, the key is in no record and in nothing formatted from one."""
    names = ("", "junetts", "junetts.websocket", "websockets", "httpx", "httpcore")
    for name in names:
        caplog.set_level(logging.DEBUG, logger=name or None)
    server = CloudServer(keys={CANARY})
    async with cloud(server, api_keys=[CANARY]) as c:
        await c.backend.warmup()
        await c.backend.probe()
        await c.speak("Hello.", "There.")
        received = [r.headers["authorization"] for r in c.server.requests]
    assert received == [f"Bearer {CANARY}"] * 2
    ours = [r for r in caplog.records if r.name == "junetts.websocket"]
    assert any("Authorization: Bearer ***" in r.getMessage() for r in ours)
    assert any(r.name.startswith("httpcore") for r in caplog.records)
    # The server in this very process logs what it receives, as servers do.
    records = [r for r in caplog.records if r.name != "websockets.server"]
    assert CANARY not in "\n".join(f"{r.getMessage()} {vars(r)}" for r in records)


async def test_no_key_in_errors_or_reprs(cloud) -> None:
    """Neither errors with their whole chain nor reprs show the key."""
    async with cloud(CloudServer(keys={"other"}), api_keys=[CANARY]) as c:
        with pytest.raises(AuthenticationError) as caught:
            await c.speak("Hello.")
        health = await c.backend.probe()
        shown = [repr(c.backend), repr(c.backend._pool), repr(health), str(vars(caught.value))]
    shown += traceback.format_exception(caught.value)
    assert CANARY not in "".join(shown)


def test_no_key_in_the_section() -> None:
    """The settings themselves do not show it either."""
    section = CloudSection.model_validate({"api_keys": [CANARY]})
    assert CANARY not in repr(section) + repr(CloudBackend(section))


async def echo_at_the_door(knock: Knock) -> Refusal:
    """Refuse a key by quoting it."""
    body = f"Invalid Token: {knock.headers['authorization']}".encode()
    return Refusal(status=401, body=body, headers={"x-fish-trace-id": f"t-{CANARY}"})


async def test_no_echoed_key_from_the_door(cloud, caplog: pytest.LogCaptureFixture) -> None:
    """Neither a refused handshake nor a refused question for credit quotes it."""
    caplog.set_level(logging.DEBUG, logger="junetts.websocket")
    async with cloud(CloudServer(doorman=echo_at_the_door), api_keys=[CANARY]) as c:
        with pytest.raises(AuthenticationError, match=r"Invalid Token: Bearer \*\*\*") as caught:
            await c.speak("Hello.")
        health = await c.backend.probe()
    assert "Bearer ***" in health.detail
    shown = [repr(health), *traceback.format_exception(caught.value)]
    records = [r for r in caplog.records if r.name == "junetts.websocket"]
    shown += [f"{r.getMessage()} {vars(r)}" for r in records]
    assert any("t-***" in r.getMessage() for r in records)
    assert CANARY not in "".join(shown)


@pytest.mark.parametrize("how", ["error", "too many", "finish", "reason", "close"])
async def test_no_echoed_key_in_band(cloud, caplog, how: str) -> None:
    """No event and no close frame is quoted with it, nor is the frame logged with it."""
    words = f"key {CANARY}"
    caplog.set_level(logging.DEBUG, logger="junetts.websocket")

    async def script(session: CloudSession) -> None:
        await session.receive_request()
        match how:
            case "error":
                await session.fail(words)
            case "too many":
                await session.fail(words, max_concurrency=1)
            case "finish":
                await session.finish("error", message=words)
            case "reason":
                await session.finish(words)
            case "close":
                await session.close(1008, words)

    async with cloud(CloudServer(keys={CANARY}, script=script), api_keys=[CANARY]) as c:
        with pytest.raises(BackendUnavailableError, match=r"key \*\*\*") as caught:
            await c.speak("Hello.")
    records = [r for r in caplog.records if r.name == "junetts.websocket"]
    shown = traceback.format_exception(caught.value)
    shown += [f"{r.getMessage()} {vars(r)}" for r in records]
    assert CANARY not in "".join(shown)


async def test_no_echoed_key_from_another_protocol(failure_of) -> None:
    """What is no HTTP at all is quoted by the WebSocket library, the key left out."""

    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(f"NOT {CANARY}\r\n\r\n".encode())
        writer.close()
        await writer.wait_closed()

    async with await asyncio.start_server(echo, "127.0.0.1", 0) as server:
        url = f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
        section = CloudSection.model_validate({"url": url, "api_keys": [CANARY]})
        error = await failure_of(CloudBackend(section))
        health = await CloudBackend(section).probe()
    assert CANARY not in "".join([repr(health), *traceback.format_exception(error)])

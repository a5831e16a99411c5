"""Whether a fish-speech server is there, without a word of the user's."""

from __future__ import annotations

import asyncio
import socket
from functools import partial

import pytest

from junetts._config import ServerSection
from junetts._errors import AuthenticationError, BackendUnavailableError, RemoteProtocolError
from junetts._utterance import Voice
from junetts.backends.server import ServerBackend, answers
from junetts.testing import FishServer, ServerAnswer, ServerCall


async def stall(call: ServerCall) -> None:
    """Be busy until the client leaves."""
    await call.until_left()


async def trickle(call: ServerCall) -> None:
    """Answer so slowly that no single read is late."""
    await call.begin(200, {"Content-Type": "application/json"})
    while True:
        await call.send(b" ")
        await asyncio.sleep(0)


async def stall_after_head(call: ServerCall) -> None:
    """Begin an answer, and be busy then."""
    await call.begin(200, {"Content-Type": "application/json"})
    await call.until_left()


async def say(status: int, body: bytes, call: ServerCall) -> None:
    """Answer everything alike."""
    await call.answer(ServerAnswer(status=status, headers={"X-A": "b"}, chunks=(body,)))


@pytest.mark.anyio
async def test_a_free_server_is_ok(fish) -> None:
    """The route is asked, with the key."""
    async with fish(FishServer(api_key="k"), api_key="k") as it:
        health = await it.backend.probe()
        assert it.server.url in health.detail
    assert health.status == "ok"
    assert [call.path for call in it.server.calls] == ["/v1/health"]


@pytest.mark.anyio
@pytest.mark.parametrize("script", [stall, stall_after_head, trickle])
async def test_a_slow_answer_is_busy(fish, script) -> None:
    """Generation runs on the server's event loop: while it speaks, health waits too."""
    async with fish(FishServer(script=script), connect_timeout_s=0.05) as it:
        health = await it.backend.probe()
    assert health.status == "busy"
    assert "busy speaking" in health.detail


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("status", "body", "expected", "words"),
    [
        (401, b"", "unavailable", "server.api_key"),
        (503, b"", "busy", ""),
        (429, b"", "busy", ""),
        (404, b"", "unavailable", "server.url"),
        (500, b"", "unavailable", ""),
        (200, b"<html>", "unavailable", "server.url"),
        (200, b'{"status": "starting"}', "unavailable", "server.url"),
        (200, b"[]", "unavailable", "server.url"),
    ],
)
async def test_other_answers_are_told_apart(fish, status, body, expected, words) -> None:
    """Each with what a person can do about it."""
    async with fish(FishServer(script=partial(say, status, body))) as it:
        health = await it.backend.probe()
    assert health.status == expected
    assert words in (health.hint or "")


@pytest.mark.anyio
async def test_a_refused_connection_is_unavailable() -> None:
    """Nothing listens there."""
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}"
        backend = ServerBackend(ServerSection(url=url))
        health = await backend.probe()
        await backend.aclose()
    assert health.status == "unavailable"
    assert "is the fish-speech server running" in (health.hint or "")


@pytest.mark.anyio
async def test_wrappers_have_no_such_route(fish) -> None:
    """What speaks the form dialect is well if it answers at all."""
    async with fish(FishServer(script=partial(say, 404, b"")), encoding="multipart") as it:
        assert (await it.backend.probe()).status == "ok"
        await it.backend.warmup()


@pytest.mark.anyio
async def test_warming_up_connects_and_learns_the_voices(fish) -> None:
    """So that the first utterance waits for neither."""
    async with fish(FishServer(voices=["june"])) as it:
        await it.backend.warmup()
        await it.speak("Hi.", voice=Voice("june"))
        assert it.server.n_open == 1
    paths = [call.path for call in it.server.calls]
    assert paths == ["/v1/health", "/v1/references/list", "/v1/tts"]


@pytest.mark.anyio
@pytest.mark.parametrize("busy_path", ["/v1/health", "/v1/references/list"])
async def test_a_busy_server_needs_no_warming_up(fish, busy_path) -> None:
    """It is up; waiting for it would help nobody."""

    async def script(call: ServerCall) -> None:
        await (stall(call) if call.path == busy_path else call.answer())

    async with fish(FishServer(script=script)) as it:
        await it.backend.warmup()
    assert it.server.calls[-1].path == busy_path


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        (401, b"", AuthenticationError),
        (500, b"", BackendUnavailableError),
        (200, b"{}", RemoteProtocolError),
    ],
)
async def test_warming_up_tells_what_is_wrong(fish, status, body, kind) -> None:
    """At once, and not only with the first utterance."""
    async with fish(FishServer(script=partial(say, status, body))) as it:
        with pytest.raises(kind) as caught:
            await it.backend.warmup()
    assert caught.value.backend == "server"


@pytest.mark.anyio
async def test_a_fish_speech_server_is_recognised() -> None:
    """By its health, not by its port."""
    async with FishServer() as server:
        section = ServerSection(url=server.url)
        assert await answers(section, timeout_s=5)
    assert not await answers(section, timeout_s=5)


@pytest.mark.anyio
@pytest.mark.parametrize("key", ["k", ""])
async def test_a_server_that_wants_a_key_is_recognised(key: str) -> None:
    """Also by its refusal: who is told of the missing key can mend it."""
    async with FishServer(api_key="k") as server:
        assert await answers(ServerSection(url=server.url, api_key=key), timeout_s=5)


@pytest.mark.anyio
@pytest.mark.parametrize("script", [stall, stall_after_head, trickle])
async def test_a_busy_server_is_recognised(script) -> None:
    """What takes the connection and then hangs is taken for one that speaks, and left in time."""
    async with FishServer(script=script) as server:
        assert await answers(ServerSection(url=server.url), timeout_s=0.05)
        await server.until(lambda: server.n_open == 0)


@pytest.mark.anyio
@pytest.mark.parametrize(
    "script",
    [
        partial(say, 200, b"<html>It works!"),
        partial(say, 200, b'{"status": "UP"}'),
        partial(say, 404, b'{"status": "ok"}'),
        partial(say, 403, b""),
        partial(say, 429, b""),
        partial(say, 502, b""),
        partial(say, 503, b""),
    ],
)
async def test_another_server_is_not_mistaken_for_one(script) -> None:
    """Whatever it answers, if that is nothing that fish-speech says."""
    async with FishServer(script=script) as server:
        assert not await answers(ServerSection(url=server.url), timeout_s=5)
        await server.until(lambda: server.n_open == 0)


@pytest.mark.anyio
async def test_a_server_of_another_kind_is_not_mistaken_for_one() -> None:
    """One that talks first, in no HTTP at all."""

    def greet(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 mail.example ESMTP\r\n" * 100)
        writer.close()

    async with await asyncio.start_server(greet, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        assert not await answers(ServerSection(url=f"http://127.0.0.1:{port}"), timeout_s=5)

"""Every way in which a server can fail is an error of ours, with its own words."""

from __future__ import annotations

import asyncio
import json
import socket
import ssl
import traceback
from functools import partial

import httpx
import pytest
import trustme

from junetts import __version__
from junetts._config import ServerSection
from junetts._errors import (
    AuthenticationError,
    BackendBusyError,
    BackendTimeoutError,
    BackendUnavailableError,
    NoAudioError,
    RateLimitedError,
    RemoteProtocolError,
    RequestRejectedError,
)
from junetts._utterance import Segment, Utterance
from junetts.backends._server_link import connect_error
from junetts.backends.server import ServerBackend
from junetts.testing import FishServer, ServerAnswer, ServerCall

LONG = "word " * 1000


async def say(answer: ServerAnswer, call: ServerCall) -> None:
    """Answer with this."""
    await call.answer(answer)


def saying(status: int, body: bytes = b"", **headers: str) -> FishServer:
    """A server that answers everything alike."""
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    chunks = (body,) if body else ()
    answer = ServerAnswer(status=status, headers={"X-Server": "test", **names}, chunks=chunks)
    return FishServer(script=partial(say, answer))


def error_body(status: int, message: str) -> bytes:
    """An error as fish-speech words it."""
    return json.dumps({"statusCode": status, "message": message, "error": "-"}).encode()


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("status", "body", "kind", "retryable", "words"),
    [
        (400, error_body(400, "Text is too long"), RequestRejectedError, False, "Text is too long"),
        (401, error_body(401, "Invalid token"), AuthenticationError, False, "Invalid token"),
        (403, b"no", AuthenticationError, False, "no"),
        (404, b"", RequestRejectedError, False, "404"),
        (415, b"", RequestRejectedError, False, "415"),
        (
            422,
            b'[{"loc": ["temperature"], "type": "x", "msg": "too hot"}]',
            RequestRejectedError,
            False,
            "temperature: too hot",
        ),
        (429, b"slow down", RateLimitedError, True, "slow down"),
        (500, error_body(500, "CUDA error"), BackendUnavailableError, True, "CUDA error"),
        (500, error_body(500, "Prompt is too long: 3 > 2"), RequestRejectedError, False, "3 > 2"),
        (500, error_body(500, "No audio generated, please"), NoAudioError, True, "No audio"),
        (502, b"<html>Bad Gateway", BackendUnavailableError, True, "Bad Gateway"),
        (503, b"", BackendBusyError, True, "503"),
        (204, b"", BackendUnavailableError, True, "204"),
    ],
)
async def test_refusals_keep_the_servers_words(fish, status, body, kind, retryable, words) -> None:
    """The status decides the kind of error, and the message quotes the body."""
    async with fish(saying(status, body, Content_Type="application/json")) as it:
        with pytest.raises(kind, match=words) as caught:
            await it.speak("Hi.")
    error = caught.value
    assert (type(error), error.status, error.retryable) == (kind, status, retryable)
    assert error.backend == "server"


@pytest.mark.anyio
async def test_hints_tell_which_setting_to_look_at(fish) -> None:
    """A wrong key and a wrong address are the commonest mistakes."""
    async with fish(FishServer(api_key="right"), api_key="wrong") as it:
        with pytest.raises(AuthenticationError) as refused:
            await it.speak("Hi.")
    async with fish(saying(404)) as it:
        with pytest.raises(RequestRejectedError) as missed:
            await it.speak("Hi.")
    assert "server.api_key" in (refused.value.hint or "")
    assert "server.url" in (missed.value.hint or "")
    assert "wrong" not in str(refused.value)


async def echo_in_garbage(call: ServerCall) -> None:
    """Say the key in another protocol."""
    await call.send_raw(b"NOT sk-canary-1\r\n\r\n")
    await call.cut_off()


@pytest.mark.anyio
@pytest.mark.parametrize(
    "server",
    [
        saying(401, b'{"message": "Invalid Token: Bearer sk-canary-1"}'),
        saying(500, b"sk-canary-1"),
        saying(302, Location="http://elsewhere.example/sk-canary-1"),
        saying(200, b"sk-canary-1", Content_Type="text/sk-canary-1"),
        saying(200, b"x", Content_Type="audio/wav", Content_Encoding="sk-canary-1"),
        FishServer(script=echo_in_garbage),
    ],
    ids=["401", "500", "redirect", "page", "encoding", "garbage"],
)
async def test_an_echoed_key_is_not_quoted(fish, server) -> None:
    """Neither in errors with their whole chain nor in health."""
    async with fish(server, api_key="sk-canary-1") as it:
        with pytest.raises(BackendUnavailableError) as caught:
            await it.speak("Hi.")
        health = await it.backend.probe()
    shown = [str(health), *traceback.format_exception(caught.value)]
    assert "canary" not in "".join(shown).lower()
    assert "***" in str(caught.value) or "broke off" in str(caught.value)


@pytest.mark.anyio
async def test_junetts_introduces_itself_without_its_metadata(fish) -> None:
    """A frozen program has no metadata of packages."""
    async with fish() as it:
        await it.speak("Hi.")
    assert it.server.calls[0].headers["user-agent"] == f"junetts/{__version__}"


@pytest.mark.anyio
async def test_an_error_whose_body_breaks_off_is_still_that_error(fish) -> None:
    """The status is enough to tell what happened."""

    async def half(call: ServerCall) -> None:
        await call.begin(503)
        await call.send(b'{"mess')
        await call.cut_off()

    async with fish(FishServer(script=half)) as it:
        with pytest.raises(BackendBusyError):
            await it.speak("Hi.")


@pytest.mark.anyio
@pytest.mark.parametrize("status", [301, 302, 307, 308])
async def test_redirections_are_not_followed(fish, status) -> None:
    """The key would go to wherever they point."""
    answer = saying(status, Location="https://elsewhere.example/v1/tts?token=t")
    async with fish(answer, api_key="canary") as it:
        with pytest.raises(BackendUnavailableError, match=r"redirects to https://elsewhere") as why:
            await it.speak("Hi.")
    assert (why.value.retryable, why.value.status) == (False, status)
    assert "token=" not in str(why.value)
    assert len(it.server.calls) == 1


@pytest.mark.anyio
async def test_what_is_not_audio_is_not_played(fish) -> None:
    """A proxy's page with status 200 is quoted, not spoken."""
    async with fish(saying(200, b"<h1>Please log in", Content_Type="text/html; x=y")) as it:
        with pytest.raises(RemoteProtocolError, match=r"text/html instead of audio.*Please log in"):
            await it.speak("Hi.")
    async with fish(saying(200, b"x", Content_Type="audio/wav", Content_Encoding="gzip")) as it:
        with pytest.raises(RemoteProtocolError, match="gzip"):
            await it.speak("Hi.")


@pytest.mark.anyio
async def test_audio_without_a_type_is_taken_for_wav(fish) -> None:
    """Some wrappers do not say what they send."""
    async with fish(saying(200, b"abcd")) as it:
        items = await it.speak("Hi.")
    assert (items[0].data, items[0].format.media_type) == (b"abcd", "audio/wav")


@pytest.mark.anyio
async def test_an_endless_page_is_not_read_to_the_end(fish) -> None:
    """Words are quoted from a bounded body."""

    async def endless(call: ServerCall) -> None:
        await call.begin(200, {"Content-Type": "text/html"})
        while True:
            await call.send(bytes(65_536))

    async with fish(FishServer(script=endless)) as it:
        with pytest.raises(RemoteProtocolError, match="exceeds"):
            await it.speak("Hi.")


async def cut_off_at_once(call: ServerCall) -> None:
    """Hang up without a response."""
    await call.cut_off()


async def cut_off_after_head(call: ServerCall) -> None:
    """Fail while streaming, as fish-speech does."""
    await call.begin()
    await call.cut_off()


async def cut_off_after_audio(call: ServerCall) -> None:
    """Fail while streaming, after some of the audio."""
    await call.begin()
    await call.send(b"abcd")
    await call.cut_off()


async def garbage(call: ServerCall) -> None:
    """Answer in another protocol."""
    await call.send_raw(b"SSH-2.0-OpenSSH_9.6\r\n")
    await call.cut_off()


@pytest.mark.anyio
@pytest.mark.parametrize(
    "script", [cut_off_at_once, cut_off_after_head, cut_off_after_audio, garbage]
)
async def test_an_answer_that_breaks_off_is_an_error(fish, script) -> None:
    """Truncated audio is never success, and what came before is handed out first."""
    async with fish(FishServer(script=script)) as it:
        with pytest.raises(RemoteProtocolError, match="broke off") as caught:
            await it.speak("Hi.")
    assert "streaming" in (caught.value.hint or "")
    assert caught.value.retryable
    expected = b"abcd" if script is cut_off_after_audio else b""
    assert b"".join(item.data for item in it.items) == expected
    assert all(item.end is None for item in it.items)


@pytest.mark.anyio
async def test_a_prompt_that_is_too_long_is_told_where_the_server_tells(fish) -> None:
    """Streaming, the server only hangs up; otherwise it says why."""
    async with fish() as it:
        with pytest.raises(RemoteProtocolError):
            await it.speak(LONG)
    async with fish(streaming=False) as it:
        with pytest.raises(RequestRejectedError, match="Prompt is too long"):
            await it.speak(LONG)


@pytest.mark.anyio
@pytest.mark.parametrize("is_begun", [False, True])
async def test_a_reset_connection_is_an_error(fish, is_begun) -> None:
    """The peer may vanish before or during its answer."""

    async def reset(call: ServerCall) -> None:
        if is_begun:
            await call.begin()
            await call.send(b"abcd")
            await heard.wait()
        call.reset()

    async def listen() -> None:
        async with it.listen("Hi.") as audio:
            async for _ in audio:
                heard.set()

    heard = asyncio.Event()
    async with fish(FishServer(script=reset)) as it:
        with pytest.raises(BackendUnavailableError, match="broke") as caught:
            await listen()
    assert caught.value.retryable


@pytest.mark.anyio
async def test_the_next_utterance_gets_a_fresh_connection(fish) -> None:
    """One failure does not spoil the backend."""
    scripts = iter([cut_off_after_audio, ServerCall.answer])

    async def script(call: ServerCall) -> None:
        await next(scripts)(call)

    async with fish(FishServer(script=script)) as it:
        with pytest.raises(RemoteProtocolError):
            await it.speak("One.")
        assert await it.speak("Two.")


def free_port() -> int:
    """A port on which nobody listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


async def failure(url: str, **settings: object) -> BackendUnavailableError:
    """What speaking through this address ends with."""

    async def segments():
        yield Segment(index=0, text="Hi.")

    backend = ServerBackend(ServerSection.model_validate({"url": url, **settings}))
    try:
        async with backend.speak(Utterance(), segments()) as audio:
            with pytest.raises(BackendUnavailableError) as caught:
                await anext(audio)
    finally:
        await backend.aclose()
    return caught.value


@pytest.mark.anyio
@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
async def test_a_refused_connection_asks_whether_the_server_runs(host) -> None:
    """The commonest failure has the plainest hint, however many addresses a host has."""
    url = f"http://{host}:{free_port()}"
    error = await failure(url)
    assert error.message == f"no connection to {url}: connection refused"
    assert error.hint == f"is the fish-speech server running at {url}?"


@pytest.mark.anyio
async def test_an_unknown_host_is_named() -> None:
    """A typing error in the address is easy to see."""
    error = await failure("http://fish.invalid:8080")
    assert error.message.startswith("the host of http://fish.invalid:8080 is not known")
    assert error.hint == "check server.url"


@pytest.mark.anyio
async def test_a_connection_that_takes_too_long_is_a_timeout() -> None:
    """The deadline is the configured one."""
    with socket.socket() as full, socket.socket() as first, socket.socket() as second:
        full.bind(("127.0.0.1", 0))
        full.listen(0)  # a backlog of one, which two fill
        for client in (first, second):
            client.setblocking(False)
            client.connect_ex(full.getsockname())
        url = f"http://127.0.0.1:{full.getsockname()[1]}"
        error = await failure(url, connect_timeout_s=0.05)
    assert isinstance(error, BackendTimeoutError)
    assert error.message == f"no connection to {url} within 0.05 s"


@pytest.mark.anyio
async def test_a_certificate_that_is_not_trusted_is_told_apart() -> None:
    """No retry will help, but SSL_CERT_FILE may."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    trustme.CA().issue_cert("127.0.0.1").configure_cert(context)
    async with FishServer(tls=context) as server:
        error = await failure(server.url)
    assert error.message.startswith("TLS with")
    assert not error.retryable


@pytest.mark.anyio
async def test_https_to_a_plain_server_is_told_apart() -> None:
    """The scheme is part of the address, and easily wrong."""
    async with FishServer() as server:
        error = await failure(server.url.replace("http:", "https:"))
    assert error.message.startswith("TLS with")


def test_a_host_with_several_addresses_fails_for_one_reason() -> None:
    """The reason stands behind a group, one error for each address."""
    group = ExceptionGroup("all failed", [ConnectionRefusedError(111, "refused"), OSError("x")])
    error = httpx.ConnectError("All connection attempts failed")
    error.__cause__ = OSError("All connection attempts failed")
    error.__cause__.__cause__ = group
    assert "connection refused" in connect_error(error, "http://h").message
    bare = connect_error(httpx.ConnectError("no reason"), "http://h")
    assert bare.message == "no connection to http://h: no reason"

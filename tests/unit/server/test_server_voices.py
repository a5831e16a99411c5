"""The server speaks in the voice that was asked for, or not at all."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable

import ormsgpack
import pytest

from junetts._errors import (
    AuthenticationError,
    BackendUnavailableError,
    RemoteProtocolError,
    UnknownVoiceError,
)
from junetts._utterance import ReferenceClip, Voice
from junetts.backends._server_voices import ServerVoices, voice_ids
from junetts.testing import FishServer, ServerAnswer, ServerCall

CLIP = ReferenceClip(audio=b"recording", text="Words.")


def known() -> FishServer:
    """A server with two voices."""
    return FishServer(voices=["june", "may"])


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("voice", "reference_id"),
    [
        (Voice("june"), "june"),
        (Voice("in-the-cloud", server_id="may"), "may"),
        (Voice("june", cloud_id="abc", clips=(CLIP,)), "june"),
    ],
)
async def test_a_known_id_is_asked_for(fish, voice, reference_id) -> None:
    """The server's own id goes before the general one, and both before recordings."""
    async with fish(known()) as it:
        await it.speak("Hi.", voice=voice)
    assert it.server.calls[-1].request.reference_id == reference_id
    assert it.server.calls[-1].request.references == ()


@pytest.mark.anyio
@pytest.mark.parametrize(
    "voice",
    [Voice(clips=(CLIP,)), Voice("nobody", clips=(CLIP,)), Voice("a/b", clips=(CLIP,))],
)
async def test_recordings_stand_in_for_an_id_that_is_not_there(fish, voice) -> None:
    """They are the same voice, wherever the id is known."""
    async with fish(known()) as it:
        await it.speak("Hi.", voice=voice)
    assert it.server.calls[-1].request.reference_id is None
    assert it.server.calls[-1].request.references == (CLIP,)


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("voice", "words"),
    [
        (Voice("nobody"), "no voice 'nobody'; it has june, may"),
        (Voice("june", server_id="nobody"), "no voice 'nobody'"),
        (Voice("a/b"), "can be called 'a/b'"),
        (Voice(cloud_id="abc"), "neither an id nor a recording"),
    ],
)
async def test_an_unknown_voice_is_refused(fish, voice, words) -> None:
    """Asked for it, the server would speak in another voice and make a directory."""
    async with fish(known()) as it:
        with pytest.raises(UnknownVoiceError, match=words) as caught:
            await it.speak("Hi.", voice=voice)
    assert it.server.texts == []
    assert set(it.server.references) == {"june", "may"}
    assert (caught.value.backend, caught.value.field) == ("server", "voice")
    assert not caught.value.retryable


@pytest.mark.anyio
async def test_the_configured_voice_is_the_default(fish) -> None:
    """It is checked like any other; the caller's own goes before it."""
    async with fish(known(), voice="june") as it:
        await it.speak("Hi.")
        assert it.server.calls[-1].request.reference_id == "june"
        await it.speak("Hi.", voice=Voice("may"))
        assert it.server.calls[-1].request.reference_id == "may"
    async with fish(known(), voice="nobody") as it:
        with pytest.raises(UnknownVoiceError):
            await it.speak("Hi.")


@pytest.mark.anyio
async def test_without_a_voice_no_list_is_needed(fish) -> None:
    """The server's default voice needs no check."""
    async with fish() as it:
        await it.speak("Hi.")
    assert [call.path for call in it.server.calls] == ["/v1/tts"]


@pytest.mark.anyio
async def test_the_list_is_fetched_once_and_again_for_what_is_missing(fish) -> None:
    """A voice that was added meanwhile is found."""
    async with fish(known()) as it:
        await it.speak("One.", "Two.", voice=Voice("june"))
        it.server.references["april"] = (CLIP,)
        await it.speak("Three.", voice=Voice("april"))
        await it.speak("Four.", voice=Voice("may"))
        lists = [call for call in it.server.calls if call.path == "/v1/references/list"]
    assert len(lists) == 2
    assert lists[0].headers["accept"] == "application/json"


@pytest.mark.anyio
async def test_an_empty_directory_is_no_voice(fish) -> None:
    """Another client's mistake does not become ours."""
    server = known()
    server.references["oops"] = ()
    async with fish(server) as it:
        with pytest.raises(UnknownVoiceError):
            await it.speak("Hi.", voice=Voice("oops"))


@pytest.mark.anyio
async def test_a_server_without_a_list_cannot_be_asked_for_ids(fish) -> None:
    """A wrong voice would not be noticed; recordings still work."""

    async def script(call: ServerCall) -> None:
        await call.answer(ServerAnswer(status=404) if "references" in call.path else None)

    async with fish(FishServer(script=script)) as it:
        with pytest.raises(UnknownVoiceError, match=r"does not list its voices.*404") as caught:
            await it.speak("Hi.", voice=Voice("june"))
        hint = caught.value.hint or ""
        assert "Voice.clone" in hint
        assert "server.verify_voices = false" in hint
        assert await it.speak("Hi.", voice=Voice("june", clips=(CLIP,)))


@pytest.mark.anyio
async def test_ids_are_trusted_without_a_list_where_that_is_configured(fish) -> None:
    """Neither warming up nor speaking asks for a list; the id is sent as it is."""
    async with fish(verify_voices=False) as it:
        await it.backend.warmup()
        await it.speak("Hi.", voice=Voice("june", clips=(CLIP,)))
        with pytest.raises(UnknownVoiceError, match="can be called 'a/b'"):
            await it.speak("Hi.", voice=Voice("a/b"))
    assert [call.path for call in it.server.calls] == ["/v1/health", "/v1/tts"]
    assert it.server.calls[-1].request.reference_id == "june"


@pytest.mark.anyio
@pytest.mark.parametrize(("status", "kind"), [(401, AuthenticationError), (500, Exception)])
async def test_other_failures_of_the_list_are_their_own(fish, status, kind) -> None:
    """They say nothing about the voice, and are retried or not like any other."""

    async def script(call: ServerCall) -> None:
        await call.answer(ServerAnswer(status=status))

    async with fish(FishServer(script=script)) as it:
        with pytest.raises(BackendUnavailableError) as caught:
            await it.speak("Hi.", voice=Voice("june"))
    assert isinstance(caught.value, kind)
    assert not isinstance(caught.value, UnknownVoiceError)
    assert caught.value.status == status


def answer_of(*ids: str) -> bytes:
    """A list in JSON."""
    return json.dumps({"success": True, "reference_ids": ids}).encode()


def listing(bodies: list[bytes]) -> Callable[[float | None], Awaitable[bytes]]:
    """A fetch that gives one body after another."""

    async def fetch(_: float | None) -> bytes:
        return bodies.pop(0)

    return fetch


@pytest.mark.anyio
async def test_a_listed_voice_is_believed_for_a_while_only() -> None:
    """A voice that was deleted is noticed when the list expires."""
    bodies = [answer_of("june"), answer_of()]
    voices = ServerVoices(listing(bodies), expiry_s=1e-9)
    assert await voices.resolve(Voice("june")) == "june"
    with pytest.raises(UnknownVoiceError, match="it has none at all"):
        await voices.resolve(Voice("june"))


@pytest.mark.anyio
async def test_a_long_list_is_named_in_part() -> None:
    """An error stays readable."""
    voices = ServerVoices(listing([answer_of(*(f"v{n:03}" for n in range(300)))]))
    with pytest.raises(UnknownVoiceError, match=r"it has v000, .*v019 and 280 more\b"):
        await voices.resolve(Voice("june"))


def test_both_formats_of_the_list_are_read() -> None:
    """The server answers in msgpack where it overlooks what was asked for."""
    value = {"reference_ids": ["june"]}
    assert voice_ids(ormsgpack.packb(value)) == voice_ids(answer_of("june")) == {"june"}


@pytest.mark.parametrize(
    "body", [b"", b"<html>", b"{", b"{}", b"\x01", b'{"reference_ids": 1}', b"\xc1", b"{" * 9999]
)
def test_anything_else_is_no_list(body) -> None:
    """And no other error comes out."""
    with pytest.raises(RemoteProtocolError, match="list of"):
        voice_ids(body)

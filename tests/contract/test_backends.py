"""What every backend promises, asked of each of them over its real transport."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

import pytest

from junetts import JuneTtsError, TtsBackend, UnknownVoiceError, Utterance, Voice
from junetts._config import Config
from junetts._guard import GuardedBackend
from junetts.backends.cloud import CloudBackend
from junetts.backends.demo import DemoBackend
from junetts.backends.local import LocalBackend
from junetts.backends.server import ServerBackend
from junetts.testing import BackendContract, CloudServer, FishServer, ToneBackend, ToneVoice
from junetts.testing._contract_checks import SENTENCES, given

CHECKPOINT = Path(__file__).parents[1] / "data" / "s1-tiny"
Made = AbstractAsyncContextManager[TtsBackend]


@asynccontextmanager
async def cloud() -> AsyncIterator[TtsBackend]:
    """The cloud backend and a cloud to speak to."""
    async with CloudServer(keys={"k"}) as server:
        config = Config.model_validate({"cloud": {"url": server.url, "api_keys": ["k"]}})
        yield CloudBackend(config.cloud)


@asynccontextmanager
async def server() -> AsyncIterator[TtsBackend]:
    """The server backend and a server to speak to."""
    async with FishServer(voices=["june"]) as running:
        config = Config.model_validate({"server": {"url": running.url}})
        yield ServerBackend(config.server)


@asynccontextmanager
async def demo() -> AsyncIterator[TtsBackend]:
    """The demo voice."""
    yield DemoBackend(Config().demo)


@asynccontextmanager
async def local() -> AsyncIterator[TtsBackend]:
    """The model in this process, with a tiny checkpoint that rarely comes to an end."""
    section = {"checkpoint": str(CHECKPOINT), "voice_cache": "", "max_new_tokens": 30}
    yield LocalBackend(Config.model_validate({"local": section}).local)


@asynccontextmanager
async def tone() -> AsyncIterator[TtsBackend]:
    """The test kit's own."""
    yield ToneBackend(ToneVoice(sample_rate=8_000))


@asynccontextmanager
async def guarded(made: Callable[[], Made]) -> AsyncIterator[TtsBackend]:
    """A backend as a client has it."""
    async with made() as raw:
        yield GuardedBackend(raw, sample_rate=44_100)


class TestCloud(BackendContract):
    """The cloud backend itself."""

    def backend(self) -> Made:
        """A new one."""
        return cloud()


class TestServer(BackendContract):
    """The server backend itself."""

    def backend(self) -> Made:
        """A new one."""
        return server()


class TestDemo(BackendContract):
    """The demo backend itself."""

    unknown_voice = Voice(cloud_id="c")

    def backend(self) -> Made:
        """A new one."""
        return demo()


class TestLocal(BackendContract):
    """The local backend itself."""

    def backend(self) -> Made:
        """A new one."""
        return local()


class TestTone(BackendContract):
    """The tone backend itself."""

    def backend(self) -> Made:
        """A new one."""
        return tone()


class TestGuardedCloud(BackendContract):
    """The cloud backend as a client has it."""

    def backend(self) -> Made:
        """A new one."""
        return guarded(cloud)


class TestGuardedServer(BackendContract):
    """The server backend as a client has it."""

    def backend(self) -> Made:
        """A new one."""
        return guarded(server)


class TestGuardedDemo(BackendContract):
    """The demo backend as a client has it."""

    unknown_voice = Voice(cloud_id="c")

    def backend(self) -> Made:
        """A new one."""
        return guarded(demo)


class TestGuardedLocal(BackendContract):
    """The local backend as a client has it."""

    def backend(self) -> Made:
        """A new one."""
        return guarded(local)


class TestGuardedTone(BackendContract):
    """The tone backend as a client has it."""

    def backend(self) -> Made:
        """A new one."""
        return guarded(tone)


@pytest.fixture(params=[cloud, server, local, demo, tone], ids=lambda made: made.__name__)
async def backend(request: pytest.FixtureRequest) -> AsyncIterator[TtsBackend]:
    """Each backend in turn, as a client would have it, and closed afterwards."""
    made: Callable[[], Made] = request.param
    async with guarded(made) as backend:
        yield backend
        await backend.aclose()


@pytest.mark.anyio
async def test_it_has_its_configured_name(
    backend: TtsBackend, request: pytest.FixtureRequest
) -> None:
    """What wraps a backend is called what it is called."""
    assert backend.name == request.node.callspec.id


@pytest.mark.anyio
async def test_an_unknown_voice_is_refused(backend: TtsBackend) -> None:
    """A voice that is nothing to this backend is never replaced by another."""
    elsewhere = Voice(language="en") if backend.name != "demo" else Voice(cloud_id="c")
    with pytest.raises(UnknownVoiceError):
        async with backend.speak(Utterance(voice=elsewhere), given("Hello.")):
            pass


@pytest.mark.anyio
async def test_a_closed_backend_refuses_on_entering(backend: TtsBackend) -> None:
    """An error that comes before any sound is raised before the client is let in."""
    async with backend.speak(Utterance(), given(SENTENCES[0])) as audio:
        assert [item async for item in audio][-1].end is not None
    await backend.aclose()
    with pytest.raises(JuneTtsError):
        async with backend.speak(Utterance(), given(SENTENCES[0])):
            pytest.fail("it let the client in before it failed")

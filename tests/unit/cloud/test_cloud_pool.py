"""Sockets between utterances: warm, pinged, replaced, and bounded."""

from __future__ import annotations

import asyncio

import pytest

from junetts._config import CloudSection
from junetts._errors import AuthenticationError, BackendUnavailableError, QuotaError
from junetts.backends._cloud_dial import Dialler
from junetts.backends._cloud_keys import Keyring
from junetts.backends._cloud_pool import CloudPool
from junetts.testing import CloudServer, CloudSession, Knock, Refusal

pytestmark = pytest.mark.anyio


class Clock:
    """Time that passes when told to."""

    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        """Seconds since the test began."""
        return self.now_s


def pool_for(server: CloudServer, clock: Clock | None = None, **settings: object) -> CloudPool:
    """A pool of sockets to a server."""
    section = CloudSection.model_validate({"url": server.url, "api_keys": ["k"], **settings})
    dialler = Dialler(section, backend="cloud")
    return CloudPool(section, dialler, backend="cloud", clock=clock)


async def test_warmup(cloud) -> None:
    """Warming up opens as many sockets as are wanted, which speaking then finds."""
    async with cloud(idle_sockets=3) as c:
        await c.backend.warmup()
        await c.server.until(lambda: c.server.n_open == 3)
        await c.backend.warmup()
        assert c.backend._pool.n_idle == 3
        await c.speak("Hi.")
        assert c.server.n_connections == 3


async def test_warmup_without_idle_sockets(cloud) -> None:
    """Where no idle sockets are wanted, none is opened and none is kept."""
    async with cloud(idle_sockets=0) as c:
        await c.backend.warmup()
        assert c.server.n_connections == 0
        await c.speak("Hi.")
        await c.server.until(lambda: c.server.n_open == 0)


async def test_warmup_tells_why_not(cloud) -> None:
    """A key that is refused is known before the first utterance."""
    async with cloud(api_keys=["wrong"], idle_sockets=3) as c:
        with pytest.raises(AuthenticationError):
            await c.backend.warmup()


async def test_taken_sockets_are_made_up_for(cloud) -> None:
    """Once warmed up, a socket in use leaves another one ready."""
    gate = asyncio.Event()
    async with cloud(CloudServer(pace=gate.wait)) as c:
        await c.backend.warmup()
        speaking = asyncio.create_task(c.speak("Hi."))
        await c.server.until(lambda: c.server.n_open == 2)
        gate.set()
        await speaking


async def test_idle_sockets_are_bounded() -> None:
    """However many come back, twice the number of wanted sockets stay."""
    async with CloudServer() as server:
        pool = pool_for(server, idle_sockets=1)
        sockets = [await pool.acquire(fresh=True) for _ in range(5)]
        for socket in sockets:
            pool.release(socket)
        assert pool.n_idle == 2
        await server.until(lambda: server.n_open == 2)
        await pool.aclose()
        await server.until(lambda: server.n_open == 0)


async def test_old_sockets_are_replaced() -> None:
    """A socket past its age is not used again, and a warm pool opens a new one."""
    clock = Clock()
    async with CloudServer() as server:
        pool = pool_for(server, clock, recycle_after_s=300)
        await pool.warm()
        clock.now_s = 299.0
        await pool.tend()
        assert server.n_connections == 1
        clock.now_s = 300.0
        await pool.tend()
        assert (server.n_connections, pool.n_idle) == (2, 1)
        clock.now_s = 700.0
        socket = await pool.acquire()
        assert not socket.is_reused
        clock.now_s = 1001.0
        pool.release(socket)
        assert not socket.is_open or socket.connection.transport.is_closing()
        await pool.aclose()


async def test_idle_sockets_are_pinged(cloud) -> None:
    """Pings keep idle sockets alive, by themselves."""
    async with cloud(ping_interval_s=0.01) as c:
        await c.backend.warmup()
        await c.server.until(lambda: c.server.n_pings >= 2)


async def test_silent_socket_is_dropped() -> None:
    """A socket that answers no ping is dropped."""

    async def deaf(session: CloudSession) -> None:
        await asyncio.Event().wait()

    async with CloudServer(script=deaf) as server:
        pool = pool_for(server, ping_timeout_s=0.01)
        pool.release(await pool.acquire())
        assert pool.n_idle == 1
        await pool.tend()
        assert pool.n_idle == 0
        await pool.aclose()


async def test_closed_socket_is_dropped_and_replaced() -> None:
    """A socket that the server closed while idle is replaced at the next look."""
    hang_up = asyncio.Event()

    async def script(session: CloudSession) -> None:
        if session.index == 0:
            await hang_up.wait()
        else:
            await session.answer()

    async with CloudServer(script=script) as server:
        pool = pool_for(server)
        await pool.warm()
        hang_up.set()
        await server.until(lambda: server.n_open == 0)
        await pool.tend()
        assert (pool.n_idle, server.n_connections) == (1, 2)
        await pool.aclose()


async def test_closed_socket_is_not_handed_out() -> None:
    """A socket known to be closed is passed over, without waiting for the next look."""
    hang_up = asyncio.Event()

    async def script(session: CloudSession) -> None:
        await hang_up.wait()

    async with CloudServer(script=script) as server:
        pool = pool_for(server)
        given_up = await pool.acquire()
        pool.release(given_up)
        hang_up.set()
        await given_up.connection.wait_closed()
        socket = await pool.acquire()
        assert not socket.is_reused
        await pool.aclose()


async def test_stale_socket_is_redialled(cloud) -> None:
    """A pooled socket that breaks before any answer is replaced, once, and the text is spoken."""

    async def script(session: CloudSession) -> None:
        if session.index == 0:
            await session.receive()
            session.abort()
            return
        await session.answer()

    async with cloud(CloudServer(script=script)) as c:
        c.backend._pool.release(await c.backend._pool.acquire())
        items = await c.speak("Hello.")
        assert items[-1].end == "complete"
        assert c.server.n_connections == 2
        assert c.server.requests[-1].text == "Hello."


async def test_fresh_socket_is_not_redialled(cloud) -> None:
    """A break on a new socket is a failure: something is wrong with the server."""

    async def script(session: CloudSession) -> None:
        await session.receive()
        session.abort()

    async with cloud(CloudServer(script=script)) as c:
        with pytest.raises(BackendUnavailableError):
            await c.speak("Hello.")
        assert c.server.n_connections == 1


async def test_redialled_only_once(cloud) -> None:
    """A second break is told, not tried again."""

    async def script(session: CloudSession) -> None:
        await session.receive()
        session.abort()

    async with cloud(CloudServer(script=script)) as c:
        c.backend._pool.release(await c.backend._pool.acquire())
        with pytest.raises(BackendUnavailableError):
            await c.speak("Hello.")
        assert c.server.n_connections == 2


async def test_broken_after_an_answer_is_not_redialled(cloud) -> None:
    """What has begun to be answered is not asked for twice."""

    async def script(session: CloudSession) -> None:
        await session.receive_request()
        await session.send_audio(b"\x01\x02")
        session.abort()

    async with cloud(CloudServer(script=script)) as c:
        c.backend._pool.release(await c.backend._pool.acquire())
        with pytest.raises(BackendUnavailableError):
            await c.speak("Hello.")
        assert c.server.n_connections == 1


async def test_sockets_of_a_refused_key_are_dropped() -> None:
    """A key found to be without credit loses its idle sockets too."""
    closed = False

    async def doorman(knock: Knock) -> Refusal | None:
        return Refusal(status=402) if closed else None

    async with CloudServer(doorman=doorman) as server:
        pool = pool_for(server)
        pool.release(await pool.acquire())
        closed = True
        with pytest.raises(QuotaError):
            await pool.acquire(fresh=True)
        assert pool.n_idle == 0
        await pool.tend()
        await pool.aclose()


async def test_closed_while_dialling() -> None:
    """A socket that comes about after closing is closed as well."""
    knocked, let_in = asyncio.Event(), asyncio.Event()

    async def doorman(knock: Knock) -> None:
        knocked.set()
        await let_in.wait()

    async with CloudServer(doorman=doorman) as server:
        pool = pool_for(server)
        acquiring = asyncio.create_task(pool.acquire())
        await knocked.wait()
        await pool.aclose()
        let_in.set()
        with pytest.raises(RuntimeError, match="is closed"):
            await acquiring
        await server.until(lambda: server.n_connections == 1 and server.n_open == 0)


async def test_failed_top_up_is_tried_again() -> None:
    """A spare socket that cannot be opened now is no error, and is opened later."""
    refusing = False

    async def doorman(knock: Knock) -> Refusal | None:
        return Refusal(status=503) if refusing else None

    async with CloudServer(doorman=doorman) as server:
        pool = pool_for(server)
        await pool.warm()
        refusing = True
        pool.discard(await pool.acquire())
        await pool.tend()
        assert pool.n_idle == 0
        refusing = False
        await pool.tend()
        assert pool.n_idle == 1
        await pool.aclose()


def test_keyring_shows_no_key() -> None:
    """A keyring in a log line says how many keys it holds."""
    section = CloudSection.model_validate({"api_keys": ["canary1", "canary2"]})
    assert repr(Keyring(section.api_keys)) == "Keyring(<2 keys>)"

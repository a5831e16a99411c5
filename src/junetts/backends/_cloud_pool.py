"""Open sockets to the Fish Audio cloud, kept warm between utterances."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import anyio
from pydantic import SecretStr
from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosed
from websockets.protocol import State

from junetts._config import CloudSection
from junetts._errors import (
    AuthenticationError,
    BackendUnavailableError,
    JuneTtsError,
    QuotaError,
    RateLimitedError,
    UsageError,
)
from junetts.backends._cloud_dial import CLOSE_TIMEOUT_S, KEY_HINT, Dialler
from junetts.backends._cloud_keys import Keyring

SOCKETS_PER_UTTERANCE = 2  # one speaks while the other gets the next segment going

_logger = logging.getLogger("junetts")


@dataclass(eq=False, slots=True)
class CloudSocket:
    """One socket; ``is_reused`` says that the server may have given it up meanwhile."""

    connection: ClientConnection
    key: SecretStr
    opened_at: float
    is_reused: bool = False

    @property
    def is_open(self) -> bool:
        """Whether nobody is known to have closed it."""
        return self.connection.state is State.OPEN

    @property
    def trace_id(self) -> str | None:
        """The server's identifier of the connection."""
        response = self.connection.response
        return None if response is None else response.headers.get("x-fish-trace-id")

    def abort(self) -> None:
        """Close at once, unsent text included."""
        self.connection.transport.abort()


class CloudPool:
    """Hands out open sockets and takes them back.

    Guarantees: a socket is used by one caller at a time; at most twice ``idle_sockets`` wait;
    those are pinged, replaced when too old and dropped when closed; once warmed up, it keeps
    ``idle_sockets`` ready; after `aclose` no socket and no task is left.
    """

    def __init__(
        self,
        section: CloudSection,
        dialler: Dialler,
        *,
        backend: str,
        clock: Callable[[], float] | None = None,
    ) -> None:
        self.keys = Keyring(section.api_keys)
        self._section = section
        self._dialler = dialler
        self._backend = backend
        self._clock = clock
        self._idle: list[CloudSocket] = []
        self._in_use: set[CloudSocket] = set()
        self._n_ready = 0  # how many idle sockets to see to; 0 until warmed up
        self._n_dialling = 0
        self._tender: asyncio.Task[None] | None = None
        self._short_of_sockets = asyncio.Event()
        self._closed = False

    @property
    def n_idle(self) -> int:
        """How many sockets wait to be used."""
        return len(self._idle)

    async def acquire(self, *, fresh: bool = False) -> CloudSocket:
        """An open socket, an idle one if there is one and ``fresh`` does not forbid it.

        Raises:
            BackendUnavailableError: if none can be opened with any key.
        """
        self._refuse_if_closed()
        waiting = None if fresh else self._take_idle()
        acquired = await self._dial() if waiting is None else waiting
        self._in_use.add(acquired)
        self._tend_in_background()
        return acquired

    def release(self, socket: CloudSocket) -> None:
        """Take a socket back, to be used again if it can be."""
        self._in_use.discard(socket)
        has_room = len(self._idle) < SOCKETS_PER_UTTERANCE * self._section.idle_sockets
        if self._closed or not has_room or not self._is_usable(socket):
            socket.abort()
            return
        socket.is_reused = True
        self._idle.append(socket)
        self._tend_in_background()

    def discard(self, socket: CloudSocket) -> None:
        """Close a socket at once."""
        self._in_use.discard(socket)
        socket.abort()

    async def warm(self) -> None:
        """Open ``idle_sockets`` sockets and keep as many ready from now on.

        Raises:
            BackendUnavailableError: if the first cannot be opened.
        """
        self._n_ready = self._section.idle_sockets
        if self._idle or not self._n_ready:
            return
        self.release(await self.acquire(fresh=True))
        await self._top_up()

    async def aclose(self) -> None:
        """Close every socket, also those in use."""
        self._closed = True
        sockets = [*self._idle, *self._in_use]
        self._idle.clear()
        self._in_use.clear()
        for socket in sockets:
            socket.abort()
        with anyio.move_on_after(CLOSE_TIMEOUT_S, shield=True):
            await self._stop_tending()
            for socket in sockets:
                await socket.connection.wait_closed()

    async def tend(self) -> None:
        """Look after the idle sockets once."""
        await self._recycle()
        await self._top_up()
        await self._ping_idle()

    async def _dial(self) -> CloudSocket:
        """Open a socket with the first key that is not refused."""
        refusals: list[BackendUnavailableError] = []
        for key in self.keys.in_order():
            try:
                connection = await self._dialler.dial(key)
            except (AuthenticationError, QuotaError, RateLimitedError) as error:
                refusals.append(error)
                self._refuse(key, error)
            else:
                return self._opened(connection, key)
        if not refusals:
            raise AuthenticationError(
                "no API key is configured", backend=self._backend, hint=KEY_HINT
            )
        raise next((error for error in refusals if error.retryable), refusals[-1])

    def _opened(self, connection: ClientConnection, key: SecretStr) -> CloudSocket:
        socket = CloudSocket(connection=connection, key=key, opened_at=self._now())
        if self._closed:
            socket.abort()
        self._refuse_if_closed()
        return socket

    def _refuse(self, key: SecretStr, error: BackendUnavailableError) -> None:
        self.keys.refuse(key)
        if not isinstance(error, RateLimitedError):
            self._drop(socket for socket in self._idle if socket.key is key)

    def _refuse_if_closed(self) -> None:
        if self._closed:
            raise UsageError(
                "the backend is closed; speak inside the `async with`", backend=self._backend
            )

    def _take_idle(self) -> CloudSocket | None:
        """The socket that was used last: the least likely to have been given up."""
        while self._idle:
            socket = self._idle.pop()
            if self._is_usable(socket):
                return socket
            socket.abort()
        return None

    def _is_usable(self, socket: CloudSocket) -> bool:
        return socket.is_open and not self._is_old(socket)

    def _is_old(self, socket: CloudSocket) -> bool:
        return self._now() - socket.opened_at >= self._section.recycle_after_s

    def _now(self) -> float:
        return asyncio.get_running_loop().time() if self._clock is None else self._clock()

    def _drop(self, sockets: Iterable[CloudSocket]) -> None:
        for socket in tuple(sockets):
            self._idle.remove(socket)
            socket.abort()

    async def _recycle(self) -> None:
        self._drop(socket for socket in self._idle if not socket.is_open)
        for socket in [socket for socket in self._idle if self._is_old(socket)]:
            self._idle.remove(socket)
            self._in_use.add(socket)
            try:
                await socket.connection.close()
            finally:
                self.discard(socket)

    async def _top_up(self) -> None:
        """Open what is missing, side by side; what fails is tried again next time."""
        self._short_of_sockets.clear()
        async with anyio.create_task_group() as group:
            for _ in range(self._n_ready - len(self._idle) - self._n_dialling):
                group.start_soon(self._add_idle)

    async def _add_idle(self) -> None:
        self._n_dialling += 1
        try:
            self.release(await self.acquire(fresh=True))
        except JuneTtsError as error:
            _logger.debug("no spare socket: %s", error)
        finally:
            self._n_dialling -= 1

    async def _ping_idle(self) -> None:
        pongs: dict[CloudSocket, asyncio.Future[float]] = {}
        for socket in tuple(self._idle):
            try:
                pongs[socket] = asyncio.ensure_future(await socket.connection.ping())
            except ConnectionClosed:
                self._drop({socket} & set(self._idle))
        if pongs:
            await asyncio.wait(pongs.values(), timeout=self._section.ping_timeout_s)
        self._drop(s for s in self._idle if s in pongs and not pongs[s].done())

    def _tend_in_background(self) -> None:
        if len(self._idle) + self._n_dialling < self._n_ready:
            self._short_of_sockets.set()
        if (self._idle or self._n_ready) and (self._tender is None or self._tender.done()):
            self._tender = asyncio.create_task(self._keep_tending(), name="junetts cloud sockets")

    async def _keep_tending(self) -> None:
        while self._idle or self._n_ready:
            with anyio.move_on_after(self._section.ping_interval_s):
                await self._short_of_sockets.wait()
            await self.tend()

    async def _stop_tending(self) -> None:
        if self._tender is not None:
            self._tender.cancel()
            await asyncio.wait([self._tender])

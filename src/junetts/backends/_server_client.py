"""An HTTP client whose connections all come back, whenever a request is cancelled."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

import anyio
import httpx

CLOSE_TIMEOUT_S = 1.0


@dataclass(eq=False, slots=True)
class _Lent:
    """A client, and how many requests are under way in it."""

    client: httpx.AsyncClient
    n_requests: int = 0


class RenewedClient:
    """Sends requests.

    A request that is cancelled between connecting and sending leaves its connection open in
    httpx's pool, where it is neither used again nor closed, until the pool is full of them.
    Guarantees: after such a request further ones go through another client, and the one before
    is closed with its last request.
    """

    def __init__(self, build: Callable[[], httpx.AsyncClient]) -> None:
        self._build = build
        self._lent = _Lent(build())
        self._is_closed = False

    @property
    def is_closed(self) -> bool:
        """Whether `aclose` was called."""
        return self._is_closed

    @asynccontextmanager
    async def stream(
        self,
        method: str,
        path: str,
        *,
        headers: dict[str, str],
        content: bytes | None = None,
        timeout: httpx.Timeout | None = None,
    ) -> AsyncIterator[httpx.Response]:
        """The response, its body still to come; raises what httpx raises."""
        lent = self._lent
        lent.n_requests += 1
        try:
            request = lent.client.build_request(
                method,
                path,
                content=content,
                headers=headers,
                timeout=lent.client.timeout if timeout is None else timeout,
            )
            response = await self._response(lent, request)
            try:
                yield response
            finally:
                await response.aclose()
        finally:
            lent.n_requests -= 1
            if not lent.n_requests and lent is not self._lent:
                await _close(lent.client)

    async def _response(self, lent: _Lent, request: httpx.Request) -> httpx.Response:
        try:
            return await lent.client.send(request, stream=True)
        except Exception:
            raise  # httpx has put its house in order
        except BaseException:
            if lent is self._lent and not self._is_closed:
                self._lent = _Lent(self._build())
            raise

    async def aclose(self) -> None:
        """Close all connections that nobody uses."""
        self._is_closed = True
        await self._lent.client.aclose()


async def _close(client: httpx.AsyncClient) -> None:
    with anyio.CancelScope(shield=True), anyio.move_on_after(CLOSE_TIMEOUT_S):
        await client.aclose()

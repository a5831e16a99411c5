"""HTTP to one fish-speech server; foreign errors end here."""

from __future__ import annotations

import ipaddress
import socket
import ssl
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from functools import partial

import anyio
import httpx
from pydantic import SecretStr

from junetts import __version__
from junetts._config import ServerSection
from junetts._errors import (
    AuthenticationError,
    BackendBusyError,
    BackendTimeoutError,
    BackendUnavailableError,
    ConfigError,
    RemoteProtocolError,
    UsageError,
)
from junetts._fishwire.refusals import cause_to_show, refusal, server_words, without_secrets
from junetts.backends._server_client import RenewedClient
from junetts.backends._tls import shared_tls

KEEP_ALIVE_S = 4.0  # the server hangs up after 5 s without a request: be sooner
MAX_ANSWER_BYTES = 4 * 2**20  # of a list of voices: 15,000 of the longest ids
KEY_HINT = "set server.api_key to the key that the server was started with"
CUT_OFF_HINT = (
    "a fish-speech server that fails while streaming gives no reason; it does with "
    "server.streaming = false, and in its own log"
)
USER_AGENT = f"junetts/{__version__}"
_AUDIO_TYPES = ("audio/", "application/octet-stream")


class ServerLink:
    """Requests to one server, over connections that are kept for a while.

    Guarantees: failure is a `JuneTtsError`; the key goes to the configured server only, which
    is why redirections are refused; leaving a request early closes its connection at once.
    """

    def __init__(
        self, section: ServerSection, *, backend: str, tls: ssl.SSLContext | None = None
    ) -> None:
        self._backend = backend
        self._secrets = (section.api_key,)
        self.url = section.url.rstrip("/").removesuffix("/v1/tts")
        self._connect_timeout_s = section.connect_timeout_s
        key = section.api_key.get_secret_value()
        self._client = RenewedClient(partial(self._build_client, key, tls))

    def _build_client(self, key: str, tls: ssl.SSLContext | None) -> httpx.AsyncClient:
        is_plain = self.url.startswith("http:")
        unused_tls = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # trusts nobody, costs nothing
        headers = {"Accept-Encoding": "identity", "User-Agent": USER_AGENT}
        try:
            return httpx.AsyncClient(
                base_url=self.url,
                headers=headers | ({"Authorization": f"Bearer {key}"} if key else {}),
                timeout=httpx.Timeout(None, connect=self._connect_timeout_s),
                verify=unused_tls if is_plain else tls or shared_tls(),
                limits=httpx.Limits(keepalive_expiry=KEEP_ALIVE_S),
                trust_env=not _is_loopback(self.url),
            )
        except (httpx.InvalidURL, ValueError, ImportError) as error:
            raise ConfigError(
                f"server.url, or a proxy in the environment, cannot be used: {error}",
                key="server.url",
            ) from error

    @asynccontextmanager
    async def post(
        self, path: str, content_type: str, body: bytes
    ) -> AsyncIterator[tuple[str, AsyncIterator[bytes]]]:
        """The media type and the bytes of the audio that is the answer.

        Raises:
            BackendUnavailableError: of the kind that fits why there is none, or no more.
        """
        headers = {"Content-Type": content_type}
        with self._translated():
            async with self._client.stream("POST", path, content=body, headers=headers) as response:
                await self._require_success(response)
                await _require_audio(response, self._secrets)
                yield _media_type(response) or "audio/wav", response.aiter_raw()

    async def get(self, path: str, *, answer_within_s: float | None = None) -> bytes:
        """The body of the answer.

        Raises:
            BackendBusyError: if the server is there, but does not answer within the time.
            BackendUnavailableError: of the kind that fits any other failure.
        """
        limit_s = None if answer_within_s is None else answer_within_s + self._connect_timeout_s
        with self._translated(), anyio.move_on_after(limit_s) as scope:
            return await self._get(path, answer_within_s)
        assert scope.cancelled_caught  # an answer that trickles in
        raise _too_slow(answer_within_s)

    async def _get(self, path: str, read_timeout_s: float | None) -> bytes:
        timeout = httpx.Timeout(read_timeout_s, connect=self._connect_timeout_s)
        headers = {"Accept": "application/json"}
        async with self._client.stream("GET", path, headers=headers, timeout=timeout) as response:
            await self._require_success(response)
            return await _body(response)

    async def _require_success(self, response: httpx.Response) -> None:
        if response.has_redirect_location:
            raise _redirected(response, self._secrets)
        if response.status_code == 200:
            return
        try:
            body = await _body(response)
        except httpx.TransportError:
            body = b""  # the status says enough
        status = response.status_code
        error = refusal(
            status, body, response.headers, backend=self._backend, secrets=self._secrets
        )
        if isinstance(error, AuthenticationError):
            error.hint = KEY_HINT
        if status in (404, 405):
            error.hint = "check that server.url is a fish-speech server's address"
        raise error

    @contextmanager
    def _translated(self) -> Iterator[None]:
        if self._client.is_closed:
            raise UsageError("the backend is closed; speak inside the `async with`")
        try:
            yield
        except httpx.ReadTimeout as error:
            raise _too_slow(None) from error
        except httpx.ConnectTimeout as error:
            raise BackendTimeoutError(
                f"no connection to {self.url} within {self._connect_timeout_s:g} s",
                hint="check server.url, and that nothing between here and there blocks it",
            ) from error
        except httpx.ConnectError as error:
            raise connect_error(error, self.url) from error
        except httpx.RemoteProtocolError as error:
            raise RemoteProtocolError(
                f"the server broke off its answer: {without_secrets(str(error), self._secrets)}",
                hint=CUT_OFF_HINT,
            ) from cause_to_show(error, self._secrets)
        except httpx.TransportError as error:
            raise BackendUnavailableError(
                f"the connection to {self.url} broke: {str(error) or type(error).__name__}"
            ) from error

    async def aclose(self) -> None:
        """Close all connections."""
        await self._client.aclose()


def _too_slow(limit_s: float | None) -> BackendBusyError:
    within = "in time" if limit_s is None else f"within {limit_s:g} s"
    return BackendBusyError(
        f"the server is connected, but does not answer {within}: it is busy speaking"
    )


def _redirected(response: httpx.Response, secrets: Sequence[SecretStr]) -> BackendUnavailableError:
    target = without_secrets(response.headers["location"].partition("?")[0], secrets)
    return BackendUnavailableError(
        f"the server redirects to {target:.200}, which is not followed: the key would go along",
        status=response.status_code,
        retryable=False,
        hint="set server.url to the final address",
    )


async def _require_audio(response: httpx.Response, secrets: Sequence[SecretStr]) -> None:
    """Refuse what is not audio, such as the page of a proxy."""
    encoding = response.headers.get("content-encoding", "identity").lower()
    if encoding != "identity":
        name = without_secrets(encoding, secrets)
        raise RemoteProtocolError(f"the server sent audio compressed as {name:.40}, unasked")
    media_type = _media_type(response)
    if media_type.startswith(_AUDIO_TYPES) or not media_type:
        return
    words = server_words(await _body(response), secrets=secrets)
    kind = without_secrets(media_type, secrets)
    raise RemoteProtocolError(
        f"the server answered {kind:.80} instead of audio: {words}",
        hint="check that server.url is a fish-speech server's address",
    )


def _media_type(response: httpx.Response) -> str:
    return str(response.headers.get("content-type", "")).partition(";")[0].strip().lower()


async def _body(response: httpx.Response) -> bytes:
    body = bytearray()
    async for data in response.aiter_raw():
        body += data
        if len(body) > MAX_ANSWER_BYTES:
            raise RemoteProtocolError(f"the server's answer exceeds {MAX_ANSWER_BYTES} bytes")
    return bytes(body)


def connect_error(error: httpx.ConnectError, url: str) -> BackendUnavailableError:
    """What a connection that could not be made means."""
    cause = next(_root_causes(error), None)
    if isinstance(cause, ssl.SSLError):
        return BackendUnavailableError(
            f"TLS with {url} failed: {cause.reason or cause}",
            retryable=False,
            hint="check server.url and the server's certificate; SSL_CERT_FILE names your own CA",
        )
    if isinstance(cause, socket.gaierror):
        return BackendUnavailableError(
            f"the host of {url} is not known: {cause.strerror}", hint="check server.url"
        )
    reason = "connection refused" if isinstance(cause, ConnectionRefusedError) else f"{error}"
    return BackendUnavailableError(
        f"no connection to {url}: {reason}", hint=f"is the fish-speech server running at {url}?"
    )


def _root_causes(error: BaseException | None) -> Iterator[OSError]:
    """The operating system's own errors behind one, the first cause first."""
    if isinstance(error, BaseExceptionGroup):
        for member in error.exceptions:
            yield from _root_causes(member)
    elif error is not None:
        yield from _root_causes(error.__cause__ or error.__context__)
        if isinstance(error, OSError):
            yield error


def _is_loopback(url: str) -> bool:
    host = httpx.URL(url).host
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"

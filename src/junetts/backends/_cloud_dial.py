"""Opening one socket to the Fish Audio cloud, and what it means if that fails."""

from __future__ import annotations

import ipaddress
import logging
import re
import socket
import ssl
from collections.abc import Iterable
from functools import cache
from urllib.parse import urlsplit

from pydantic import SecretStr
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import (
    InvalidMessage,
    InvalidProxy,
    InvalidStatus,
    ProxyError,
    WebSocketException,
)

from junetts import __version__
from junetts._config import CloudSection
from junetts._errors import (
    AuthenticationError,
    BackendTimeoutError,
    BackendUnavailableError,
    ConfigError,
    JuneTtsError,
    RemoteProtocolError,
)
from junetts._fishwire.refusals import cause_to_show, refusal, without_secrets
from junetts.backends._tls import shared_tls

MAX_MESSAGE_BYTES = 32 * 2**20  # six minutes of 44.1 kHz PCM in one event; real ones hold KiB
# Audio that waits to be read, then TCP holds the server back: 3 s at 4 KiB an event, so that
# a segment that is synthesised ahead of its turn gets going, and a slow listener costs little.
MAX_WAITING_MESSAGES = 64
CLOSE_TIMEOUT_S = 1.0
KEY_HINT = "set FISH_API_KEY, or api_keys under [cloud], to a valid key"
WITH_TIMESTAMP = "/with-timestamp"
USER_AGENT = f"junetts/{__version__}"

_BEARER = re.compile(r"(Bearer) \S+")
_TRANSIENT_TLS = (ssl.SSLEOFError, ssl.SSLZeroReturnError, ssl.SSLSyscallError)


class Dialler:
    """Opens sockets as configured.

    Guarantees: failure is a `JuneTtsError` with a hint for a person; the key goes to the
    configured host only, is never logged and stands in no error.
    """

    def __init__(
        self, section: CloudSection, *, backend: str, tls: ssl.SSLContext | None = None
    ) -> None:
        self._section = section
        self._backend = backend
        self._tls = tls
        self._secrets = section.api_keys
        self._logger = _redacting_logger(self._secrets)
        self.url = live_url(section.url, timestamps=section.timestamps)

    @property
    def tls(self) -> ssl.SSLContext:
        """The TLS context for this server."""
        return shared_tls() if self._tls is None else self._tls

    async def dial(self, key: SecretStr) -> ClientConnection:
        """Connect and shake hands.

        Raises:
            BackendUnavailableError: of the kind that fits why it did not work.
            ConfigError: if the environment's proxy settings are unusable.
        """
        try:
            return await self._connect(key)
        except InvalidStatus as error:
            response = error.response
            body = bytes(response.body or b"")
            refused = refusal(
                response.status_code,
                body,
                response.headers,
                backend=self._backend,
                secrets=self._secrets,
            )
            if isinstance(refused, AuthenticationError):
                refused.hint = KEY_HINT
            if response.status_code in (404, 405, 501):
                refused.hint = "check that cloud.url is the socket's address"
            raise refused from error
        except (OSError, WebSocketException, ImportError) as error:
            raise self._translated(error) from cause_to_show(error, self._secrets)

    async def _connect(self, key: SecretStr) -> ClientConnection:
        return await _ConnectHereOnly(
            self.url,
            compression=None,
            additional_headers={
                "Authorization": f"Bearer {key.get_secret_value()}",
                "model": self._section.model,
            },
            user_agent_header=USER_AGENT,
            proxy=None if is_loopback(self.url) else True,
            ssl=self.tls if self.url.startswith("wss:") else None,
            open_timeout=self._section.connect_timeout_s,
            ping_interval=None,  # a listener who reads slowly must not look like a dead server
            close_timeout=CLOSE_TIMEOUT_S,
            max_size=MAX_MESSAGE_BYTES,
            max_queue=MAX_WAITING_MESSAGES,
            logger=self._logger,
        )

    def _translated(self, error: Exception) -> JuneTtsError:
        return connect_error(
            error,
            host=urlsplit(self.url).netloc,
            timeout_s=self._section.connect_timeout_s,
            backend=self._backend,
            secrets=self._secrets,
        )


class _ConnectHereOnly(connect):
    """Follows no redirect: the key is for the configured host."""

    def process_redirect(self, exc: Exception) -> Exception | str:
        return exc


def live_url(url: str, *, timestamps: bool) -> str:
    """The URL to dial: with word times or without."""
    parts = urlsplit(url)
    path = parts.path.rstrip("/")
    if timestamps and not path.endswith(WITH_TIMESTAMP):
        path += WITH_TIMESTAMP
    return parts._replace(path=path).geturl()


def is_loopback(url: str) -> bool:
    """Whether the URL means this machine, which no proxy can reach for us."""
    host = urlsplit(url).hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


def connect_error(
    error: Exception,
    *,
    host: str,
    timeout_s: float,
    backend: str,
    secrets: Iterable[SecretStr] = (),
) -> JuneTtsError:
    """The typed error for a connection that did not come about."""
    if isinstance(error, TimeoutError):
        return BackendTimeoutError(
            f"no connection to {host} within {timeout_s:g} s",
            backend=backend,
            hint="check the network, or raise connect_timeout_s under [cloud]",
        )
    if isinstance(error, ImportError):
        return socks_error("python-socks", backend=backend)
    if isinstance(error, (InvalidProxy, ProxyError)):
        is_usable = not isinstance(error, InvalidProxy)
        return proxy_error(host, is_usable=is_usable, backend=backend)
    if isinstance(error, WebSocketException):
        return RemoteProtocolError(
            f"{host} did not complete the WebSocket handshake: "
            f"{without_secrets(str(error), secrets)}",
            backend=backend,
            retryable=_is_hang_up(error),
            hint="check url under [cloud]: is it a Fish Audio endpoint?",
        )
    what, hint = _network_failure(error, host)
    what = without_secrets(what, secrets)
    retryable = isinstance(error, _TRANSIENT_TLS) or not isinstance(error, ssl.SSLError)
    return BackendUnavailableError(what, backend=backend, retryable=retryable, hint=hint)


def socks_error(package: str, *, backend: str) -> ConfigError:
    """What a SOCKS proxy means where the package that speaks SOCKS is missing."""
    return ConfigError(
        f"the environment asks for a SOCKS proxy, which needs the package {package}",
        backend=backend,
        hint=f"pip install {package}, or unset the proxy",
    )


def proxy_error(host: str, *, is_usable: bool, backend: str) -> BackendUnavailableError:
    """A proxy that failed, or whose very address is ``not is_usable``."""
    return BackendUnavailableError(
        f"the proxy did not connect to {host}",  # its own words may hold a password
        backend=backend,
        retryable=is_usable,
        hint="check HTTPS_PROXY and ALL_PROXY; NO_PROXY lists hosts to reach directly",
    )


def _is_hang_up(error: WebSocketException) -> bool:
    """Whether the peer left without an answer, as one that restarts does."""
    return isinstance(error, InvalidMessage) and isinstance(error.__cause__, EOFError)


def _network_failure(error: Exception, host: str) -> tuple[str, str]:
    if isinstance(error, socket.gaierror):
        return (
            f"the name of {host} cannot be resolved: {error.strerror}",
            "check the network and url under [cloud]",
        )
    if isinstance(error, ssl.SSLCertVerificationError):
        return (
            f"the certificate of {host} is not trusted: {error.verify_message}",
            "check the clock; behind a proxy that inspects TLS, set SSL_CERT_FILE to its CA file",
        )
    if isinstance(error, ssl.SSLError):
        return (
            f"no TLS connection to {host}: {error.reason or error}",
            "check url under [cloud]: wss:// needs a server with TLS, ws:// one without",
        )
    if isinstance(error, ConnectionRefusedError):
        return f"{host} refused the connection", "nothing listens there; check url under [cloud]"
    return f"cannot connect to {host}: {error}", "check the network and url under [cloud]"


class _Redact(logging.Filter):
    """Takes keys out of what the WebSocket library says at DEBUG level."""

    def __init__(self) -> None:
        super().__init__()
        self.secrets: set[SecretStr] = set()  # as many as a process is configured with

    def filter(self, record: logging.LogRecord) -> bool:
        said = _BEARER.sub(r"\1 ***", record.getMessage())  # frames are no text before this
        record.msg, record.args = without_secrets(said, self.secrets), None
        return True


@cache
def _redaction() -> _Redact:
    redaction = _Redact()
    logging.getLogger("junetts.websocket").addFilter(redaction)
    return redaction


def _redacting_logger(secrets: Iterable[SecretStr]) -> logging.Logger:
    _redaction().secrets.update(secrets)
    return logging.getLogger("junetts.websocket")

"""Whether the Fish Audio cloud would speak for us: the account's credit, asked over REST."""

from __future__ import annotations

import json
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal, InvalidOperation
from urllib.parse import urlsplit

import anyio
import httpx
from pydantic import SecretStr

from junetts._backend import Health
from junetts._config import CloudSection
from junetts._errors import (
    AuthenticationError,
    BackendBusyError,
    JuneTtsError,
    QuotaError,
    RateLimitedError,
    RemoteProtocolError,
)
from junetts._fishwire.cloud_request import USD_PER_MILLION_BYTES
from junetts._fishwire.refusals import cause_to_show, refusal
from junetts.backends._cloud_dial import (
    KEY_HINT,
    USER_AGENT,
    connect_error,
    is_loopback,
    proxy_error,
    socks_error,
)

CREDIT_PATH = "/wallet/self/api-credit"
MAX_CREDIT_USD = 10**12  # what is beyond is no amount of money
MAX_ANSWER_BYTES = 2**16  # real ones hold half a KiB
_SCHEMES = {"ws": "http", "wss": "https"}


def rest_origin(url: str) -> str:
    """Where REST calls go: the socket's origin over http or https."""
    parts = urlsplit(url)
    return f"{_SCHEMES[parts.scheme]}://{parts.netloc}"


async def fetch_credit(
    section: CloudSection, key: SecretStr, *, tls: ssl.SSLContext, backend: str
) -> Decimal | None:
    """The account's credit in USD, or None if the server tells of none in a way known here.

    Raises:
        BackendUnavailableError: of the kind that fits; its ``status`` is 404 if the server has
            no such route.
        ConfigError: if the environment's proxy settings are unusable.
    """
    with _translated(section, backend=backend), anyio.fail_after(section.connect_timeout_s):
        status, body, headers = await _ask(rest_origin(section.url), key, tls=tls)
    if status != httpx.codes.OK:
        raise refusal(status, body, headers, backend=backend, secrets=section.api_keys)
    return _credit(body)


async def _ask(
    origin: str, key: SecretStr, *, tls: ssl.SSLContext
) -> tuple[int, bytes, httpx.Headers]:
    """The answer's status, body and headers."""
    headers = {
        "Accept-Encoding": "identity",
        "Authorization": f"Bearer {key.get_secret_value()}",
        "User-Agent": USER_AGENT,
    }
    timeout = httpx.Timeout(None)  # the caller's deadline is for all of it
    trust_env = not is_loopback(origin)
    async with (
        httpx.AsyncClient(verify=tls, timeout=timeout, trust_env=trust_env) as client,
        client.stream("GET", origin + CREDIT_PATH, headers=headers) as response,
    ):
        return response.status_code, await _body(response), response.headers


async def _body(response: httpx.Response) -> bytes:
    body = bytearray()
    async for data in response.aiter_raw():  # not decompressed: that is not bounded
        body += data
        if len(body) > MAX_ANSWER_BYTES:
            raise RemoteProtocolError(f"the server's answer exceeds {MAX_ANSWER_BYTES} bytes")
    return bytes(body)


@contextmanager
def _translated(section: CloudSection, *, backend: str) -> Iterator[None]:
    try:
        yield
    except RemoteProtocolError as error:
        error.backend = backend
        raise
    except (httpx.RequestError, httpx.InvalidURL, OSError, ValueError, ImportError) as error:
        shown = cause_to_show(error, section.api_keys)
        raise _translation(error, section, backend=backend) from shown


def _translation(error: Exception, section: CloudSection, *, backend: str) -> JuneTtsError:
    """As if the socket itself had failed with the system's error below httpx's."""
    host = urlsplit(section.url).netloc
    if isinstance(error, ImportError):
        return socks_error("socksio", backend=backend)
    if isinstance(error, (httpx.ProxyError, httpx.InvalidURL, ValueError)):
        is_usable = isinstance(error, httpx.ProxyError)
        return proxy_error(host, is_usable=is_usable, backend=backend)
    return connect_error(
        error if isinstance(error, TimeoutError) else _system_error(error),
        host=host,
        timeout_s=section.connect_timeout_s,
        backend=backend,
        secrets=section.api_keys,
    )


def _system_error(error: BaseException) -> OSError:
    """The innermost system error; several addresses may each have had their own."""
    found = OSError(str(error) or type(error).__name__)
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, OSError):
            found = cause
        if isinstance(cause, BaseExceptionGroup):
            cause = cause.exceptions[0]
        else:
            cause = cause.__cause__ or cause.__context__
    return found


def _credit(body: bytes) -> Decimal | None:
    try:
        credit = Decimal(str(json.loads(body)["credit"]))
    except (ValueError, InvalidOperation, KeyError, TypeError, RecursionError):
        return None
    return credit if credit.is_finite() and abs(credit) < MAX_CREDIT_USD else None


def credit_health(credit: Decimal | None, *, model: str) -> Health:
    """What the account's credit means for speaking with a model."""
    if credit is None:
        return Health(status="ok", detail="the key is accepted")
    detail = f"the key is accepted; API credit {credit:.2f} USD"
    if credit <= 0 and USD_PER_MILLION_BYTES[model] > 0:
        hint = 'top up the API credit, or set model = "s2.1-pro-free" under [cloud]'
        return Health(status="unavailable", detail=detail, hint=hint)
    return Health(status="ok", detail=detail)


def failure_health(error: JuneTtsError) -> Health:
    """What a refused or failed question means."""
    busy = isinstance(error, (BackendBusyError, RateLimitedError))
    hint = KEY_HINT if isinstance(error, AuthenticationError) else error.hint
    return Health(status="busy" if busy else "unavailable", detail=error.message, hint=hint)


def is_about_key(error: JuneTtsError) -> bool:
    """Whether another key could be answered differently."""
    return isinstance(error, (AuthenticationError, QuotaError, RateLimitedError))

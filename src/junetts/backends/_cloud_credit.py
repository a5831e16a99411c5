"""Whether the Fish Audio cloud would speak for us: the account's credit, asked over REST."""

from __future__ import annotations

import ssl
from decimal import Decimal, InvalidOperation
from urllib.parse import urlsplit

import httpx
from pydantic import SecretStr

from junetts._backend import Health
from junetts._config import CloudSection
from junetts._errors import (
    AuthenticationError,
    BackendBusyError,
    BackendUnavailableError,
    QuotaError,
    RateLimitedError,
)
from junetts._fishwire.cloud_request import USD_PER_MILLION_BYTES
from junetts._fishwire.refusals import refusal
from junetts.backends._cloud_dial import KEY_HINT, USER_AGENT, connect_error, is_loopback

CREDIT_PATH = "/wallet/self/api-credit"
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
    """
    origin = rest_origin(section.url)
    timeout_s = section.connect_timeout_s
    headers = {"Authorization": f"Bearer {key.get_secret_value()}", "User-Agent": USER_AGENT}
    try:
        async with httpx.AsyncClient(
            verify=tls, timeout=timeout_s, trust_env=not is_loopback(origin)
        ) as client:
            response = await client.get(origin + CREDIT_PATH, headers=headers)
    except httpx.TransportError as error:
        raise _translated(error, origin, timeout_s=timeout_s, backend=backend) from error
    if response.status_code != httpx.codes.OK:
        raise refusal(response.status_code, response.content, response.headers, backend=backend)
    return _credit(response)


def _translated(
    error: httpx.TransportError, origin: str, *, timeout_s: float, backend: str
) -> Exception:
    """As if the socket itself had failed with the system's error below httpx's."""
    plain = TimeoutError() if isinstance(error, httpx.TimeoutException) else _system_error(error)
    host = urlsplit(origin).netloc
    return connect_error(plain, host=host, timeout_s=timeout_s, backend=backend)


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


def _credit(response: httpx.Response) -> Decimal | None:
    try:
        answer = response.json()
        return Decimal(str(answer["credit"]))
    except (ValueError, InvalidOperation, KeyError, TypeError):
        return None


def credit_health(credit: Decimal | None, *, model: str) -> Health:
    """What the account's credit means for speaking with a model."""
    if credit is None:
        return Health(status="ok", detail="the key is accepted")
    detail = f"the key is accepted; API credit {credit:.2f} USD"
    if credit <= 0 and USD_PER_MILLION_BYTES[model] > 0:
        hint = 'top up the API credit, or set model = "s2.1-pro-free" under [cloud]'
        return Health(status="unavailable", detail=detail, hint=hint)
    return Health(status="ok", detail=detail)


def failure_health(error: BackendUnavailableError) -> Health:
    """What a refused or failed question means."""
    busy = isinstance(error, (BackendBusyError, RateLimitedError))
    hint = KEY_HINT if isinstance(error, AuthenticationError) else error.hint
    return Health(status="busy" if busy else "unavailable", detail=error.message, hint=hint)


def is_about_key(error: BackendUnavailableError) -> bool:
    """Whether another key could be answered differently."""
    return isinstance(error, (AuthenticationError, QuotaError, RateLimitedError))

"""What a refused HTTP request or WebSocket upgrade means."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from junetts._errors import (
    AuthenticationError,
    BackendBusyError,
    BackendUnavailableError,
    NoAudioError,
    QuotaError,
    RateLimitedError,
    RequestRejectedError,
)

if TYPE_CHECKING:
    from pydantic import SecretStr

MAX_QUOTED_CHARACTERS = 500
SHORTEST_SECRET_INSIDE_WORDS = 8

_BY_STATUS: dict[int, type[BackendUnavailableError]] = {
    401: AuthenticationError,
    402: QuotaError,
    403: AuthenticationError,
    408: BackendBusyError,
    429: RateLimitedError,
    503: BackendBusyError,
}
_BY_WORDS: dict[str, type[BackendUnavailableError]] = {  # fish-speech's, sent with status 500
    "Prompt is too long": RequestRejectedError,
    "No audio generated": NoAudioError,
}
_HINTS = {
    AuthenticationError: "check the API key",
    QuotaError: "top up the account's API credit",
    RateLimitedError: "lower the number of requests at once, or wait",
}


def without_secrets(text: str, secrets: Iterable[SecretStr]) -> str:
    """The text with ``***`` for every secret: servers are known to echo the key they refuse.

    One of fewer than 8 characters is replaced as a word of its own only, for it may well be
    a part of other words.
    """
    values = {secret.get_secret_value() for secret in secrets} - {""}
    for value in sorted(values, key=len, reverse=True):  # one may begin with another
        pattern = re.escape(value)
        if len(value) < SHORTEST_SECRET_INSIDE_WORDS:
            pattern = rf"(?<!\w){pattern}(?!\w)"
        text = re.sub(pattern, "***", text, flags=re.IGNORECASE)
    return text


def cause_to_show(error: Exception, secrets: Iterable[SecretStr]) -> Exception | None:
    """The error, or None if it or what is behind it quotes a secret: tracebacks show causes."""
    known = tuple(secrets)
    link: BaseException | None = error
    while link is not None:
        if without_secrets(str(link), known) != str(link):
            return None
        link = link.__cause__ or link.__context__
    return error


def server_words(body: bytes, *, secrets: Iterable[SecretStr] = ()) -> str:
    """The message in an error body: JSON with ``message`` or ``detail``, a 422 list, or text.

    At most 500 characters, on one line, without the secrets.
    """
    text = body.decode("utf-8", "replace").strip()
    try:
        parsed = json.loads(text)
    except (ValueError, RecursionError):
        parsed = text
    if isinstance(parsed, dict):
        message = parsed.get("message") or parsed.get("detail") or parsed.get("error")
        parsed = text if message is None else message
    if isinstance(parsed, list):
        parsed = "; ".join(map(_schema_complaint, parsed))
    words = without_secrets(" ".join(str(parsed).split()), secrets)  # whole, before the cut
    if len(words) > MAX_QUOTED_CHARACTERS:
        words = words[: MAX_QUOTED_CHARACTERS - 1] + "…"
    return words


def _schema_complaint(item: object) -> str:
    """One entry of a 422 body, ``{loc, type, msg}``, as ``field: message``."""
    if not isinstance(item, dict):
        return str(item)
    location = item.get("loc", "")
    if isinstance(location, list):
        location = ".".join(str(part) for part in location)
    return f"{location}: {item.get('msg', item)}" if location else str(item.get("msg", item))


def retry_after_s(headers: Mapping[str, str]) -> float | None:
    """The delay in a ``Retry-After`` header, in seconds; None if absent or a date."""
    try:
        return max(0.0, float(headers.get("retry-after", "")))
    except ValueError:
        return None


def refusal(
    status: int,
    body: bytes,
    headers: Mapping[str, str],
    *,
    backend: str,
    secrets: Iterable[SecretStr] = (),
) -> BackendUnavailableError:
    """The typed error for a refusal, with the server's own words and trace id, less secrets.

    ``headers`` must look names up case-insensitively. Statuses as captured from the cloud and
    the fish-speech server: 401 and 403 key, 402 credit, 429 concurrency, 503 overload; other
    4xx reject the request; 5xx may succeed on another try, unless its words say otherwise.
    """
    rejected = 400 <= status < 500
    kind = _BY_STATUS.get(status, RequestRejectedError if rejected else BackendUnavailableError)
    words = server_words(body, secrets=(secrets := tuple(secrets)))
    if status == 500:
        kind = next((known for start, known in _BY_WORDS.items() if words.startswith(start)), kind)
    trace_id = headers.get("x-fish-trace-id")
    if trace_id is not None:
        trace_id = without_secrets(trace_id, secrets)
    return kind(
        f"the server answered {status}: {words}" if words else f"the server answered {status}",
        backend=backend,
        status=status,
        trace_id=trace_id,
        retry_after_s=retry_after_s(headers),
        hint=_HINTS.get(kind),
    )

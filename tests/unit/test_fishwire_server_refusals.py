"""A refusal quotes the server, and is of the kind that its status and words say."""

from __future__ import annotations

import pytest

from junetts._errors import (
    BackendUnavailableError,
    NoAudioError,
    RateLimitedError,
    RequestRejectedError,
)
from junetts._fishwire.refusals import refusal, server_words


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b'{"statusCode": 500, "message": "No\\n more", "error": "E"}', "No more"),
        (b'{"detail": "gone"}', "gone"),
        (b'{"error": "E"}', "E"),
        (b'{"other": 1}', '{"other": 1}'),
        (b'[{"loc": ["a", 0], "msg": "bad"}, {"msg": "worse"}, "odd"]', "a.0: bad; worse; odd"),
        (b'[{"loc": "a", "msg": "bad"}]', "a: bad"),
        (b"plain \xff", "plain \ufffd"),
        (b"", ""),
        (b"[" * 9999, "[" * 499 + "…"),
        (b"x" * 600, "x" * 499 + "…"),
    ],
)
def test_the_servers_words_are_found(body: bytes, words: str) -> None:
    """In whichever shape of body, on one line, and not too many of them."""
    assert server_words(body) == words


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        (500, b'{"message": "Prompt is too long: 3065 > 2048"}', RequestRejectedError),
        (500, b'{"message": "No audio generated, please check"}', NoAudioError),
        (500, b'{"message": "Failed to generate speech"}', BackendUnavailableError),
        (502, b'{"message": "Prompt is too long"}', BackendUnavailableError),
    ],
)
def test_words_decide_where_the_status_says_little(
    status: int, body: bytes, kind: type[BackendUnavailableError]
) -> None:
    """fish-speech answers 500 to much that another try cannot help."""
    error = refusal(status, body, {}, backend="server")
    assert type(error) is kind
    assert error.retryable is not (kind is RequestRejectedError)


@pytest.mark.parametrize(("text", "delay_s"), [("2.5", 2.5), ("-1", 0.0), ("soon", None)])
def test_the_server_may_say_how_long_to_wait(text: str, delay_s: float | None) -> None:
    """In seconds; a date or nonsense is no answer."""
    error = refusal(429, b"", {"retry-after": text}, backend="server")
    assert isinstance(error, RateLimitedError)
    assert error.retry_after_s == delay_s

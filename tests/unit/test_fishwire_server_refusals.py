"""A refusal quotes the server, and is of the kind that its status and words say."""

from __future__ import annotations

import pytest
from pydantic import SecretStr

from junetts._errors import (
    BackendUnavailableError,
    NoAudioError,
    RateLimitedError,
    RequestRejectedError,
)
from junetts._fishwire.refusals import cause_to_show, refusal, server_words, without_secrets


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


@pytest.mark.parametrize(
    ("text", "secrets", "shown"),
    [
        ("Invalid Token: Bearer sk-canary-1", ["sk-canary-1"], "Invalid Token: Bearer ***"),
        ("a%20sk-canary-1b", ["sk-canary-1"], "a%20***b"),
        ("audio/SK-CANARY-1", ["sk-canary-1"], "audio/***"),
        ("sk-canary-12 sk-canary-1", ["sk-canary-1", "sk-canary-12"], "*** ***"),
        ("token k is not ok", ["k"], "token *** is not ok"),
        ("a.c+ abc", ["a.c+"], "*** abc"),
        ("as it was", ["", "sk-canary-1"], "as it was"),
    ],
)
def test_secrets_are_left_out(text: str, secrets: list[str], shown: str) -> None:
    """Wherever they stand, but a short one not within other words."""
    assert without_secrets(text, map(SecretStr, secrets)) == shown


def test_a_refusal_quotes_no_secret() -> None:
    """Neither from the body, where it may straddle the cut, nor from the trace id."""
    secrets = [SecretStr("sk-canary-1")]
    body = b"x" * 494 + b" sk-canary-1"
    error = refusal(
        401, body, {"x-fish-trace-id": "t-sk-canary-1"}, backend="server", secrets=iter(secrets)
    )
    assert "sk-c" not in str(error)
    assert error.trace_id == "t-***"


def test_a_cause_that_quotes_a_secret_is_not_shown() -> None:
    """However deep it stands; another cause is."""
    secrets = [SecretStr("sk-canary-1")]
    error = ValueError("bad")
    assert cause_to_show(error, secrets) is error
    error.__cause__ = OSError("not sk-canary-1")
    assert cause_to_show(error, iter(secrets)) is None

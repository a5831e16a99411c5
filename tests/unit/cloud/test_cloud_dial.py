"""Where to dial, and what stands between."""

from __future__ import annotations

import ssl

import pytest
from websockets.exceptions import InvalidHeader, InvalidMessage, InvalidProxy, ProxyError

from junetts._errors import BackendUnavailableError, ConfigError
from junetts.backends._cloud_credit import rest_origin
from junetts.backends._cloud_dial import connect_error, is_loopback, live_url


@pytest.mark.parametrize(
    ("url", "timestamps", "expected"),
    [
        ("wss://a/v1/tts/live", False, "wss://a/v1/tts/live"),
        ("wss://a/v1/tts/live", True, "wss://a/v1/tts/live/with-timestamp"),
        ("wss://a/v1/tts/live/", True, "wss://a/v1/tts/live/with-timestamp"),
        ("wss://a/v1/tts/live/with-timestamp", True, "wss://a/v1/tts/live/with-timestamp"),
        ("ws://a:1/x?y=1", True, "ws://a:1/x/with-timestamp?y=1"),
    ],
)
def test_live_url(url: str, timestamps: bool, expected: str) -> None:
    """Word times come from a path of their own, which is not appended twice."""
    assert live_url(url, timestamps=timestamps) == expected


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("ws://127.0.0.1:8000/", True),
        ("ws://127.1.2.3/", True),
        ("ws://[::1]:8000/", True),
        ("ws://localhost/", True),
        ("wss://api.fish.audio/", False),
        ("ws://192.168.0.1/", False),
    ],
)
def test_is_loopback(url: str, expected: bool) -> None:
    """Only addresses of this machine are reached past a proxy."""
    assert is_loopback(url) is expected


def test_rest_origin() -> None:
    """REST goes to the socket's origin, encrypted if the socket is."""
    assert rest_origin("wss://api.fish.audio/v1/tts/live") == "https://api.fish.audio"
    assert rest_origin("ws://127.0.0.1:9000/v1/tts/live") == "http://127.0.0.1:9000"


@pytest.mark.parametrize(
    ("error", "kind", "words"),
    [
        (ImportError("python_socks"), ConfigError, "SOCKS"),
        (InvalidProxy("http://u:secret@p", "bad"), BackendUnavailableError, "proxy did not"),
        (OSError(101, "Network is unreachable"), BackendUnavailableError, "Network is unreach"),
    ],
)
def test_rare_failures(error: Exception, kind: type[Exception], words: str) -> None:
    """What a test cannot easily bring about is translated as well, passwords left out."""
    translated = connect_error(error, host="h:1", timeout_s=1, backend="cloud")
    assert type(translated) is kind
    assert words in str(translated)
    assert "secret" not in str(translated)
    assert translated.hint


@pytest.mark.parametrize(
    ("error", "retryable"),
    [
        (ssl.SSLCertVerificationError(1, "self-signed certificate"), False),
        (ssl.SSLError(1, "wrong version number"), False),
        (ssl.SSLEOFError(8, "EOF occurred in violation of protocol"), True),
        (InvalidProxy("http://p", "bad"), False),
        (ProxyError("502"), True),
        (InvalidHeader("Upgrade", "none"), False),
        (InvalidMessage("no valid HTTP response"), False),
        (OSError(101, "Network is unreachable"), True),
        (TimeoutError(), True),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else str(value),
)
def test_only_what_may_pass_is_retryable(error: Exception, retryable: bool) -> None:
    """A certificate, a proxy's address and a server of another kind stay what they are."""
    if isinstance(error, ssl.SSLError):  # the TLS library itself sets these
        error.reason = "X"
    if isinstance(error, ssl.SSLCertVerificationError):
        error.verify_message = "self-signed certificate"
    translated = connect_error(error, host="h:1", timeout_s=1, backend="cloud")
    assert translated.retryable is retryable


def test_a_hang_up_during_the_handshake_may_pass() -> None:
    """A server that restarts does that."""
    error = InvalidMessage("no valid HTTP response")
    error.__cause__ = EOFError("connection closed")
    assert connect_error(error, host="h:1", timeout_s=1, backend="cloud").retryable

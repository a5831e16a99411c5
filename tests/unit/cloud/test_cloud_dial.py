"""Where to dial, and what stands between."""

from __future__ import annotations

import pytest
from websockets.exceptions import InvalidProxy

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

"""Errors: the tree, readable messages, and what they carry."""

from __future__ import annotations

import inspect
import pickle

import pytest

from junetts import _errors
from junetts._errors import (
    AudioFileError,
    AuthenticationError,
    BackendBusyError,
    BackendTimeoutError,
    BackendUnavailableError,
    CheckpointError,
    ConfigError,
    EngineError,
    InvalidRequestError,
    JuneTtsError,
    NoAudioError,
    NoBackendAvailableError,
    OutOfMemoryError,
    QuotaError,
    RateLimitedError,
    RemoteProtocolError,
    RequestRejectedError,
    SynthesisInterruptedError,
    UnknownVoiceError,
    UsageError,
)

ALL = [getattr(_errors, name) for name in _errors.__all__]


def test_the_tree_is_as_drawn() -> None:
    """Every error stands in the module's drawing, under the class that it derives from."""
    drawing = inspect.getdoc(_errors) or ""
    for kind in ALL:
        assert kind.__name__ in drawing
        assert issubclass(kind, JuneTtsError)
    before_sound = [
        AuthenticationError, QuotaError, RateLimitedError, BackendBusyError, BackendTimeoutError,
        RequestRejectedError, NoAudioError, RemoteProtocolError, UnknownVoiceError, CheckpointError,
        OutOfMemoryError, EngineError,
    ]  # fmt: skip
    assert all(issubclass(kind, BackendUnavailableError) for kind in before_sound)
    assert not issubclass(SynthesisInterruptedError, BackendUnavailableError)


def test_errors_are_also_what_python_calls_them() -> None:
    """Who catches the built-in kinds catches ours."""
    assert issubclass(InvalidRequestError, ValueError)
    assert issubclass(UsageError, (InvalidRequestError, RuntimeError))
    assert issubclass(ConfigError, ValueError)
    assert issubclass(BackendTimeoutError, TimeoutError)
    assert issubclass(UnknownVoiceError, InvalidRequestError)
    assert issubclass(AudioFileError, OSError)
    assert issubclass(OutOfMemoryError, MemoryError)


@pytest.mark.parametrize(
    ("kind", "retryable"),
    [
        (BackendUnavailableError, True),
        (AuthenticationError, False),
        (QuotaError, False),
        (RateLimitedError, True),
        (BackendBusyError, True),
        (BackendTimeoutError, True),
        (RequestRejectedError, False),
        (NoAudioError, True),
        (RemoteProtocolError, True),
        (UnknownVoiceError, False),
        (CheckpointError, False),
        (OutOfMemoryError, True),
        (EngineError, True),
        (SynthesisInterruptedError, False),
        (InvalidRequestError, False),
        (ConfigError, False),
    ],
)
def test_retryable_by_kind(kind: type[JuneTtsError], retryable: bool) -> None:
    """Each kind knows whether another try can help, unless it is told better."""
    assert kind("x").retryable is retryable
    if kind not in (InvalidRequestError, ConfigError, UnknownVoiceError, CheckpointError):
        assert kind("x", retryable=not retryable).retryable is not retryable


def test_messages_name_backend_status_and_trace_once() -> None:
    """What happened, where, and what to quote to the server's support; nothing twice."""
    assert str(JuneTtsError("it failed")) == "it failed"
    error = BackendBusyError("too busy", backend="server", status=503, trace_id="t-9")
    assert str(error) == "server: too busy (status 503, trace id t-9)"
    assert str(BackendBusyError("HTTP 503, too busy", status=503)) == "HTTP 503, too busy"
    assert error.message == "too busy"


def test_fields_are_kept() -> None:
    """Each field is an attribute."""
    error = RateLimitedError("slow down", retry_after_s=2.5, hint="wait", status=429)
    assert (error.retry_after_s, error.hint, error.status) == (2.5, "wait", 429)
    assert (error.speech, error.report, error.trace_id) == (None, None, None)
    assert InvalidRequestError("x", field="text").field == "text"
    damaged = CheckpointError("x", path="codec.pth", tensor="w", hint="h")
    assert (damaged.path, damaged.tensor, damaged.hint) == ("codec.pth", "w", "h")
    assert ConfigError("x", key="cloud.url").key == "cloud.url"
    assert AudioFileError("x", errno=28).errno == 28


def test_no_backend_available_tells_every_reason() -> None:
    """One line per backend, named once, whether its error names it or not."""
    error = NoBackendAvailableError(
        [
            ("cloud", AuthenticationError("refused", backend="cloud", status=401)),
            ("server", InvalidRequestError("no such thing")),
        ]
    )
    assert str(error) == (
        "no backend could speak:\n  cloud: refused (status 401)\n  server: no such thing"
    )
    assert not error.retryable
    assert NoBackendAvailableError([("a", BackendBusyError("busy"))]).retryable


@pytest.mark.parametrize("kind", ALL)
def test_errors_survive_pickling(kind: type[JuneTtsError]) -> None:
    """An error may cross a process boundary."""
    if kind is NoBackendAvailableError:
        error: JuneTtsError = NoBackendAvailableError([("a", BackendBusyError("busy"))])
    else:
        error = kind("it failed")
        error.backend = "cloud"
    copy = pickle.loads(pickle.dumps(error))  # noqa: S301  our own bytes
    assert (type(copy), str(copy), copy.retryable) == (kind, str(error), error.retryable)

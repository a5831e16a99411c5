"""The errors of junetts: who is at fault, what was heard, whether another try can help.

::

    JuneTtsError
    ├── InvalidRequestError            bad input; nothing was sent
    │   └── UsageError                 the library was called the wrong way (also a RuntimeError)
    ├── ConfigError                    a setting is wrong or missing; names the key
    ├── BackendUnavailableError        before any sound
    │   ├── AuthenticationError        the key was refused                  (401, 403)
    │   ├── QuotaError                 no credit left                       (402)
    │   ├── RateLimitedError           too many requests at once            (429)
    │   ├── BackendBusyError           alive, but occupied or overloaded    (503)
    │   ├── BackendTimeoutError        no connection or no sound in time    (also a TimeoutError)
    │   ├── RequestRejectedError       the server refused this request      (400, 413, 422)
    │   ├── NoAudioError               success was claimed, nothing is audible
    │   ├── RemoteProtocolError        the peer broke its own protocol
    │   ├── CheckpointError            model files are missing, damaged or of another kind
    │   ├── OutOfMemoryError           a device's memory does not suffice     (also a MemoryError)
    │   ├── EngineError                the in-process model failed
    │   └── UnknownVoiceError          the voice is not known there (also an InvalidRequestError)
    ├── SynthesisInterruptedError      after sound; carries what was heard
    ├── AudioFileError                 a sound file cannot be written           (also an OSError)
    ├── AudioDeviceError               this machine cannot play sound
    └── NoBackendAvailableError        every backend failed; carries each one's reason
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from textwrap import indent
from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from junetts._report import SpeechReport
    from junetts._speech import Speech

__all__ = [
    "AudioDeviceError",
    "AudioFileError",
    "AuthenticationError",
    "BackendBusyError",
    "BackendTimeoutError",
    "BackendUnavailableError",
    "CheckpointError",
    "ConfigError",
    "EngineError",
    "InvalidRequestError",
    "JuneTtsError",
    "NoAudioError",
    "NoBackendAvailableError",
    "OutOfMemoryError",
    "QuotaError",
    "RateLimitedError",
    "RemoteProtocolError",
    "RequestRejectedError",
    "SynthesisInterruptedError",
    "UnknownVoiceError",
    "UsageError",
]


class JuneTtsError(Exception):
    """Anything that junetts raises on purpose.

    Attributes:
        message: what happened, in one readable sentence, the server's own words included.
        backend: the configured name of the backend concerned, if one is.
        retryable: whether the same request may succeed if it is simply sent again.
        status: the HTTP status that the server answered, if it did.
        trace_id: the server's identifier of the failed request, if it gave one.
        retry_after_s: how long the server asked to be left alone, in seconds.
        speech: the audio that had been handed out, once there was sound.
        report: the report of the utterance that failed.
    """

    _retryable: ClassVar[bool] = False

    def __init__(
        self,
        message: str,
        *,
        backend: str | None = None,
        retryable: bool | None = None,
        status: int | None = None,
        trace_id: str | None = None,
        retry_after_s: float | None = None,
        hint: str | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.backend = backend
        self.retryable = self._retryable if retryable is None else retryable
        self.status = status
        self.trace_id = trace_id
        self.retry_after_s = retry_after_s
        self._hint: str | None = None
        self.hint = hint
        self.speech: Speech | None = None
        self.report: SpeechReport | None = None

    @property
    def hint(self) -> str | None:
        """What a person can do about it; a traceback shows it below the message."""
        return self._hint

    @hint.setter
    def hint(self, hint: str | None) -> None:
        self._hint = hint
        if hint is not None:
            self.__notes__ = [f"Hint: {hint}"]

    def __str__(self) -> str:
        text = self.message if self.backend is None else f"{self.backend}: {self.message}"
        details = []
        if self.status is not None and str(self.status) not in self.message:
            details.append(f"status {self.status}")
        if self.trace_id is not None:
            details.append(f"trace id {self.trace_id}")
        if details:
            text = f"{text} ({', '.join(details)})"
        return text


class InvalidRequestError(JuneTtsError, ValueError):
    """The input is wrong; nothing was sent and nothing was spoken.

    ``field`` is the name of the offending parameter, such as ``prosody.speed``.
    """

    def __init__(
        self,
        message: str,
        *,
        field: str | None = None,
        backend: str | None = None,
        hint: str | None = None,
    ) -> None:
        super().__init__(message, backend=backend, hint=hint)
        self.field = field


class UsageError(InvalidRequestError, RuntimeError):
    """The library was called the wrong way; the message says what to write instead."""


class ConfigError(JuneTtsError, ValueError):
    """A setting is wrong, unknown or missing.

    ``key`` is its full name as written in ``junetts.toml``, such as ``cloud.model``.
    """

    def __init__(
        self,
        message: str,
        *,
        key: str | None = None,
        backend: str | None = None,
        hint: str | None = None,
    ) -> None:
        super().__init__(message, backend=backend, hint=hint)
        self.key = key


class BackendUnavailableError(JuneTtsError):
    """A backend failed before any sound was heard."""

    _retryable = True


class AuthenticationError(BackendUnavailableError):
    """The server refused the key."""

    _retryable = False


class QuotaError(BackendUnavailableError):
    """The account has no credit left."""

    _retryable = False


class RateLimitedError(BackendUnavailableError):
    """Too many requests at once; ``retry_after_s`` says how long to wait, if the server did."""


class BackendBusyError(BackendUnavailableError):
    """The backend is alive but occupied or overloaded."""


class BackendTimeoutError(BackendUnavailableError, TimeoutError):
    """No connection, or no sound, within the deadline."""


class RequestRejectedError(BackendUnavailableError):
    """The server looked at the request and refused it; sending it again cannot help."""

    _retryable = False


class NoAudioError(BackendUnavailableError):
    """The backend claimed success, but speakable text produced nothing audible."""


class RemoteProtocolError(BackendUnavailableError):
    """The peer closed early or sent what its protocol does not allow."""


class CheckpointError(BackendUnavailableError):
    """A checkpoint's files are missing, damaged, or not what their config says.

    Nothing in them was executed. ``path`` is the file or directory concerned and ``tensor`` the
    name of the weight, if one is.
    """

    _retryable = False

    def __init__(
        self,
        message: str,
        *,
        path: str | None = None,
        tensor: str | None = None,
        hint: str | None = None,
    ) -> None:
        super().__init__(message, hint=hint)
        self.path = path
        self.tensor = tensor


class OutOfMemoryError(BackendUnavailableError, MemoryError):
    """A device's memory does not suffice; the message says how much is needed, where known."""


class EngineError(BackendUnavailableError):
    """The in-process model failed in one utterance; others are not affected."""


class UnknownVoiceError(InvalidRequestError, BackendUnavailableError):
    """The backend does not know the voice; nothing was sent in another voice instead."""

    _retryable = False


class SynthesisInterruptedError(JuneTtsError):
    """Speech broke off after sound was heard; ``__cause__`` is the failure behind it, if any.

    ``speech`` and ``report`` say what was heard. It is retryable if its cause is.
    """

    @classmethod
    def by(cls, cause: JuneTtsError) -> SynthesisInterruptedError:
        """What a failure is called once there was sound; all that it told is kept."""
        error = cls(
            f"speech broke off: {cause.message}",
            backend=cause.backend,
            retryable=cause.retryable,
            status=cause.status,
            trace_id=cause.trace_id,
            retry_after_s=cause.retry_after_s,
            hint=cause.hint,
        )
        error.__cause__ = cause
        return error


class AudioFileError(JuneTtsError, OSError):
    """A sound file cannot be written; ``errno`` is the system's reason, if it gave one."""

    def __init__(self, message: str, *, errno: int | None = None, hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.errno = errno


class AudioDeviceError(JuneTtsError):
    """Sound cannot be played here: no player is installed, or there is no working device."""


class NoBackendAvailableError(JuneTtsError):
    """Every configured backend failed, before any sound or one after the other.

    ``reasons`` holds ``(backend name, error)`` in the order in which they were tried. The message
    has a line for each, once if it is the same again; a traceback shows their hints below it.
    ``retry_after_s`` is the shortest that one of them asked for, if all that can help is to wait.
    """

    def __init__(self, reasons: Sequence[tuple[str, JuneTtsError]]) -> None:
        self.reasons = tuple(reasons)
        told = Counter(f"{e}" if e.backend else f"{name}: {e}" for name, e in self.reasons)
        lines = [f"{line} ({n} times)" if n > 1 else line for line, n in told.items()]
        super().__init__(
            "\n".join(["no backend could speak:", *(indent(line, "  ") for line in lines)]),
            retryable=any(error.retryable for _, error in self.reasons),
            retry_after_s=_soonest(error for _, error in self.reasons if error.retryable),
        )
        hints = [f"Hint: {name}: {error.hint}" for name, error in self.reasons if error.hint]
        self.__notes__ = list(dict.fromkeys(hints))

    def __reduce__(self) -> tuple[object, ...]:
        return type(self), (self.reasons,), self.__dict__


def _soonest(errors: Iterable[JuneTtsError]) -> float | None:
    """When it is worth trying again; None if one of them says nothing about it."""
    waits = [error.retry_after_s for error in errors]
    known = [wait_s for wait_s in waits if wait_s is not None]
    return min(known) if known and len(known) == len(waits) else None

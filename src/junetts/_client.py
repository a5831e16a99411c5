"""The facade: one client per process, many utterances at once."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Callable, Mapping
from inspect import iscoroutinefunction
from itertools import count
from types import TracebackType
from typing import TYPE_CHECKING, TypeAlias, TypeVar

from anyio import CancelScope, create_task_group, move_on_after
from anyio.abc import TaskGroup

from junetts._assembly import Wiring
from junetts._backend import Health, TtsBackend
from junetts._config import Config, resolve
from junetts._errors import InvalidRequestError, UsageError
from junetts._events import Event, log_line
from junetts._feed import Text, check_text
from junetts._speaking import Speaking, running_loop
from junetts._stream import LoopSource, SpeechStream
from junetts._utterance import Prosody, Sampling, Utterance, Voice, require_number

if TYPE_CHECKING:
    from junetts._speech import Speech

ConfigSource: TypeAlias = Config | Mapping[str, object] | str | os.PathLike[str] | None

T = TypeVar("T")

MAX_TIMEOUT_S = 86_400
CLOSE_TIMEOUT_S = 5.0

_logger = logging.getLogger("junetts")


class TTS:
    """Speaks text through the configured backends.

    ::

        async with junetts.TTS() as tts:
            speech = await tts.synthesize("Hello.")

    Args:
        config: a `Config`; a mapping of the shape of ``junetts.toml``; the path of such a file;
            or None for the environment and the file in its usual places.
        on_event: is told what happens as it happens: a backend chosen, first audio, a handover,
            a breaker opened... It is called in the event loop, so it must not block; what it
            raises is logged.
        overrides: top-level settings that stand above ``config``, such as ``backends=["demo"]``.

    Guarantees: every utterance runs in a task that the client owns; leaving the ``async with``
    stops those that are left and releases every socket, task, thread and process.

    Raises:
        ConfigError: if a setting is wrong; its ``key`` says which.
    """

    def __init__(
        self,
        config: ConfigSource = None,
        *,
        on_event: Callable[[Event], None] | None = None,
        **overrides: object,
    ) -> None:
        self._config = resolve(config, overrides)
        self._on_event = check_listener(on_event)
        self._numbers = count(1)
        self._wiring = Wiring(self._config, tell=self._tell)
        self._group: TaskGroup | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._speaking: set[Speaking] = set()
        self._closed = False

    @property
    def config(self) -> Config:
        """The settings in force."""
        return self._config

    async def __aenter__(self) -> TTS:
        if self._closed or self._loop is not None:
            raise UsageError("a TTS client is entered once; make another one")
        self._loop = asyncio.get_running_loop()
        try:
            await self._wiring.connect()
        except BaseException:
            await self._close_backends()
            raise
        self._group = await create_task_group().__aenter__()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        assert self._group is not None
        try:
            await self.aclose()
        finally:
            self._group.cancel_scope.cancel()
            # It is not told of an error, which it would wrap in a group; nor may it swallow one.
            await self._group.__aexit__(None, None, None)

    async def aclose(self) -> None:
        """Stop all speech and release everything; may be called more than once."""
        self._closed = True
        speaking = tuple(self._speaking)
        for one in speaking:
            one.cancel()
        with CancelScope(shield=True), move_on_after(CLOSE_TIMEOUT_S):
            for one in speaking:
                await one.wait_finished()
        await self._close_backends()

    async def _close_backends(self) -> None:
        with CancelScope(shield=True), move_on_after(CLOSE_TIMEOUT_S):
            await self._wiring.aclose()

    def stream(
        self,
        text: Text,
        *,
        voice: Voice | str | None = None,
        prosody: Prosody | None = None,
        sampling: Sampling | None = None,
        backend: str | None = None,
        language: str | None = None,
        timeout_s: float | None = None,
    ) -> SpeechStream:
        """Begin to speak; returns at once.

        Args:
            text: a str, or an iterable or async iterable of str, spoken while it arrives.
            voice: None for the configured one; a str is a voice's id.
            prosody: pace and loudness.
            sampling: how the model chooses tokens.
            backend: the name of the one backend to speak with, instead of the configured order.
            language: a hint such as ``en``, for sentence ends and the demo voice.
            timeout_s: how many seconds it may take until the last audio is made; waiting for
                text counts, and so does a listener more than ``ahead_s`` behind.

        Raises:
            InvalidRequestError: if an argument is wrong; nothing was sent.
            UsageError: if the client is not open.
        """
        speaking = self.begin(
            text,
            voice=voice,
            prosody=prosody,
            sampling=sampling,
            backend=backend,
            language=language,
            timeout_s=timeout_s,
        )
        return SpeechStream(LoopSource(speaking))

    def begin(
        self,
        text: Text,
        *,
        voice: Voice | str | None = None,
        prosody: Prosody | None = None,
        sampling: Sampling | None = None,
        backend: str | None = None,
        language: str | None = None,
        timeout_s: float | None = None,
    ) -> Speaking:
        """The work behind `stream`, for those who bring the audio to its listener themselves."""
        group = self._opened()
        utterance = self._utterance(voice, prosody, sampling, language)
        check_text(text)
        check_timeout(timeout_s)
        chosen = self._wiring.backend(check_type("backend", backend, str))
        speaking = Speaking(
            text,
            utterance,
            sample_rate=self._config.sample_rate,
            ahead_s=self._config.ahead_s,
            timeout_s=timeout_s,
            prices=self._wiring.prices(),
            tell=self._tell,
        )
        self._speaking.add(speaking)
        group.start_soon(self._run, speaking, chosen)
        return speaking

    async def synthesize(
        self,
        text: Text,
        *,
        voice: Voice | str | None = None,
        prosody: Prosody | None = None,
        sampling: Sampling | None = None,
        backend: str | None = None,
        language: str | None = None,
        timeout_s: float | None = None,
    ) -> Speech:
        """Speak and return all of the audio; arguments as for `stream`.

        Text with nothing to say in it gives audio of length zero.

        Raises:
            InvalidRequestError: if an argument is wrong; nothing was sent.
            BackendUnavailableError: if the one backend failed before any sound.
            NoBackendAvailableError: if each of several did.
            SynthesisInterruptedError: if speech broke off; carries what there is.
        """
        stream = self.stream(
            text,
            voice=voice,
            prosody=prosody,
            sampling=sampling,
            backend=backend,
            language=language,
            timeout_s=timeout_s,
        )
        async with stream:
            return await stream.collect()

    async def warmup(self) -> None:
        """Do beforehand what the first utterance would otherwise wait for.

        Raises:
            BackendUnavailableError: if the one backend cannot be reached.
            NoBackendAvailableError: if none of several can.
        """
        self._opened()
        await self._wiring.warmup()

    async def health(self) -> dict[str, Health]:
        """Look whether each configured backend could speak now; no text is sent.

        What is found counts: a backend that was left alone because of its key or credit, and is
        well again, is used again.
        """
        self._opened()
        return await self._wiring.health()

    async def _run(self, speaking: Speaking, backend: TtsBackend) -> None:
        try:
            await speaking.run(backend)
        finally:
            self._speaking.discard(speaking)

    def _tell(self, event: Event) -> None:
        if (line := log_line(event)) is not None:
            _logger.info(line)
        if self._on_event is None:
            return
        try:
            self._on_event(event)
        except Exception:  # (noqa: reviewed) a listener's mistake must not break speech
            _logger.exception("the on_event listener failed on %s", type(event).__name__)

    def _opened(self) -> TaskGroup:
        if self._closed:
            raise UsageError("this TTS client is closed")
        if self._group is None:
            raise UsageError(
                "this TTS client is not open: "
                "write `async with junetts.TTS() as tts:` and use it there"
            )
        if running_loop() is not self._loop:
            raise UsageError("this TTS client belongs to another event loop")
        return self._group

    def _utterance(
        self,
        voice: Voice | str | None,
        prosody: Prosody | None,
        sampling: Sampling | None,
        language: str | None,
    ) -> Utterance:
        patience_s = self._config.fallback.patience_s
        return Utterance(
            voice=_as_voice(voice),
            prosody=check_type("prosody", prosody, Prosody),
            sampling=check_type("sampling", sampling, Sampling) or Sampling(),
            language=check_type("language", language, str),
            first_audio_timeout_s=patience_s,
            stall_timeout_s=patience_s,
            number=next(self._numbers),
        )


def check_listener(listener: object) -> Callable[[Event], None] | None:
    """Refuse a listener that cannot be called, or whose calls would come to nothing."""
    if listener is None or (callable(listener) and not _is_async(listener)):
        return listener
    raise InvalidRequestError(
        f"on_event must be a plain function of one event, not {_kind(listener)}",
        field="on_event",
    )


def _kind(value: object) -> str:
    return "a coroutine function" if _is_async(value) else type(value).__name__


def _is_async(value: object) -> bool:
    call = getattr(type(value), "__call__", None)  # noqa: B004  it is looked into, not for
    return iscoroutinefunction(value) or iscoroutinefunction(call)


def _as_voice(voice: Voice | str | None) -> Voice | None:
    if voice is None or isinstance(voice, Voice):
        return voice
    if isinstance(voice, str):
        return Voice(voice)
    raise InvalidRequestError(
        f"voice must be Voice, str or None, not {type(voice).__name__}", field="voice"
    )


def check_timeout(timeout_s: float | None) -> None:
    """Refuse a deadline that is not a positive number of seconds, a day at most."""
    if timeout_s == 0:
        raise InvalidRequestError("timeout_s must be more than 0, not 0", field="timeout_s")
    require_number("timeout_s", timeout_s, minimum=0, maximum=MAX_TIMEOUT_S)


def check_type(field: str, value: object, kind: type[T]) -> T | None:
    """Refuse a value that is neither None nor of the kind that the parameter takes."""
    if value is None or isinstance(value, kind):
        return value
    raise InvalidRequestError(
        f"{field} must be {kind.__name__} or None, not {type(value).__name__}", field=field
    )

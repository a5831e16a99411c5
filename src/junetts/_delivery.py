"""One backend's delivery of an utterance, or of what is left of one."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Protocol

import anyio

from junetts._backend import BackendAudio, TtsBackend
from junetts._breaker import Use
from junetts._errors import BackendUnavailableError
from junetts._replay import Reader
from junetts._utterance import Utterance

READ_AHEAD_ITEMS = 2  # one is taken while the next is made; the listener's channel is the buffer
CLEANUP_TIMEOUT_S = 5.0


class Delivery(Protocol):
    """Audio from one backend; `start` first, `aclose` last.

    Attributes:
        backend: its name.
        is_hurried: it was given a short deadline, because another could take over.
        in_own_voice: it does not speak in the voice that was asked for.
        use: what the monitor knows it by.
        audio: what it yields, once started.
    """

    backend: str
    is_hurried: bool
    in_own_voice: bool
    use: Use

    @property
    def audio(self) -> AsyncIterator[BackendAudio]:
        """What it yields, once started."""

    async def start(self) -> None:
        """Return once it has sound, or nothing to say; raises why it has not."""

    async def aclose(self) -> None:
        """Stop it, and release what it holds."""


class InlineDelivery:
    """A delivery in the caller's own task: nothing stands between the backend and the caller."""

    def __init__(
        self,
        backend: TtsBackend,
        utterance: Utterance,
        reader: Reader,
        *,
        is_hurried: bool,
        in_own_voice: bool,
        use: Use,
    ) -> None:
        self.backend = backend.name
        self.is_hurried = is_hurried
        self.in_own_voice = in_own_voice
        self.use = use
        self._speaking = backend.speak(utterance, reader)
        self._stack = AsyncExitStack()
        self._audio: AsyncIterator[BackendAudio] | None = None

    @property
    def audio(self) -> AsyncIterator[BackendAudio]:
        """What the backend yields."""
        assert self._audio is not None
        return self._audio

    async def start(self) -> None:
        """Enter the backend, which waits for sound."""
        self._audio = await self._stack.enter_async_context(self._speaking)

    async def aclose(self) -> None:
        """Leave the backend."""
        await self._stack.aclose()


class TaskDelivery:
    """A delivery in a task of its own, so that two can race for the first sound.

    Guarantees: the backend is entered and left in that task; at most a few items are made ahead;
    after `cancel` nothing of it is heard; after `aclose` the task has ended.

    Attributes:
        known: done once it is known whether there is sound.
    """

    def __init__(
        self,
        backend: TtsBackend,
        utterance: Utterance,
        reader: Reader,
        *,
        is_hurried: bool,
        in_own_voice: bool,
        use: Use,
    ) -> None:
        self.backend = backend.name
        self.is_hurried = is_hurried
        self.in_own_voice = in_own_voice
        self.use = use
        self._items: asyncio.Queue[BackendAudio | None] = asyncio.Queue(READ_AHEAD_ITEMS)
        self.known: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._is_entered = False
        self._is_cancelled = False
        self._is_leaving = False
        self._failure: Exception | None = None
        self._task = asyncio.create_task(
            self._run(backend, utterance, reader), name=f"junetts {backend.name}"
        )

    @property
    def audio(self) -> AsyncIterator[BackendAudio]:
        """What the backend yields."""
        return self

    def __aiter__(self) -> TaskDelivery:
        return self

    async def __anext__(self) -> BackendAudio:
        item = await self._items.get()
        if item is not None:
            return item
        self._items.put_nowait(None)
        self._raise_failure()
        raise StopAsyncIteration

    async def start(self) -> None:
        """Wait until it has sound; without waiting if that is known."""
        await asyncio.wait([self.known])
        if not self._is_entered:
            self._raise_failure()

    def cancel(self) -> None:
        """Stop it; its resources are back after `aclose`."""
        if not (self._is_cancelled or self._is_leaving):  # it would disturb the cleanup
            self._task.cancel()
        self._is_cancelled = True

    async def aclose(self) -> None:
        """Stop it, and wait until it has released everything."""
        self.cancel()
        with anyio.CancelScope(shield=True):
            await asyncio.wait([self._task], timeout=CLEANUP_TIMEOUT_S)

    async def _run(self, backend: TtsBackend, utterance: Utterance, reader: Reader) -> None:
        try:
            await self._pass_on(backend, utterance, reader)
        except asyncio.CancelledError:
            if self._is_cancelled:
                raise
            self._failure = BackendUnavailableError(
                "the backend cancelled itself", backend=self.backend, retryable=False
            )
        except Exception as error:  # noqa: BLE001  (noqa: reviewed) raised to the one who takes
            self._failure = error
        self._know()
        if not self._is_cancelled:  # else there may be no room, and nobody who makes any
            await self._items.put(None)

    async def _pass_on(self, backend: TtsBackend, utterance: Utterance, reader: Reader) -> None:
        async with backend.speak(utterance, reader) as audio:
            self._is_entered = True
            self._know()
            async for item in audio:
                await self._items.put(item)
            self._is_leaving = True

    def _know(self) -> None:
        if not self.known.done():
            self.known.set_result(None)

    def _raise_failure(self) -> None:
        if self._failure is not None:
            raise self._failure

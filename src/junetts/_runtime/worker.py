"""The thread in which the model lives."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from threading import Condition, Thread
from typing import Protocol

from junetts._errors import EngineError, JuneTtsError
from junetts._runtime.job import Failure, Job


class Steps(Protocol):
    """What the thread drives: a `Scheduler`, in practice."""

    def add(self, job: Job) -> None:
        """Accept a job."""

    def step(self) -> bool:
        """Do a little; False if there is nothing to do."""

    def abort(self, error: JuneTtsError) -> None:
        """End every job, for this reason."""


class Worker:
    """Loads the model when it is first needed, and steps it for as long as there is work.

    Guarantees: everything of torch happens in one thread; a model that could not be loaded is
    tried again by the next one who needs it; no call here waits for the model.

    Args:
        load: makes the scheduler; called in the thread.
    """

    def __init__(self, load: Callable[[], Steps]) -> None:
        self._load = load
        self._changed = Condition()
        self._new: deque[Job] = deque()
        self._thread: Thread | None = None
        self._ready: Future[None] = Future()
        self._is_awake = False
        self._is_closed = False

    def start(self) -> Future[None]:
        """Load the model, unless it is; the result is an error if that fails."""
        with self._changed:
            if self._is_closed:
                closed: Future[None] = Future()
                closed.set_exception(_closed())
                return closed
            if self._thread is None or (self._ready.done() and self._ready.exception()):
                self._ready = Future()
                self._thread = Thread(
                    target=self._run, args=(self._ready,), name="junetts-engine", daemon=True
                )
                self._thread.start()
            return self._ready

    def submit(self, job: Job) -> None:
        """Speak a job as soon as the model is there; why it cannot be is delivered to the job."""
        job.wake = self._wake
        self._new.append(job)
        ready = self.start()
        self._wake()
        ready.add_done_callback(lambda done: self._refuse(job, done.exception()))

    def close(self) -> Thread | None:
        """Stop after the frame in hand; the thread to wait for, if there is one."""
        with self._changed:
            self._is_closed = True
            self._changed.notify()
        return self._thread

    def _refuse(self, job: Job, error: BaseException | None) -> None:
        if isinstance(error, JuneTtsError):
            job.deliver(Failure(error=error))

    def _wake(self) -> None:
        with self._changed:
            self._is_awake = True
            self._changed.notify()

    def _run(self, ready: Future[None]) -> None:
        try:
            scheduler = self._load()
        except Exception as error:  # noqa: BLE001  (noqa: reviewed) passed to those who wait
            self._new.clear()
            ready.set_exception(_ours(error))
            return
        ready.set_result(None)
        self._work(scheduler)
        self._accept(scheduler)
        scheduler.abort(_closed())

    def _work(self, scheduler: Steps) -> None:
        while not self._is_closed:
            self._accept(scheduler)
            try:
                if not scheduler.step():
                    self._rest()
            except Exception as error:  # noqa: BLE001  (noqa: reviewed) passed to every owner
                scheduler.abort(_ours(error))

    def _accept(self, scheduler: Steps) -> None:
        while self._new:
            scheduler.add(self._new.popleft())

    def _rest(self) -> None:
        """Wait until somebody wants something; nothing that happened meanwhile is missed."""
        with self._changed:
            self._changed.wait_for(lambda: self._is_awake or self._is_closed)
            self._is_awake = False


def _ours(error: Exception) -> JuneTtsError:
    from junetts._runtime.failures import as_junetts_error  # torch, which is loaded by now

    return as_junetts_error(error)


def _closed() -> EngineError:
    return EngineError("the engine has been closed")

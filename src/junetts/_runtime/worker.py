"""The thread in which the model lives."""

from __future__ import annotations

import atexit
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from threading import Condition, Thread
from typing import Protocol

from junetts._errors import EngineError, JuneTtsError
from junetts._runtime.failures import another, as_junetts_error
from junetts._runtime.job import Job

EXIT_TIMEOUT_S = 5.0  # a frame takes far less


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
    tried again by the next one who needs it; every job is spoken, or told why not; no call here
    waits for the model. When the interpreter exits, the thread ends first: one that came back
    from torch later would take the process down.

    Args:
        load: makes the scheduler; called in the thread. It should give up, with any error, once
            `is_closed`.
    """

    def __init__(self, load: Callable[[], Steps]) -> None:
        self._load = load
        self._changed = Condition()
        self._new: deque[Job] = deque()
        self._thread: Thread | None = None
        self._ready: Future[None] = Future()
        self._is_running = False
        self._is_awake = False
        self._is_closed = False

    @property
    def is_closed(self) -> bool:
        """Whether the model is not wanted any more."""
        return self._is_closed

    def start(self) -> Future[None]:
        """Load the model, unless it is; the result is an error if that fails."""
        with self._changed:
            return self._start()

    def submit(self, job: Job) -> None:
        """Speak a job as soon as the model is there; why it cannot be is delivered to the job."""
        job.wake = self._wake
        with self._changed:
            is_late = self._is_closed
            if not is_late:
                self._new.append(job)
                self._start()
                self._is_awake = True
                self._changed.notify()
        if is_late:
            job.fail(_closed())

    def close(self) -> Thread | None:
        """Stop after the frame in hand; the thread to wait for, if there is one."""
        with self._changed:
            self._is_closed = True
            self._changed.notify()
        atexit.unregister(self._leave)
        return self._thread

    def _start(self) -> Future[None]:
        """Have a thread; the lock is held."""
        if self._is_closed:
            closed: Future[None] = Future()
            closed.set_exception(_closed())
            return closed
        if not self._is_running:
            if self._thread is None:
                atexit.register(self._leave)
            self._is_running = True
            self._ready = Future()
            self._ready.set_running_or_notify_cancel()  # from here on, nobody can cancel it
            self._thread = Thread(
                target=self._run, args=(self._ready,), name="junetts-engine", daemon=True
            )
            self._thread.start()
        return self._ready

    def _leave(self) -> None:
        """The interpreter exits."""
        thread = self.close()
        if thread is not None:
            thread.join(EXIT_TIMEOUT_S)

    def _wake(self) -> None:
        with self._changed:
            self._is_awake = True
            self._changed.notify()

    def _run(self, ready: Future[None]) -> None:
        try:
            scheduler = self._load()
        except Exception as error:  # noqa: BLE001  (noqa: reviewed) passed to those who wait
            self._give_up(ready, as_junetts_error(error))
            return
        ready.set_result(None)
        self._work(scheduler)
        scheduler.abort(_closed())
        self._refuse(_closed())

    def _give_up(self, ready: Future[None], error: JuneTtsError) -> None:
        """Tell all who wait; whoever comes from here on starts anew."""
        with self._changed:
            self._is_running = False
            jobs, self._new = self._new, deque()
        ready.set_exception(error)
        for job in jobs:
            job.fail(another(error))

    def _work(self, scheduler: Steps) -> None:
        while not self._is_closed:
            self._accept(scheduler)
            try:
                if not scheduler.step():
                    self._rest()
            except Exception as error:  # noqa: BLE001  (noqa: reviewed) passed to every owner
                scheduler.abort(as_junetts_error(error))

    def _accept(self, scheduler: Steps) -> None:
        while self._new:
            job = self._new.popleft()
            try:
                scheduler.add(job)
            except Exception as error:  # noqa: BLE001  (noqa: reviewed) passed to the owner
                job.fail(as_junetts_error(error))

    def _refuse(self, error: JuneTtsError) -> None:
        while self._new:
            self._new.popleft().fail(another(error))

    def _rest(self) -> None:
        """Wait until somebody wants something; nothing that happened meanwhile is missed."""
        with self._changed:
            self._changed.wait_for(lambda: self._is_awake or self._is_closed)
            self._is_awake = False


def _closed() -> EngineError:
    return EngineError("the engine has been closed")

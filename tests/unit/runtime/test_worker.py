"""The model's thread: loading, stepping, resting, closing."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Callable
from queue import Empty, Queue

import pytest
import torch

from junetts import (
    BackendUnavailableError,
    EngineError,
    JuneTtsError,
    OutOfMemoryError,
    Sampling,
)
from junetts._runtime.job import Failure, Job, Sound, SpeakRequest
from junetts._runtime.worker import Worker

WAIT_S = 10


class Echo:
    """A scheduler that answers each text with as many samples as it has letters."""

    def __init__(self) -> None:
        self.jobs: list[Job] = []
        self.n_steps = 0
        self.threads: set[str] = set()

    def add(self, job: Job) -> None:
        """Accept a job."""
        self.jobs.append(job)

    def step(self) -> bool:
        """Answer one text."""
        self.n_steps += 1
        self.threads.add(threading.current_thread().name)
        for job in self.jobs:
            if job.has_text and not job.is_ahead:
                segment, text = job.next_text()
                job.deliver(sound(segment, len(text)))
                return True
        return False

    def abort(self, error: JuneTtsError) -> None:
        """End every job."""
        for job in self.jobs:
            job.fail(error)
        self.jobs.clear()


def sound(segment: int, n_samples: int) -> Sound:
    """A segment's only sound."""
    return Sound(segment=segment, samples=torch.zeros(n_samples), end="complete")


def job_and_queue(**options: int) -> tuple[Job, Queue[Sound | Failure]]:
    """A job, and what is delivered to it."""
    delivered: Queue[Sound | Failure] = Queue()
    return Job(SpeakRequest(sampling=Sampling()), delivered.put, **options), delivered


def closed(worker: Worker) -> None:
    """Close the worker and see its thread end."""
    thread = worker.close()
    if thread is not None:
        thread.join(WAIT_S)
        assert not thread.is_alive()


def test_a_job_is_spoken_in_the_models_thread() -> None:
    """Text goes in, sound comes out, and all of it happens in one thread."""
    echo = Echo()
    worker = Worker(lambda: echo)
    job, delivered = job_and_queue()
    worker.submit(job)
    job.say(0, "four")
    first = delivered.get(timeout=WAIT_S)
    job.say(1, "seven..")
    second = delivered.get(timeout=WAIT_S)
    closed(worker)
    assert isinstance(first, Sound)
    assert isinstance(second, Sound)
    assert (first.segment, first.samples.shape[0]) == (0, 4)
    assert (second.segment, second.samples.shape[0]) == (1, 7)
    assert echo.threads == {"junetts-engine"}


def test_it_rests_when_there_is_nothing_to_do() -> None:
    """Between two texts the thread waits, and does not spin."""
    echo = Echo()
    worker = Worker(lambda: echo)
    job, delivered = job_and_queue()
    worker.submit(job)
    for index in range(20):
        job.say(index, "x")
        delivered.get(timeout=WAIT_S)
    closed(worker)
    assert echo.n_steps < 100


def test_a_listener_who_takes_wakes_the_model() -> None:
    """A job that is ahead rests, and goes on when something was taken."""
    worker = Worker(Echo)
    job, delivered = job_and_queue(max_ahead_samples=3)
    worker.submit(job)
    job.say(0, "four")
    job.say(1, "more")
    assert isinstance(delivered.get(timeout=WAIT_S), Sound)
    assert job.is_ahead
    assert delivered.empty()
    job.took(4)
    assert isinstance(delivered.get(timeout=WAIT_S), Sound)
    closed(worker)


def test_the_model_is_loaded_once() -> None:
    """Starting again finds what is there."""
    n_loads = 0

    def load() -> Echo:
        nonlocal n_loads
        n_loads += 1
        return Echo()

    worker = Worker(load)
    worker.start().result(WAIT_S)
    worker.start().result(WAIT_S)
    closed(worker)
    assert n_loads == 1


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (OutOfMemoryError("too small"), OutOfMemoryError),
        (MemoryError(), OutOfMemoryError),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: 8 bytes"), OutOfMemoryError),
        (KeyError("weight"), EngineError),
        (ImportError("libcudart.so: no such file"), BackendUnavailableError),
    ],
)
def test_why_it_cannot_be_loaded_reaches_every_job(
    error: Exception, expected: type[JuneTtsError]
) -> None:
    """Jobs before and after the failure are told, in our words, and loading is tried again."""
    loads: list[Callable[[], Echo]] = []

    def load() -> Echo:
        loads.append(load)
        if len(loads) < 3:
            raise error
        return Echo()

    worker = Worker(load)
    with pytest.raises(expected):
        worker.start().result(WAIT_S)
    failed, failures = job_and_queue()
    worker.submit(failed)
    failure = failures.get(timeout=WAIT_S)
    assert isinstance(failure, Failure)
    assert isinstance(failure.error, expected)
    job, delivered = job_and_queue()
    worker.submit(job)
    job.say(0, "now")
    assert isinstance(delivered.get(timeout=WAIT_S), Sound)
    closed(worker)


def test_closing_ends_what_was_being_said() -> None:
    """An open job hears that it is over, and the thread is gone."""
    worker = Worker(Echo)
    job, delivered = job_and_queue()
    worker.submit(job)
    worker.start().result(WAIT_S)
    closed(worker)
    failure = delivered.get(timeout=WAIT_S)
    assert isinstance(failure, Failure)
    assert isinstance(failure.error, EngineError)


def test_after_closing_nothing_starts() -> None:
    """A job that comes too late is refused; closing twice is harmless."""
    worker = Worker(Echo)
    assert worker.close() is None
    job, delivered = job_and_queue()
    worker.submit(job)
    failure = delivered.get(timeout=WAIT_S)
    assert isinstance(failure, Failure)
    assert "closed" in failure.error.message
    assert worker.close() is None


def test_an_error_outside_of_any_utterance_ends_all_and_the_thread_goes_on() -> None:
    """A fault of the scheduler's own is told to every owner; the next job is spoken."""

    class Faulty(Echo):
        def step(self) -> bool:
            if self.n_steps == 0 and self.jobs:
                self.n_steps = 1
                raise KeyError("slot")
            return super().step()

    worker = Worker(Faulty)
    job, delivered = job_and_queue()
    worker.submit(job)
    failure = delivered.get(timeout=WAIT_S)
    assert isinstance(failure, Failure)
    assert isinstance(failure.error.__cause__, KeyError)
    job, delivered = job_and_queue()
    worker.submit(job)
    job.say(0, "next")
    assert isinstance(delivered.get(timeout=WAIT_S), Sound)
    closed(worker)


def test_a_cancelled_job_is_told_nothing_more() -> None:
    """What is made after the owner has left is dropped."""
    job, delivered = job_and_queue()
    job.cancel()
    job.deliver(sound(0, 5))
    assert delivered.empty()


def test_each_utterance_has_an_error_of_its_own() -> None:
    """What was heard is written into it; two that wait for one loading must not share that."""
    begun, go = threading.Event(), threading.Event()

    def load() -> Echo:
        begun.set()
        assert go.wait(WAIT_S)
        raise KeyError("weight")

    worker = Worker(load)
    (one, ones), (other, others) = job_and_queue(), job_and_queue()
    worker.submit(one)
    assert begun.wait(WAIT_S)
    worker.submit(other)
    go.set()
    failures = [delivered.get(timeout=WAIT_S) for delivered in (ones, others)]
    first, second = (f.error for f in failures if isinstance(f, Failure))
    assert first is not second
    assert first.message == second.message
    assert isinstance(first.__cause__, KeyError)
    assert isinstance(second.__cause__, KeyError)
    closed(worker)


def test_every_job_is_spoken_or_told_why_not() -> None:
    """Whenever it comes: while a loading fails, right after that, or while the next one begins."""
    n_loads = 0

    def load() -> Echo:
        nonlocal n_loads
        n_loads += 1
        if n_loads % 500:
            raise EngineError("not today")
        return Echo()

    worker = Worker(load)
    unanswered: list[int] = []

    def submit(n_jobs: int) -> None:
        for index in range(n_jobs):
            job, delivered = job_and_queue()
            worker.submit(job)
            job.say(0, "x")
            try:
                delivered.get(timeout=2)
            except Empty:
                unanswered.append(index)
                return

    submitters = [threading.Thread(target=submit, args=(200,)) for _ in range(4)]
    for thread in submitters:
        thread.start()
    for thread in submitters:
        thread.join()
    closed(worker)
    assert unanswered == []


def test_a_job_that_is_not_accepted_is_told() -> None:
    """And the thread goes on."""

    class Picky(Echo):
        def add(self, job: Job) -> None:
            if not self.n_steps:
                self.n_steps = 1
                raise MemoryError
            super().add(job)

    worker = Worker(Picky)
    refused, failures = job_and_queue()
    worker.submit(refused)
    failure = failures.get(timeout=WAIT_S)
    assert isinstance(failure, Failure)
    assert isinstance(failure.error, OutOfMemoryError)
    job, delivered = job_and_queue()
    worker.submit(job)
    job.say(0, "next")
    assert isinstance(delivered.get(timeout=WAIT_S), Sound)
    closed(worker)


def test_an_owner_who_cannot_be_told_hurts_nobody(caplog: pytest.LogCaptureFixture) -> None:
    """What it raises is logged, the others hear of the failure, and the thread goes on."""

    class Faulty(Echo):
        def step(self) -> bool:
            if len(self.jobs) == 2:
                raise KeyError("slot")
            return super().step()

    def deaf(_: object) -> None:
        raise ZeroDivisionError

    worker = Worker(Faulty)
    worker.submit(Job(SpeakRequest(sampling=Sampling()), deaf))
    other, others = job_and_queue()
    worker.submit(other)
    assert isinstance(others.get(timeout=WAIT_S), Failure)
    job, delivered = job_and_queue()
    worker.submit(job)
    job.say(0, "next")
    assert isinstance(delivered.get(timeout=WAIT_S), Sound)
    closed(worker)
    assert "could not be told" in caplog.text


def test_nobody_who_waits_can_stop_the_loading() -> None:
    """A waiter that is cancelled must not take the result from the others."""
    go = threading.Event()

    def load() -> Echo:
        assert go.wait(WAIT_S)
        return Echo()

    worker = Worker(load)
    assert not worker.start().cancel()
    go.set()
    worker.start().result(WAIT_S)
    closed(worker)


def test_closing_while_the_model_is_loaded_refuses_those_who_wait() -> None:
    """The loading can see that it is not wanted; whatever it does then, everyone is told."""
    begun = threading.Event()

    def load() -> Echo:
        begun.set()
        while not worker.is_closed:
            begun.wait()
        return Echo()

    worker = Worker(load)
    job, delivered = job_and_queue()
    worker.submit(job)
    assert begun.wait(WAIT_S)
    closed(worker)
    failure = delivered.get(timeout=WAIT_S)
    assert isinstance(failure, Failure)
    assert "closed" in failure.error.message


COMPUTING = """
import threading
import torch
from junetts._runtime.worker import Worker

class Busy:
    x = torch.randn(400, 400)
    def add(self, job): ...
    def abort(self, error): ...
    def step(self):
        (self.x @ self.x).sum().item()
        begun.set()
        return True

def load():
    if {is_loading}:
        begun.set()
        while not worker.is_closed:
            (Busy.x @ Busy.x).sum().item()
        raise RuntimeError("not wanted")
    return Busy()

begun = threading.Event()
worker = Worker(load)
worker.start()
begun.wait()
"""


@pytest.mark.parametrize("is_loading", [False, True])
def test_the_interpreter_can_exit_at_any_time(is_loading: bool) -> None:
    """Although the thread is in the middle of something, and nobody has closed it."""
    code = COMPUTING.format(is_loading=is_loading)
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, check=False)
    assert (result.returncode, result.stdout, result.stderr) == (0, b"", b"")

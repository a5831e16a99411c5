"""The model's thread: loading, stepping, resting, closing."""

from __future__ import annotations

import threading
from collections.abc import Callable
from queue import Queue

import pytest
import torch

from junetts import EngineError, JuneTtsError, OutOfMemoryError, Sampling
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
            job.deliver(Failure(error=error))
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

"""The demo voice's child process, seen from the parent."""

from __future__ import annotations

import asyncio
import sys
from collections import deque
from itertools import count
from pathlib import Path
from types import TracebackType
from typing import Self, cast

import anyio

import junetts
from junetts.backends._demo_frames import (
    Frame,
    FrameDecoder,
    Kind,
    SpeakRequest,
    encode_frame,
    encode_request,
)
from junetts.backends._demo_languages import VoiceTable, parse_voice

START_TIMEOUT_S = 10.0
# How long a child may be silent before it is taken to hang and killed, where it owes an answer
# to a cancelled request.
SILENCE_S = 1.0
GRACE_S = 0.5  # for the child to end by itself, which takes about a millisecond
CLOSE_TIMEOUT_S = 5.0  # for the system to end it
# Per request, and about 45 s of sound: most segments fit, so that a listener who reads in real
# time does not keep the child from speaking for others. Beyond it the child's pipe fills.
MAX_WAITING_BYTES = 2**21
_KEPT_STDERR_BYTES = 2000
# Isolated from the user's directory and environment; only the standard library and this package.
_BOOTSTRAP = (
    "import sys; sys.path.append(sys.argv[1]); "
    "from junetts.backends._demo_child import main; main(*sys.argv[2:])"
)


class ProcessDiedError(Exception):
    """The child process ended; the message says how, and repeats its last words."""


class Job:
    """One request to the child: its answers, in order.

    Leaving its context before the end stops the child at once; what it still sends for this
    request is dropped.
    """

    def __init__(self, process: DemoProcess, number: int) -> None:
        self.number = number
        self.is_discarded = False
        self.waiting_bytes = 0
        self.watch: asyncio.TimerHandle | None = None  # for an answer that is owed
        self._process = process
        self._frames: deque[Frame] = deque()
        self._death: str | None = None
        self._news = asyncio.Event()

    def put(self, frame: Frame) -> None:
        """Take in an answer."""
        self.waiting_bytes += len(frame.payload)
        self._frames.append(frame)
        self._news.set()

    def fail(self, death: str) -> None:
        """Note that no more answers can come, and why."""
        self._death = death
        self._news.set()

    async def receive(self) -> Frame:
        """The next answer.

        Raises:
            ProcessDiedError: there is none, because the child is gone.
        """
        while not self._frames:
            if self._death is not None:
                raise ProcessDiedError(self._death)
            self._news.clear()
            await self._news.wait()
        frame = self._frames.popleft()
        self.waiting_bytes -= len(frame.payload)
        self._process.relieve()
        return frame

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.is_discarded = True
        self._frames.clear()
        self.waiting_bytes = 0
        self._process.discard(self)


class DemoProcess(asyncio.SubprocessProtocol):
    """One child process, from its start to its end; it is not started again.

    Requests are spoken one after another in the order of `submit`. `aclose` leaves no process,
    file descriptor or transport behind, whenever it is called.
    """

    def __init__(self) -> None:
        self.sample_rate = 0
        self.version = ""
        self.table = VoiceTable(())
        self.is_paused = False  # no more is read, because nobody takes what was
        self._loop = asyncio.get_running_loop()
        self._is_ready = False
        self._settled = asyncio.Event()
        self._complaint = ""
        self._gone = asyncio.Event()
        self._transport: asyncio.SubprocessTransport | None = None
        self._decoder = FrameDecoder()
        self._jobs: dict[int, Job] = {}
        self._numbers = count(1)
        self._n_reads = 0
        self._is_closing = False
        self._stderr = b""

    @property
    def is_alive(self) -> bool:
        """Whether it is ready and can take requests."""
        running = self._transport is not None and self._transport.get_returncode() is None
        return running and self._is_ready and not self._is_closing

    @property
    def is_gone(self) -> bool:
        """Whether it has ended and all that it said has been taken in."""
        return self._gone.is_set()

    @property
    def pid(self) -> int:
        """Its process id."""
        return cast(asyncio.SubprocessTransport, self._transport).get_pid()

    async def start(self, library: str, data: str) -> None:
        """Start the child and wait until it is ready, or cannot be; `is_alive` says which."""
        root = str(Path(junetts.__file__).parents[1])
        command = [sys.executable, "-I", "-S", "-c", _BOOTSTRAP, root, library, data]
        try:
            await self._loop.subprocess_exec(lambda: self, *command, start_new_session=True)
            if not self._is_closing:
                with anyio.fail_after(START_TIMEOUT_S):
                    await self._settled.wait()
        except TimeoutError:
            self._complaint = f"it was not ready within {START_TIMEOUT_S:g} s"
        except (OSError, NotImplementedError) as error:
            self._complaint = f"it cannot be started here: {error!r}"
        finally:
            if not self.is_alive:
                await self.aclose()

    def submit(self, request: SpeakRequest) -> Job:
        """Have something spoken after everything submitted before."""
        job = Job(self, next(self._numbers))
        if not self.is_alive:
            job.fail(self.death())
            return job
        self._jobs[job.number] = job
        self._send(Frame(Kind.SPEAK, job.number, encode_request(request)))
        return job

    def discard(self, job: Job) -> None:
        """Stop a request if it is not over; kills the child if it does not obey."""
        if job.number in self._jobs and self.is_alive:
            self._send(Frame(Kind.CANCEL, job.number))
            self._watch(job)
        self.relieve()

    def relieve(self) -> None:
        """Go on reading from the child if its answers are being taken."""
        if self.is_paused and not self._is_full(MAX_WAITING_BYTES // 2):
            self.is_paused = False
            self._stdout().resume_reading()

    async def aclose(self) -> None:
        """End the child and wait until it is gone; one that hangs is killed."""
        self._is_closing = True
        if self._transport is None:
            return
        try:
            self._pipe(0).close()  # the child ends with its input
            self._stdout().resume_reading()  # its end is the end of its output
            await self._wait_until_gone(GRACE_S)
        finally:
            self._transport.close()
            await self._wait_until_gone(CLOSE_TIMEOUT_S)

    async def _wait_until_gone(self, timeout_s: float) -> None:
        with anyio.CancelScope(shield=True), anyio.move_on_after(timeout_s):
            await self._gone.wait()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Part of the protocol: the child runs."""
        self._transport = cast(asyncio.SubprocessTransport, transport)

    def pipe_data_received(self, fd: int, data: bytes) -> None:
        """Part of the protocol: the child wrote something."""
        if fd == 2:
            self._stderr = (self._stderr + data)[-_KEPT_STDERR_BYTES:]
            return
        self._n_reads += 1
        try:
            frames = self._decoder.feed(data)
        except ValueError as error:
            self._complaint = f"it sent no frame: {error}"
            self._kill()
            return
        for frame in frames:
            self._dispatch(frame)
        if not self.is_paused and self._is_full(MAX_WAITING_BYTES):
            self.is_paused = True
            self._stdout().pause_reading()

    def connection_lost(self, exc: Exception | None) -> None:
        """Part of the protocol: the child is gone and has been read to its end."""
        cast(asyncio.SubprocessTransport, self._transport).close()
        death = self.death()
        self._settled.set()
        for job in list(self._jobs.values()):
            self._close(job)
            job.fail(death)
        self._gone.set()

    def _dispatch(self, frame: Frame) -> None:
        if frame.kind is Kind.READY:
            self._introduce(frame.payload.decode())
        elif frame.kind is Kind.BROKEN:
            self._complaint = frame.payload.decode()
        elif job := self._jobs.get(frame.request):
            if frame.kind is Kind.DONE:
                self._close(job)
            if not job.is_discarded:
                job.put(frame)

    def _introduce(self, description: str) -> None:
        first, *voices = description.split("\n")
        rate, self.version = first.split("\t")
        self.sample_rate = int(rate)
        self.table = VoiceTable(map(parse_voice, voices))
        self._is_ready = True
        self._settled.set()

    def _close(self, job: Job) -> None:
        del self._jobs[job.number]
        if job.watch is not None:
            job.watch.cancel()

    def _watch(self, job: Job) -> None:
        job.watch = self._loop.call_later(SILENCE_S, self._check, job, self._n_reads)

    def _check(self, job: Job, n_reads: int) -> None:
        if self.is_paused or self._n_reads > n_reads:
            self._watch(job)
        elif self.is_alive:
            self._complaint = "it hung"
            self._kill()

    def _is_full(self, limit: int) -> bool:
        return any(job.waiting_bytes > limit for job in self._jobs.values())

    def _kill(self) -> None:
        cast(asyncio.SubprocessTransport, self._transport).kill()

    def _send(self, frame: Frame) -> None:
        cast(asyncio.WriteTransport, self._pipe(0)).write(encode_frame(frame))

    def _stdout(self) -> asyncio.ReadTransport:
        return cast(asyncio.ReadTransport, self._pipe(1))

    def _pipe(self, fd: int) -> asyncio.BaseTransport:
        pipe = cast(asyncio.SubprocessTransport, self._transport).get_pipe_transport(fd)
        return cast(asyncio.BaseTransport, pipe)

    def death(self) -> str:
        """How it ended, with its last words."""
        status = None if self._transport is None else self._transport.get_returncode()
        how = f"signal {-status}" if status is not None and status < 0 else f"exit status {status}"
        what = f"died ({how})" if self._is_ready else "could not start"
        last_words = self._stderr.decode("utf-8", "replace").strip().splitlines()[-1:]
        words = [self._complaint] if self._complaint else last_words
        return ": ".join([f"the demo voice's process {what}", *words])

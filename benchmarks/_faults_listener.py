"""What every library's driver shares: the text, the recording, the time limit, what is left behind.

It runs in the environments of the peers, so that it needs nothing but the standard library.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path

SENTENCES = (
    "The quick brown fox jumps.",
    "Over seven lazy dogs tonight.",
    "While nobody else was watching.",
    "They slept until morning came.",
)
TEXT = " ".join(SENTENCES)
WORDS = tuple(word.strip(".").lower() for word in TEXT.split())
WARM_UP = "Warm up, please."
FAULT_WORD = 8  # the first one that is not heard whole: 40 % of the twenty words came before
SOURCE_FAILS_AT = 12  # words that the text source yields before it raises
LEAVES_AFTER_S = 1.0  # of audio, where the listener leaves early
GRACE_S = 0.5  # between the end and the look at what is left
STOP_S = 20.0  # for a library to stop when its listener has given up
TOKEN_S = 0.01  # between two words of the text
SAMPLE_RATE = 44_100
BYTES_PER_S = 2 * SAMPLE_RATE
SOURCE_FAILS = "source"
LEAVES = "leave"


class SourceFailedError(Exception):
    """The text's source broke."""


@dataclass(kw_only=True)
class Situation:
    """One run: which script, whom to ask, how long, and where the recording goes."""

    script: str
    peer: str
    primary: dict[str, str]
    backup: dict[str, str]
    deadline_s: float
    limit_s: float
    recording: str


@dataclass(kw_only=True)
class Result:
    """What came of it; times are seconds, ``left_at`` by the wall clock."""

    version: str
    raised: str | None = None
    hangs: bool = False
    told: str = ""
    ended_s: float = 0.0
    left_at: float = 0.0
    left_behind: dict[str, int] = field(default_factory=dict)

    def leave(self) -> None:
        """Say that the listener has left the speech, which is before the client is closed."""
        self.left_at = time.time()


def read_situation() -> Situation:
    """The run that the command line describes."""
    return Situation(**json.loads(sys.argv[1]))


class Recorder:
    """Keeps what is heard in a file, so that it survives a driver that has to be killed."""

    def __init__(self, path: str) -> None:
        self._file = Path(path).open("wb", buffering=0)  # noqa: SIM115  lives as long as the run
        self.n_bytes = 0

    def hear(self, pcm: bytes) -> None:
        """Take a piece of speech."""
        self._file.write(pcm)
        self.n_bytes += len(pcm)

    @property
    def has_enough(self) -> bool:
        """Whether a listener who leaves early would leave now."""
        return self.n_bytes >= LEAVES_AFTER_S * BYTES_PER_S


def tokens(script: str) -> Iterator[str]:
    """The text word by word, as a language model would send it."""
    for i, word in enumerate(TEXT.split()):
        if script == SOURCE_FAILS and i == SOURCE_FAILS_AT:
            raise SourceFailedError("the text's source broke")
        yield word + " "


async def tokens_async(script: str) -> AsyncIterator[str]:
    """`tokens`, at the pace of a fast language model."""
    for token in tokens(script):
        yield token
        await asyncio.sleep(TOKEN_S)


def tokens_blocking(script: str) -> Iterator[str]:
    """`tokens_async` for a library of threads."""
    for token in tokens(script):
        yield token
        time.sleep(TOKEN_S)


def described(error: BaseException) -> str:
    """An error's type and the beginning of its message, groups unfolded."""
    message = " ".join(str(error).split())
    if isinstance(error, BaseExceptionGroup):
        message = "; ".join(described(inner) for inner in error.exceptions)
    name = type(error).__name__
    return f"{name}: {message[:140]}" if message else name


def n_sockets() -> int:
    """How many sockets this process holds; 0 where the system does not tell."""
    folder = Path("/proc/self/fd")
    if not folder.exists():
        return 0
    links = []
    for entry in folder.iterdir():
        try:
            links.append(os.readlink(entry))
        except OSError:  # the one that read the folder
            continue
    return sum(link.startswith("socket:") for link in links)


def census() -> dict[str, int]:
    """What this process holds now."""
    try:
        n_tasks = len(asyncio.all_tasks())
    except RuntimeError:  # no event loop
        n_tasks = 0
    return {"tasks": n_tasks, "sockets": n_sockets(), "threads": threading.active_count()}


def surplus(before: dict[str, int]) -> dict[str, int]:
    """What is held beyond that."""
    return {name: n - before[name] for name, n in census().items() if n > before[name]}


async def measured(
    situation: Situation,
    result: Result,
    *,
    warm_up: Callable[[], Awaitable[None]],
    listen: Callable[[], Awaitable[None]],
) -> None:
    """Time `listen`, after a `warm_up` that shows what is held in any case; print the result.

    Both open whatever client they need and close it as its documentation says.
    """
    await quietly(warm_up())
    await asyncio.sleep(GRACE_S)
    before = census()
    started_at = time.time()
    listening = asyncio.ensure_future(listen())
    done, _ = await asyncio.wait([listening], timeout=situation.limit_s)
    result.ended_s = (result.left_at or time.time()) - started_at
    result.hangs = not done
    if not done:
        listening.cancel()
        await asyncio.wait([listening], timeout=STOP_S)
    elif listening.cancelled():
        result.raised = "CancelledError in the listener's task, which nobody cancelled"
    elif (error := listening.exception()) is not None:
        result.raised = described(error)
        error.__traceback__ = None
        del error
    del listening, done
    result.left_at = result.left_at or time.time()
    await asyncio.sleep(GRACE_S)
    result.left_behind = surplus(before)
    finish(result)


async def quietly(warm_up: Awaitable[None]) -> None:
    """Await, and let failure be: it is what some scripts are about."""
    try:
        async with asyncio.timeout(5):
            await warm_up
    except Exception as error:  # noqa: BLE001
        print(f"warm-up: {described(error)}", file=sys.stderr)


def finish(result: Result) -> None:
    """Print the result, and be gone whatever is still running."""
    print(json.dumps(asdict(result)), flush=True)
    sys.stderr.flush()
    os._exit(0)

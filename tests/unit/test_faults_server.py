"""The fish-speech server's faults, byte by byte as they come over the wire."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from dataclasses import dataclass, field

import httpx
import pytest

from junetts.testing import (
    AT_END,
    BEFORE_ANSWER,
    BEFORE_SOUND,
    Fault,
    FaultKind,
    FaultPlan,
    FaultRule,
    FishServer,
    Where,
    after_bytes,
    after_events,
)
from junetts.testing._tone import speech_like
from virtual_time import VIRTUAL_TIME

pytestmark = pytest.mark.anyio

TEXT = "Hi you"
PCM = speech_like(TEXT, sample_rate=44_100)  # 26,460 bytes
CHUNK_BYTES = 4096
PATIENCE_S = 1000.0
HEAD_END = b"\r\n\r\n"
BODY = {"text": TEXT, "streaming": True, "format": "wav"}

Ending = str


@pytest.fixture
def anyio_backend() -> tuple[str, dict[str, object]]:
    """No test here waits for real time."""
    return VIRTUAL_TIME


@dataclass
class Answer:
    """What came over one connection, and how it ended: ``eof``, ``reset`` or ``silence``."""

    data: bytes = b""
    ending: Ending = "silence"
    arrivals: list[tuple[float, int]] = field(default_factory=list)

    @property
    def head(self) -> bytes:
        """The status line and the headers."""
        return self.data.partition(HEAD_END)[0]

    @property
    def body(self) -> bytes:
        """What follows them, as it is."""
        return self.data.partition(HEAD_END)[2]

    def chunks(self) -> tuple[list[bytes], bytes]:
        """The whole chunks of the body, an empty one if it is the last, and what follows."""
        chunks, rest = [], self.body
        while (found := rest.partition(b"\r\n"))[1]:
            size = int(found[0], 16) if found[0].isalnum() else -1
            if size < 0 or found[2][size : size + 2] != b"\r\n":
                break
            chunks.append(found[2][:size])
            rest = found[2][size + 2 :]
        return chunks, rest

    @property
    def is_success(self) -> bool:
        """Whether the last chunk came."""
        chunks, rest = self.chunks()
        return bool(chunks) and chunks[-1] == b"" and not rest

    @property
    def pcm(self) -> bytes:
        """All audio in whole chunks."""
        return b"".join(self.chunks()[0])


def request_bytes(text: str = TEXT) -> bytes:
    """A request to speak, after which the server hangs up."""
    body = json.dumps(BODY | {"text": text}).encode()
    head = (
        "POST /v1/tts HTTP/1.1\r\nHost: test\r\nContent-Type: application/json\r\n"
        f"Connection: close\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


async def ask(server: FishServer, text: str = TEXT) -> Answer:
    """One request over a connection of its own."""
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    writer.write(request_bytes(text))
    answer = Answer()
    try:
        await _read(reader, answer)
    finally:
        writer.transport.abort()
    return answer


async def _read(reader: asyncio.StreamReader, answer: Answer) -> None:
    while True:
        try:
            async with asyncio.timeout(PATIENCE_S):
                data = await reader.read(2**16)
        except TimeoutError:
            return
        except ConnectionResetError:
            answer.ending = "reset"
            return
        if not data:
            answer.ending = "eof"
            return
        answer.data += data
        answer.arrivals.append((asyncio.get_running_loop().time(), len(data)))


def server_with(plan: FaultPlan) -> FishServer:
    """A server that sends audio in several chunks."""
    return FishServer(chunk_bytes=CHUNK_BYTES, faults=plan)


async def answer_with(kind: FaultKind, where: Where = BEFORE_SOUND, **settings: object) -> Answer:
    """What a server answers that has one fault, always, in its speech."""
    fault = Fault(kind=kind, where=where, **settings)  # type: ignore[arg-type]
    plan = FaultPlan(FaultRule(fault=fault, when=lambda _: True))
    async with server_with(plan) as server:
        return await ask(server)


WHERE = [
    pytest.param(BEFORE_SOUND, 0, id="before sound"),
    pytest.param(after_bytes(1), 1, id="after a byte"),
    pytest.param(after_bytes(5001), 5001, id="after bytes"),
    pytest.param(after_events(2), 2 * CHUNK_BYTES, id="after events"),
    pytest.param(AT_END, len(PCM), id="at the end"),
]


async def test_a_plan_without_rules_changes_nothing() -> None:
    """The answer is the usual, chunk by chunk."""
    async with server_with(FaultPlan()) as server:
        answer = await ask(server)
    assert answer.head.startswith(b"HTTP/1.1 200")
    assert answer.is_success
    assert answer.pcm == PCM
    assert [len(chunk) for chunk in answer.chunks()[0]] == [*[4096] * 6, 1884, 0]


async def test_only_speech_is_struck() -> None:
    """Health, voices and refused requests are answered as ever."""
    plan = FaultPlan(FaultRule(fault=Fault(kind=FaultKind.RESET), when=lambda _: True))
    async with server_with(plan) as server, httpx.AsyncClient(base_url=server.url) as client:
        assert (await client.get("/v1/health")).status_code == 200
        assert (await client.get("/v1/references/list")).status_code == 200
        assert (await client.post("/v1/tts", json={"text": 3})).status_code == 422
        assert plan.strikes == []


@pytest.mark.parametrize("kind", [FaultKind.CLOSE, FaultKind.TRUNCATE])
@pytest.mark.parametrize(("where", "n_bytes"), WHERE)
async def test_hanging_up_between_chunks(kind: FaultKind, where: Where, n_bytes: int) -> None:
    """The last chunk does not come."""
    answer = await answer_with(kind, where)
    assert answer.head.startswith(b"HTTP/1.1 200")
    assert (answer.pcm, answer.chunks()[1], answer.ending) == (PCM[:n_bytes], b"", "eof")
    assert not answer.is_success


@pytest.mark.parametrize(("where", "n_bytes"), WHERE)
async def test_hanging_up_within_a_chunk(where: Where, n_bytes: int) -> None:
    """A chunk is announced that does not come in full."""
    answer = await answer_with(FaultKind.DROP, where)
    assert (answer.pcm, answer.ending) == (PCM[:n_bytes], "eof")
    assert answer.chunks()[1] == b"1000\r\n"


@pytest.mark.parametrize("kind", [FaultKind.FINISH_ERROR, FaultKind.ERROR_EVENT, FaultKind.STATUS])
@pytest.mark.parametrize(("where", "n_bytes"), WHERE[1:])
async def test_it_is_too_late_for_a_status(kind: FaultKind, where: Where, n_bytes: int) -> None:
    """Generation that fails while streaming ends as fish-speech ends it."""
    answer = await answer_with(kind, where)
    assert (answer.pcm, answer.chunks()[1], answer.ending) == (PCM[:n_bytes], b"", "eof")
    assert not answer.is_success


@pytest.mark.parametrize("where", [BEFORE_ANSWER, BEFORE_SOUND])
@pytest.mark.parametrize(
    ("kind", "status"),
    [(FaultKind.FINISH_ERROR, 500), (FaultKind.ERROR_EVENT, 429), (FaultKind.STATUS, 402)],
)
@pytest.mark.parametrize("when", [None, lambda text: text == TEXT])
async def test_a_status(
    kind: FaultKind, status: int, where: Where, when: Callable[[str], bool] | None
) -> None:
    """Before sound there is an answer of another status, with the words and the wait."""
    fault = Fault(kind=kind, where=where, status=402, retry_after_s=3, message="not today")
    plan = FaultPlan(FaultRule(fault=fault, when=when, times=1))
    async with server_with(plan) as server:
        answer = await ask(server)
        assert answer.head.startswith(f"HTTP/1.1 {status} ".encode())
        assert b"retry-after: 3" in answer.head.lower()
        assert b"not today" in answer.body
        if kind is FaultKind.STATUS:
            await server.mend()
        assert (await ask(server)).is_success


@pytest.mark.parametrize("kind", [FaultKind.RESET, FaultKind.REFUSE])
@pytest.mark.parametrize(("where", "n_bytes"), WHERE)
async def test_resetting(kind: FaultKind, where: Where, n_bytes: int) -> None:
    """The connection is reset, and what is underway may be lost."""
    answer = await answer_with(kind, where)
    assert answer.ending == "reset"
    assert not answer.is_success
    assert PCM[:n_bytes].startswith(answer.pcm)


HANGING = [
    FaultKind.STALL,
    FaultKind.HALF_OPEN,
    FaultKind.NEVER_ANSWER,
    FaultKind.NEVER_ACCEPT,
    FaultKind.OK_THEN_NOTHING,
]


@pytest.mark.parametrize("kind", HANGING)
@pytest.mark.parametrize(("where", "n_bytes"), WHERE)
async def test_hanging(kind: FaultKind, where: Where, n_bytes: int) -> None:
    """No more comes, and the connection stays."""
    answer = await answer_with(kind, where)
    assert (answer.pcm, answer.ending) == (PCM[:n_bytes], "silence")
    is_unanswered = where is BEFORE_SOUND and kind in (
        FaultKind.NEVER_ANSWER,
        FaultKind.NEVER_ACCEPT,
    )
    assert (answer.data == b"") == is_unanswered


@pytest.mark.parametrize("kind", [FaultKind.STALL, FaultKind.HALF_OPEN])
async def test_others_are_served_once_the_client_has_left(kind: FaultKind) -> None:
    """One that stalls is busy until then; one that is gone holds nobody up."""
    plan = FaultPlan(FaultRule(fault=Fault(kind=kind, where=after_events(1)), times=1))
    async with server_with(plan) as server:
        await ask(server)
        assert (await ask(server)).is_success
        assert server.n_open == (1 if kind is FaultKind.HALF_OPEN else 0)
    assert server.n_open == 0


@pytest.mark.parametrize(("where", "n_bytes"), WHERE)
async def test_a_trickle(where: Where, n_bytes: int) -> None:
    """All audio comes, some of it in a few bytes at a time and after a pause."""
    answer = await answer_with(FaultKind.TRICKLE, where, trickle_bytes=2, trickle_pause_s=0.5)
    assert answer.is_success
    assert answer.pcm == PCM
    chunks, _ = answer.chunks()
    assert 60 <= [len(chunk) for chunk in chunks].count(2) <= 64
    assert answer.arrivals[-1][0] - answer.arrivals[0][0] == pytest.approx(32, abs=1)


@pytest.mark.parametrize(("where", "n_bytes"), WHERE)
async def test_a_late_end(where: Where, n_bytes: int) -> None:
    """All audio comes at once, and the last chunk long after it."""
    answer = await answer_with(FaultKind.LATE_FINISH, where, delay_s=600)
    assert answer.is_success
    assert answer.pcm == PCM
    (sent_s, _), (ended_s, size) = answer.arrivals[-2:]
    assert (ended_s - sent_s, size) == (pytest.approx(600, abs=1), len(b"0\r\n\r\n"))


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        (FaultKind.DUPLICATE, lambda n: PCM[: n + 4096] + PCM[n : n + 4096] + PCM[n + 4096 :]),
        (
            FaultKind.REORDER,
            lambda n: PCM[:n] + PCM[n + 4096 : n + 8192] + PCM[n : n + 4096] + PCM[n + 8192 :],
        ),
        (FaultKind.ZEROS, lambda n: PCM[:n] + bytes(len(PCM) - n)),
        (FaultKind.WRONG_RATE, lambda n: PCM[:n] + memoryview(PCM[n:]).cast("h")[::2].tobytes()),
        (FaultKind.NO_AUDIO, lambda n: PCM[:n]),
    ],
)
@pytest.mark.parametrize(
    ("where", "n_bytes"),
    [(BEFORE_SOUND, 0), (after_events(3), 3 * 4096), (after_bytes(4096), 4096)],
)
async def test_audio_that_is_changed(
    kind: FaultKind, expected: Callable[[int], bytes], where: Where, n_bytes: int
) -> None:
    """Success is claimed for audio that is not what it should be."""
    answer = await answer_with(kind, where)
    assert answer.is_success
    assert answer.pcm == expected(n_bytes)


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        (FaultKind.DUPLICATE, PCM[: 6 * 4096] + PCM[5 * 4096 :]),
        (FaultKind.REORDER, PCM[: 5 * 4096] + PCM[6 * 4096 :] + PCM[5 * 4096 : 6 * 4096]),
        (FaultKind.ZEROS, PCM[: 5 * 4096] + bytes(4096 + 1884)),
        (FaultKind.NO_AUDIO, PCM[: 5 * 4096]),
    ],
)
async def test_audio_that_is_changed_at_the_end(kind: FaultKind, expected: bytes) -> None:
    """There it is the last two chunks that suffer."""
    answer = await answer_with(kind, AT_END)
    assert answer.is_success
    assert answer.pcm == expected


@pytest.mark.parametrize("kind", [FaultKind.WRONG_RATE, FaultKind.ZEROS])
async def test_a_header_is_left_as_it_is(kind: FaultKind) -> None:
    """The rate that a WAV header declares is the one that is not kept."""
    usual, struck = [], []
    for plan, answers in ((FaultPlan(), usual), (FaultPlan(Fault(kind=kind)), struck)):
        async with server_with(plan) as server, httpx.AsyncClient(base_url=server.url) as client:
            answers.append((await client.post("/v1/tts", json={"text": TEXT})).content)
    assert struck[0][:44] == usual[0][:44]
    assert struck[0][:4] == b"RIFF"
    assert len(struck[0]) == 44 + len(PCM) // (2 if kind is FaultKind.WRONG_RATE else 1)


async def test_a_single_chunk_is_reordered_in_halves() -> None:
    """Two halves change places where there are no two chunks."""
    async with FishServer(faults=FaultPlan(Fault(kind=FaultKind.REORDER))) as server:
        answer = await ask(server)
    half = len(PCM) // 4 * 2
    assert answer.pcm == PCM[half:] + PCM[:half]


@pytest.mark.parametrize("kind", [FaultKind.REORDER, FaultKind.NO_AUDIO, FaultKind.DUPLICATE])
async def test_a_single_chunk_is_divided(kind: FaultKind) -> None:
    """All audio in one chunk, as fish-speech sends it, can be struck at its end, too."""
    plan = FaultPlan(Fault(kind=kind, where=AT_END))
    async with FishServer(faults=plan) as server:
        answer = await ask(server)
    half = len(PCM) // 4 * 2
    expected = {
        FaultKind.REORDER: PCM[half:] + PCM[:half],
        FaultKind.NO_AUDIO: b"",
        FaultKind.DUPLICATE: PCM[:half] + PCM,
    }
    assert answer.pcm == expected[kind]


@pytest.mark.parametrize(("where", "n_bytes"), WHERE)
async def test_garbage(where: Where, n_bytes: int) -> None:
    """Where a chunk's size belongs there is none; then all goes on."""
    answer = await answer_with(FaultKind.CORRUPT, where)
    chunks, rest = answer.chunks()
    assert b"".join(chunks) == PCM[:n_bytes]
    assert rest.startswith(b"\x00\xff")
    assert rest.endswith(b"0\r\n\r\n")


@pytest.mark.parametrize(("where", "n_bytes"), WHERE)
async def test_a_huge_line(where: Where, n_bytes: int) -> None:
    """A chunk's first line is longer than anyone should read."""
    answer = await answer_with(FaultKind.HUGE_FRAME, where)
    chunks, rest = answer.chunks()
    assert b"".join(chunks) == PCM[:n_bytes]
    assert rest.startswith(b"1;xxxx")
    assert len(rest) > 2**20


BEFORE_THE_HEAD = {
    FaultKind.CLOSE: (b"", "eof"),
    FaultKind.TRUNCATE: (b"", "eof"),
    FaultKind.DROP: (b"", "eof"),
    FaultKind.RESET: (b"", "reset"),
    FaultKind.STALL: (b"", "silence"),
    FaultKind.HALF_OPEN: (b"", "silence"),
    FaultKind.NEVER_ANSWER: (b"", "silence"),
    FaultKind.CORRUPT: (b"\x00\xff", "eof"),
    FaultKind.HUGE_FRAME: (b"HTTP/1.1 200 OK\r\nX-Filler: xxx", "eof"),
}


@pytest.mark.parametrize("when", [None, lambda text: text == TEXT])
@pytest.mark.parametrize("kind", BEFORE_THE_HEAD)
async def test_before_the_head(kind: FaultKind, when: Callable[[str], bool] | None) -> None:
    """A fault can strike before a byte is answered, whether or not it asks what is wanted."""
    plan = FaultPlan(FaultRule(fault=Fault(kind=kind, where=BEFORE_ANSWER), when=when, times=1))
    async with server_with(plan) as server:
        answer = await ask(server)
        start, ending = BEFORE_THE_HEAD[kind]
        assert answer.data[: len(start)] == start
        assert bool(answer.data) == bool(start)
        assert answer.ending == ending
        await server.mend()
        assert (await ask(server)).is_success


async def test_200_then_nothing() -> None:
    """The head comes, whatever is asked of it, and no more."""
    for where in (BEFORE_ANSWER, BEFORE_SOUND):
        answer = await answer_with(FaultKind.OK_THEN_NOTHING, where)
        assert answer.head.startswith(b"HTTP/1.1 200")
        assert (answer.body, answer.ending) == (b"", "silence")


async def test_a_port_that_is_shut() -> None:
    """Refused or ignored, until it opens by itself."""
    for kind in (FaultKind.REFUSE, FaultKind.NEVER_ACCEPT):
        async with server_with(FaultPlan(Fault(kind=kind, lasts_s=60))) as server:
            with pytest.raises((ConnectionRefusedError, TimeoutError)):
                async with asyncio.timeout(30):
                    await ask(server)
            await asyncio.sleep(61)
            assert (await ask(server)).is_success


@pytest.mark.parametrize("kind", [FaultKind.STATUS, FaultKind.NEVER_ANSWER])
async def test_a_door_that_shuts_in_a_segment_is_shut_for_health_too(kind: FaultKind) -> None:
    """From then on nobody is let in, whatever for, until the server is mended."""
    plan = FaultPlan(FaultRule(fault=Fault(kind=kind, where=after_events(1)), times=1))
    async with server_with(plan) as server:
        await ask(server)
        async with httpx.AsyncClient(base_url=server.url, timeout=30) as client:
            if kind is FaultKind.STATUS:
                assert (await client.get("/v1/health")).status_code == 503
            else:
                with pytest.raises(httpx.ReadTimeout):
                    await client.get("/v1/health")
            await server.mend()
            assert (await client.get("/v1/health")).status_code == 200


@pytest.mark.parametrize("kind", FaultKind)
async def test_a_server_that_closes_leaves_nothing(kind: FaultKind) -> None:
    """Whatever a fault is waiting for, closing ends it."""
    before = asyncio.all_tasks()
    fault = Fault(kind=kind, where=after_events(1), lasts_s=1e6, delay_s=1e6)
    async with server_with(FaultPlan(fault)) as server:
        _, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(request_bytes())
        await server.until(lambda: bool(server.calls))
        for _ in range(20):
            await asyncio.sleep(0)
        await server.aclose()
        assert asyncio.all_tasks() == before
        writer.transport.abort()


async def test_a_door_that_was_opened_and_shut_again_stays_shut() -> None:
    """Each time it shuts, it is for the whole time."""
    fault = Fault(kind=FaultKind.STATUS, where=after_events(1), lasts_s=60)
    plan = FaultPlan(FaultRule(fault=fault, times=2))
    async with server_with(plan) as server:
        await ask(server)
        await asyncio.sleep(50)
        await server.mend()
        await ask(server)
        assert len(plan.strikes) == 2
        await asyncio.sleep(50)
        assert (await ask(server)).head.startswith(b"HTTP/1.1 503")
        await asyncio.sleep(20)
        assert (await ask(server)).is_success

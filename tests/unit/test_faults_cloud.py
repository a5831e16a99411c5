"""The cloud server's faults, as a client without any cleverness sees them on the wire."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

import ormsgpack
import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidMessage, InvalidStatus

from junetts.testing import (
    AFTER_END,
    AT_END,
    BEFORE_ANSWER,
    BEFORE_SOUND,
    CloudServer,
    Fault,
    FaultKind,
    FaultPlan,
    FaultRule,
    Where,
    after_bytes,
    after_events,
)
from junetts.testing._tone import speech_like
from virtual_time import VIRTUAL_TIME

pytestmark = pytest.mark.anyio

TEXT = "Hello there, world."
PCM = speech_like(TEXT, sample_rate=8000)  # 15,200 bytes: three events and a short one
EVENT_BYTES = 4096
PATIENCE_S = 1000.0


@pytest.fixture
def anyio_backend() -> tuple[str, dict[str, object]]:
    """No test here waits for real time."""
    return VIRTUAL_TIME


@dataclass
class Heard:
    """What a client got: each event's audio, and how it ended, and when."""

    audio: list[bytes] = field(default_factory=list)
    garbage: list[bytes] = field(default_factory=list)
    ending: dict[str, object] | ConnectionClosed | None = None
    times_s: list[float] = field(default_factory=list)

    @property
    def pcm(self) -> bytes:
        """All the audio."""
        return b"".join(self.audio)

    @property
    def is_success(self) -> bool:
        """Whether the server said so."""
        return isinstance(self.ending, dict) and self.ending.get("reason") == "stop"

    def closed(self) -> ConnectionClosed:
        """The close, which was the ending."""
        assert isinstance(self.ending, ConnectionClosed)
        return self.ending


async def say(socket: ClientConnection, text: str) -> None:
    """Ask for a text."""
    request = {"text": "", "format": "pcm", "sample_rate": 8000}
    for message in (
        {"event": "start", "request": request},
        {"event": "text", "text": text},
        {"event": "stop"},
    ):
        await socket.send(ormsgpack.packb(message))


async def listen(socket: ClientConnection) -> Heard:
    """Hear until the session ends, or nothing comes for long."""
    heard, loop = Heard(), asyncio.get_running_loop()
    while heard.ending is None:
        try:
            async with asyncio.timeout(PATIENCE_S):
                message = await socket.recv()
        except ConnectionClosed as closed:
            heard.ending = closed
            break
        except TimeoutError:
            break
        heard.times_s.append(loop.time())
        assert isinstance(message, bytes)
        take(heard, message)
    return heard


def take(heard: Heard, message: bytes) -> None:
    """Sort one message in."""
    try:
        event = ormsgpack.unpackb(message)
    except ormsgpack.MsgpackDecodeError:
        heard.garbage.append(message)
        return
    if event["event"] == "audio":
        heard.audio.append(event["audio"])
    else:
        heard.ending = event


async def ask(server: CloudServer, text: str = TEXT) -> Heard:
    """One session over a socket of its own."""
    async with dial(server) as socket:
        await say(socket, text)
        return await listen(socket)


def dial(server: CloudServer) -> connect:
    """A socket that takes everything and pings never."""
    return connect(
        server.url, compression=None, max_size=None, ping_interval=None, close_timeout=0.1
    )


async def heard_with(
    kind: FaultKind, where: Where = BEFORE_SOUND, **settings: object
) -> tuple[Heard, CloudServer]:
    """What is heard of a server that has one fault, always."""
    fault = Fault(kind=kind, where=where, **settings)  # type: ignore[arg-type]
    async with CloudServer(faults=FaultPlan(FaultRule(fault=fault, when=lambda _: True))) as server:
        return await ask(server), server


WHERE = [
    pytest.param(BEFORE_SOUND, 0, id="before sound"),
    pytest.param(after_bytes(1), 1, id="after a byte"),
    pytest.param(after_bytes(5001), 5001, id="after bytes"),
    pytest.param(after_events(2), 2 * EVENT_BYTES, id="after events"),
    pytest.param(AT_END, len(PCM), id="at the end"),
    pytest.param(after_events(1000), len(PCM), id="after more than there is"),
]


async def test_a_plan_without_rules_changes_nothing() -> None:
    """The audio is the usual, over one socket for many sessions."""
    async with CloudServer(faults=FaultPlan()) as server, dial(server) as socket:
        for _ in range(3):
            await say(socket, TEXT)
            heard = await listen(socket)
            assert heard.is_success
            assert [len(audio) for audio in heard.audio] == [4096, 4096, 4096, 2912]
            assert heard.pcm == PCM
        assert server.n_connections == 1


@pytest.mark.parametrize(("where", "n_bytes"), WHERE)
async def test_closing_with_a_frame(where: Where, n_bytes: int) -> None:
    """An internal error is told in the close frame."""
    heard, _ = await heard_with(FaultKind.CLOSE, where, message="out of order")
    assert heard.pcm == PCM[:n_bytes]
    closed = heard.closed()
    assert closed.rcvd is not None
    assert (closed.rcvd.code, closed.rcvd.reason) == (1011, "out of order")


@pytest.mark.parametrize(("where", "n_bytes"), WHERE)
async def test_truncating(where: Where, n_bytes: int) -> None:
    """It looks like a normal end, but nothing was finished."""
    heard, _ = await heard_with(FaultKind.TRUNCATE, where)
    assert heard.pcm == PCM[:n_bytes]
    closed = heard.closed()
    assert closed.rcvd is not None
    assert closed.rcvd.code == 1000


@pytest.mark.parametrize("kind", [FaultKind.DROP, FaultKind.STATUS])
@pytest.mark.parametrize(("where", "n_bytes"), WHERE)
async def test_hanging_up(kind: FaultKind, where: Where, n_bytes: int) -> None:
    """No close frame comes, and no reset; a status comes too late on an open socket."""
    heard, _ = await heard_with(kind, where)
    assert heard.pcm == PCM[:n_bytes]
    assert heard.closed().rcvd is None
    assert not isinstance(heard.closed().__cause__, OSError)


@pytest.mark.parametrize("kind", [FaultKind.RESET, FaultKind.REFUSE])
@pytest.mark.parametrize(("where", "n_bytes"), WHERE)
async def test_resetting(kind: FaultKind, where: Where, n_bytes: int) -> None:
    """The connection is reset, and what is underway may be lost."""
    heard, _ = await heard_with(kind, where)
    assert PCM.startswith(heard.pcm)
    assert len(heard.pcm) <= n_bytes
    assert isinstance(heard.closed().__cause__, ConnectionResetError)


@pytest.mark.parametrize(
    "kind", [FaultKind.STALL, FaultKind.OK_THEN_NOTHING, FaultKind.NEVER_ANSWER]
)
@pytest.mark.parametrize(("where", "n_bytes"), WHERE)
async def test_stalling(kind: FaultKind, where: Where, n_bytes: int) -> None:
    """No more comes, but pings are answered, and the server ends when the client leaves."""
    fault = Fault(kind=kind, where=where)
    plan = FaultPlan(FaultRule(fault=fault, segment=0))
    async with CloudServer(faults=plan) as server:
        async with dial(server) as socket:
            await say(socket, TEXT)
            heard = await listen(socket)
            assert (heard.pcm, heard.ending) == (PCM[:n_bytes], None)
            await (await socket.ping())
        await server.until(lambda: server.n_open == 0)


@pytest.mark.parametrize("kind", [FaultKind.HALF_OPEN, FaultKind.NEVER_ACCEPT])
@pytest.mark.parametrize(("where", "n_bytes"), WHERE)
async def test_vanishing(kind: FaultKind, where: Where, n_bytes: int) -> None:
    """No more comes, no ping is answered, and the server does not notice that we leave."""
    fault = Fault(kind=kind, where=where)
    plan = FaultPlan(FaultRule(fault=fault, segment=0))
    async with CloudServer(faults=plan) as server:
        async with dial(server) as socket:
            await say(socket, TEXT)
            heard = await listen(socket)
            assert (heard.pcm, heard.ending) == (PCM[:n_bytes], None)
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(PATIENCE_S):
                    await (await socket.ping())
        assert server.n_open == 1
    assert server.n_open == 0


@pytest.mark.parametrize(("where", "n_bytes"), WHERE)
async def test_a_trickle(where: Where, n_bytes: int) -> None:
    """All audio comes, some of it in a few bytes at a time and after a pause."""
    heard, _ = await heard_with(FaultKind.TRICKLE, where, trickle_bytes=3, trickle_pause_s=0.5)
    assert heard.is_success
    assert heard.pcm == PCM
    tiny = [len(audio) for audio in heard.audio].count(3)
    assert 60 <= tiny <= 64
    assert heard.times_s[-1] - heard.times_s[0] == pytest.approx(32, abs=1)


@pytest.mark.parametrize(("where", "n_bytes"), WHERE)
async def test_duplicating(where: Where, n_bytes: int) -> None:
    """One event comes twice in a row; at the end it is one of the last two."""
    heard, _ = await heard_with(FaultKind.DUPLICATE, where)
    assert heard.is_success
    pairs = zip(heard.audio, heard.audio[1:], strict=False)
    (place,) = [i for i, (one, next_one) in enumerate(pairs) if one == next_one]
    assert b"".join(heard.audio[:place] + heard.audio[place + 1 :]) == PCM
    if n_bytes < len(PCM):
        assert len(b"".join(heard.audio[:place])) == n_bytes


@pytest.mark.parametrize(("where", "n_bytes"), WHERE)
async def test_reordering(where: Where, n_bytes: int) -> None:
    """Two events change places; at the end they are the last two."""
    heard, _ = await heard_with(FaultKind.REORDER, where)
    assert heard.is_success
    assert heard.pcm != PCM
    candidates = [
        [*heard.audio[:i], heard.audio[i + 1], heard.audio[i], *heard.audio[i + 2 :]]
        for i in range(len(heard.audio) - 1)
    ]
    (place,) = [i for i, order in enumerate(candidates) if b"".join(order) == PCM]
    if n_bytes < len(PCM):
        assert len(b"".join(heard.audio[:place])) == n_bytes
    else:
        assert place == len(heard.audio) - 2


@pytest.mark.parametrize(("where", "n_bytes"), WHERE)
async def test_garbage(where: Where, n_bytes: int) -> None:
    """A binary frame holds no event; the rest follows as if nothing had been."""
    heard, _ = await heard_with(FaultKind.CORRUPT, where)
    assert len(heard.garbage) == 1
    assert heard.is_success
    assert heard.pcm == PCM


@pytest.mark.parametrize(("where", "n_bytes"), WHERE)
async def test_a_wrong_rate(where: Where, n_bytes: int) -> None:
    """From there on, only every other sample comes."""
    heard, _ = await heard_with(FaultKind.WRONG_RATE, where)
    assert heard.is_success
    if n_bytes == len(PCM):
        n_bytes = 2 * EVENT_BYTES  # before the last two
    start = n_bytes + n_bytes % 2
    samples = memoryview(PCM[start:]).cast("h")[::2].tobytes()
    assert heard.pcm == PCM[:start] + samples


@pytest.mark.parametrize(("where", "n_bytes"), WHERE)
async def test_zeros(where: Where, n_bytes: int) -> None:
    """From there on, the same amount of silence comes."""
    heard, _ = await heard_with(FaultKind.ZEROS, where)
    assert heard.is_success
    if n_bytes == len(PCM):
        n_bytes = 2 * EVENT_BYTES
    start = n_bytes + n_bytes % 2
    assert heard.pcm == PCM[:start] + bytes(len(PCM) - start)


@pytest.mark.parametrize(("where", "n_bytes"), WHERE)
async def test_no_audio(where: Where, n_bytes: int) -> None:
    """Success is claimed, but there is no more; at the end the last two events are missing."""
    heard, _ = await heard_with(FaultKind.NO_AUDIO, where)
    assert heard.is_success
    assert heard.pcm == PCM[: 2 * EVENT_BYTES if n_bytes == len(PCM) else n_bytes]


@pytest.mark.parametrize(("where", "n_bytes"), WHERE)
async def test_a_failed_finish(where: Where, n_bytes: int) -> None:
    """The session ends with a reason that is no success; the socket stays."""
    heard, _ = await heard_with(FaultKind.FINISH_ERROR, where, message="no memory")
    assert heard.pcm == PCM[:n_bytes]
    assert heard.ending == {"event": "finish", "reason": "error", "message": "no memory"}


@pytest.mark.parametrize("limit", [5, None])
@pytest.mark.parametrize(("where", "n_bytes"), WHERE)
async def test_an_error_event(where: Where, n_bytes: int, limit: int | None) -> None:
    """The session is refused in-band, with or without the account's limit."""
    heard, _ = await heard_with(FaultKind.ERROR_EVENT, where, max_concurrency=limit, message="no")
    assert heard.pcm == PCM[:n_bytes]
    concurrency = {} if limit is None else {"max_concurrency": limit}
    assert heard.ending == {"event": "error", "error": "no", **concurrency}


@pytest.mark.parametrize(("where", "n_bytes"), WHERE)
async def test_a_late_finish(where: Where, n_bytes: int) -> None:
    """All audio comes at once, and the word of success long after it."""
    heard, _ = await heard_with(FaultKind.LATE_FINISH, where, delay_s=600)
    assert heard.is_success
    assert heard.pcm == PCM
    assert heard.times_s[-1] - heard.times_s[-2] == pytest.approx(600, abs=1)


@pytest.mark.parametrize(("where", "n_bytes"), WHERE)
async def test_a_huge_frame(where: Where, n_bytes: int) -> None:
    """One event is as large as was asked for; the rest follows."""
    heard, _ = await heard_with(FaultKind.HUGE_FRAME, where, huge_bytes=2**20)
    assert heard.is_success
    assert heard.audio.pop([len(audio) for audio in heard.audio].index(2**20)) == b"\x01" * 2**20
    assert heard.pcm == PCM


EARLY = [BEFORE_ANSWER, BEFORE_SOUND]


@pytest.mark.parametrize("where", EARLY)
async def test_refusing_connections(where: Where) -> None:
    """Nothing listens on the port until the server is mended."""
    async with CloudServer(faults=FaultPlan(Fault(kind=FaultKind.REFUSE, where=where))) as server:
        for _ in range(2):
            with pytest.raises(ConnectionRefusedError):
                await ask(server)
        await server.mend()
        assert (await ask(server)).pcm == PCM


@pytest.mark.parametrize("where", EARLY)
async def test_never_accepting(where: Where) -> None:
    """A connection is neither made nor refused; the server is told of none."""
    fault = Fault(kind=FaultKind.NEVER_ACCEPT, where=where)
    async with CloudServer(faults=FaultPlan(fault)) as server:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(PATIENCE_S):
                await asyncio.open_connection("127.0.0.1", server.port)
        assert server.n_connections == 0
        await server.mend()
        assert (await ask(server)).pcm == PCM


@pytest.mark.parametrize("kind", [FaultKind.REFUSE, FaultKind.NEVER_ACCEPT, FaultKind.STATUS])
async def test_a_door_that_shuts_in_a_segment_opens_after_its_time(kind: FaultKind) -> None:
    """Whoever comes meanwhile fares as the fault says."""
    fault = Fault(kind=kind, where=after_events(1), lasts_s=30.0)
    refusals = (ConnectionRefusedError, TimeoutError, InvalidStatus)
    plan = FaultPlan(FaultRule(fault=fault, times=1))
    async with CloudServer(faults=plan) as server:
        async with dial(server) as socket:
            began_s = asyncio.get_running_loop().time()
            await say(socket, TEXT)
            assert len(await socket.recv()) > 0
            with pytest.raises(refusals):
                async with asyncio.timeout(5):
                    await ask(server)
            await asyncio.sleep(began_s + 31 - asyncio.get_running_loop().time())
        assert (await ask(server)).pcm == PCM
    assert [strike.text for strike in plan.strikes] == [TEXT]


@pytest.mark.parametrize("where", EARLY)
@pytest.mark.parametrize("status", [401, 402, 429, 503])
async def test_a_status_instead_of_a_handshake(status: int, where: Where) -> None:
    """The upgrade is refused in plain HTTP."""
    fault = Fault(
        kind=FaultKind.STATUS, where=where, status=status, retry_after_s=7, message="go away"
    )
    async with CloudServer(faults=FaultPlan(FaultRule(fault=fault, times=1))) as server:
        with pytest.raises(InvalidStatus) as caught:
            await ask(server)
        response = caught.value.response
        assert response.status_code == status
        assert response.headers["retry-after"] == "7"
        assert b"go away" in bytes(response.body or b"")
        assert (await ask(server)).is_success


@pytest.mark.parametrize("kind", [FaultKind.NEVER_ANSWER, FaultKind.HALF_OPEN, FaultKind.STALL])
async def test_a_handshake_that_is_not_answered(kind: FaultKind) -> None:
    """The connection stands, and not a byte comes back."""
    fault = Fault(kind=kind, where=BEFORE_ANSWER)
    async with CloudServer(faults=FaultPlan(FaultRule(fault=fault, times=1))) as server:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(b"GET /v1/tts/live HTTP/1.1\r\nUpgrade: websocket\r\n\r\n")
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(PATIENCE_S):
                await reader.read(1)
        writer.close()
        await writer.wait_closed()
        assert (await ask(server)).is_success


@pytest.mark.parametrize(
    ("kind", "error"),
    [
        (FaultKind.CLOSE, InvalidMessage),
        (FaultKind.DROP, InvalidMessage),
        (FaultKind.TRUNCATE, InvalidMessage),
        (FaultKind.CORRUPT, InvalidMessage),
        (FaultKind.HUGE_FRAME, InvalidMessage),
        (FaultKind.RESET, (InvalidMessage, ConnectionResetError)),
        (FaultKind.FINISH_ERROR, InvalidStatus),
        (FaultKind.ERROR_EVENT, InvalidStatus),
    ],
)
async def test_a_handshake_that_breaks(
    kind: FaultKind, error: type[Exception] | tuple[type[Exception], ...]
) -> None:
    """Before anything is answered, a fault strikes the handshake."""
    fault = Fault(kind=kind, where=BEFORE_ANSWER)
    async with CloudServer(faults=FaultPlan(FaultRule(fault=fault, times=1))) as server:
        with pytest.raises(error):
            await ask(server)
        assert (await ask(server)).is_success


async def test_a_rule_about_text() -> None:
    """Only the text that is meant is struck, however often it is asked for."""
    fault = Fault(kind=FaultKind.DROP)
    plan = FaultPlan(FaultRule(fault=fault, when=lambda text: "two" in text))
    async with CloudServer(faults=plan) as server:
        outcomes = [(await ask(server, text)).is_success for text in ("one", "two", "one", "two")]
    assert outcomes == [True, False, True, False]


async def test_a_rule_about_a_segment() -> None:
    """Distinct texts count, over however many sockets, and a repeated one is the same."""
    fault = Fault(kind=FaultKind.DROP)
    async with CloudServer(faults=FaultPlan(FaultRule(fault=fault, segment=1))) as server:
        texts = ("one", "one", "two", "one", "two", "three")
        outcomes = [(await ask(server, text)).is_success for text in texts]
    assert outcomes == [True, True, False, True, False, True]


async def test_a_rule_about_a_request_and_how_often() -> None:
    """Requests count, repeated ones included; after its times a rule is spent."""
    drop, failure = Fault(kind=FaultKind.DROP), Fault(kind=FaultKind.FINISH_ERROR)
    plan = FaultPlan(
        FaultRule(fault=drop, request=1), FaultRule(fault=failure, when=str.islower, times=1)
    )
    async with CloudServer(faults=plan) as server:
        outcomes = [(await ask(server, text)).is_success for text in ("One", "one", "one", "one")]
    assert outcomes == [True, False, False, True]
    assert [strike.fault for strike in plan.strikes] == [drop, failure]


@pytest.mark.parametrize("kind", [FaultKind.REFUSE, FaultKind.RESET])
async def test_a_rule_about_a_connection(kind: FaultKind) -> None:
    """At the door, connections count; one that is refused so shuts the port behind it."""
    fault = Fault(kind=kind, where=BEFORE_ANSWER, lasts_s=1)
    async with CloudServer(faults=FaultPlan(FaultRule(fault=fault, request=1))) as server:
        assert (await ask(server)).is_success
        with pytest.raises((ConnectionResetError, InvalidMessage)):
            await ask(server)
        if kind is FaultKind.REFUSE:
            with pytest.raises(ConnectionRefusedError):
                await ask(server)
        await asyncio.sleep(2)
        assert (await ask(server)).is_success


async def test_text_that_is_flushed_is_a_portion_of_its_own() -> None:
    """A fault strikes the portion that is meant, and the session goes on after it."""
    fault = Fault(kind=FaultKind.ZEROS)
    plan = FaultPlan(FaultRule(fault=fault, when=lambda text: text == "one"))
    async with CloudServer(faults=plan) as server, dial(server) as socket:
        request = {"format": "pcm", "sample_rate": 8000}
        for message in (
            {"event": "start", "request": request},
            {"event": "text", "text": "one"},
            {"event": "flush"},
            {"event": "text", "text": "two"},
            {"event": "stop"},
        ):
            await socket.send(ormsgpack.packb(message))
        heard = await listen(socket)
    assert heard.is_success
    size = len(speech_like("one", sample_rate=8000))
    assert heard.pcm == bytes(size) + speech_like("two", sample_rate=8000)


@pytest.mark.parametrize("kind", FaultKind)
async def test_a_server_that_closes_leaves_nothing(kind: FaultKind) -> None:
    """Whatever a fault is waiting for, closing ends it."""
    before = asyncio.all_tasks()
    fault = Fault(kind=kind, where=after_events(1), lasts_s=1e6, delay_s=1e6)
    async with CloudServer(faults=FaultPlan(fault)) as server:
        async with dial(server) as socket:
            await say(socket, TEXT)
            await socket.recv()
        await server.aclose()
        assert asyncio.all_tasks() == before


@pytest.mark.parametrize(
    ("kind", "code"),
    [
        (FaultKind.CLOSE, 1011),
        (FaultKind.TRUNCATE, 1000),
        (FaultKind.DROP, None),
        (FaultKind.REFUSE, None),
        (FaultKind.ERROR_EVENT, 1000),
    ],
)
async def test_after_the_finish(kind: FaultKind, code: int | None) -> None:
    """All was well, and then the socket is lost."""
    plan = FaultPlan(Fault(kind=kind, where=AFTER_END))
    async with CloudServer(faults=plan) as server, dial(server) as socket:
        await say(socket, TEXT)
        heard = await listen(socket)
        assert heard.is_success
        assert heard.pcm == PCM
        closed = await listen(socket)
        if kind is FaultKind.ERROR_EVENT:
            assert closed.ending == {
                "event": "error",
                "error": "injected fault",
                "max_concurrency": 5,
            }
            closed = await listen(socket)
        frame = closed.closed().rcvd
        assert (None if frame is None else frame.code) == code
        if kind is FaultKind.REFUSE:
            with pytest.raises(ConnectionRefusedError):
                await ask(server)


async def test_the_door_shuts_when_the_fault_strikes() -> None:
    """Not before: others come in while the audio before it is sent."""
    waiting, going_on = asyncio.Event(), asyncio.Event()

    async def pace() -> None:
        waiting.set()
        await going_on.wait()

    fault = Fault(kind=FaultKind.REFUSE, where=after_events(2))
    plan = FaultPlan(FaultRule(fault=fault, when=lambda text: text == TEXT))
    async with CloudServer(faults=plan, pace=pace) as server, dial(server) as socket:
        await say(socket, TEXT)
        await waiting.wait()
        async with dial(server) as another:
            going_on.set()
            assert (await listen(socket)).closed()
            with pytest.raises(ConnectionRefusedError):
                await ask(server)
            await say(another, "Something else.")
            assert (await listen(another)).is_success


@pytest.mark.parametrize("kind", [FaultKind.ZEROS, FaultKind.LATE_FINISH])
async def test_what_cannot_come_after_the_finish(kind: FaultKind) -> None:
    """It strikes at the end instead."""
    heard, _ = await heard_with(kind, AFTER_END, delay_s=9)
    at_end, _ = await heard_with(kind, AT_END, delay_s=9)
    assert heard.is_success
    assert heard.audio == at_end.audio


async def test_a_door_that_is_shut_stays_as_it_is() -> None:
    """A second fault does not open what the first one shut, nor change how."""
    refuse = Fault(kind=FaultKind.REFUSE)
    status = Fault(kind=FaultKind.STATUS, lasts_s=1)
    plan = FaultPlan(
        FaultRule(fault=refuse, when=lambda text: text == "one"),
        FaultRule(fault=status, when=lambda text: text == "two"),
    )
    async with CloudServer(faults=plan) as server, dial(server) as first, dial(server) as second:
        for socket, text in ((first, "one"), (second, "two")):
            await say(socket, text)
            assert (await listen(socket)).closed()
        await asyncio.sleep(10)
        with pytest.raises(ConnectionRefusedError):
            await ask(server)


@pytest.mark.parametrize(
    "kind", [FaultKind.ZEROS, FaultKind.TRICKLE, FaultKind.LATE_FINISH, FaultKind.OK_THEN_NOTHING]
)
async def test_what_needs_a_session_spares_the_handshake(kind: FaultKind) -> None:
    """Asked for before the answer, it strikes the segment, whose answer is its audio."""
    plan = FaultPlan(Fault(kind=kind, where=BEFORE_ANSWER))
    async with CloudServer(faults=plan) as server:
        heard = await ask(server)
    assert [strike.text for strike in plan.strikes] == [TEXT]
    assert heard.is_success == (kind is not FaultKind.OK_THEN_NOTHING)


@pytest.mark.parametrize("kind", [FaultKind.CORRUPT, FaultKind.HUGE_FRAME])
async def test_a_stray_message_after_the_finish(kind: FaultKind) -> None:
    """It is all that follows: success is told once."""
    fault = Fault(kind=kind, where=AFTER_END, huge_bytes=2**20)
    async with CloudServer(faults=FaultPlan(fault)) as server, dial(server) as socket:
        await say(socket, TEXT)
        assert (await listen(socket)).is_success
        stray = await listen(socket)
        assert stray.ending is None
        assert len(stray.garbage + stray.audio) == 1

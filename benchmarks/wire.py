"""Receiving speech from the cloud's socket: junetts beside fish-audio-sdk, on one loopback server.

    pip install ".[demo]" -r benchmarks/requirements.txt && python benchmarks/wire.py

The server runs in a process of its own, so that CPU time is the client's alone. Every client
receives the same events; the clients take turns, and the median of the rounds is printed.
"""

from __future__ import annotations

import argparse
import asyncio
import multiprocessing
import platform
import statistics
import struct
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from multiprocessing.connection import Connection

KEY = "benchmark"
FRAMES_PER_WRITE = 64
TEXT = "A sentence."


def serve(pipe: Connection, n_events: int, event_bytes: int) -> None:
    """Answer each session with the same events, written as fast as the socket takes them."""
    from junetts._fishwire.codec import encode
    from junetts._fishwire.events import Audio
    from junetts.testing import CloudServer, CloudSession

    message = encode(Audio(audio=b"\x01\x02" * (event_bytes // 2)))
    frame = struct.pack("!BBH", 0x82, 126, len(message)) + message

    async def script(session: CloudSession) -> None:
        await session.receive_request()
        whole, rest = divmod(n_events, FRAMES_PER_WRITE)
        for _ in range(whole):
            await session.send_raw(frame * FRAMES_PER_WRITE)
        await session.send_raw(frame * rest)
        await session.finish()

    async def main() -> None:
        async with CloudServer(script=script) as server:
            pipe.send(server.port)
            await asyncio.get_running_loop().run_in_executor(None, pipe.recv)

    asyncio.run(main())


def junetts_config(port: int) -> dict[str, object]:
    """Settings for the loopback server."""
    url = f"ws://127.0.0.1:{port}/v1/tts/live"
    return {"backends": ["cloud"], "cloud": {"url": url, "api_keys": [KEY]}}


def bare_socket(port: int) -> int:
    """What the WebSocket library alone costs: frames are received and dropped."""
    from websockets.asyncio.client import connect

    from junetts._fishwire.codec import encode
    from junetts._fishwire.events import Start, Stop

    async def main() -> int:
        n_bytes = 0
        url = f"ws://127.0.0.1:{port}/v1/tts/live"
        async with connect(url, compression=None, max_size=None) as socket:
            await socket.send(encode(Start(request={})))
            await socket.send(encode(Stop()))
            while len(message := await socket.recv(decode=False)) > 100:
                n_bytes += len(message)
        return n_bytes

    return asyncio.run(main())


def junetts_async(port: int) -> int:
    """The facade: `async for chunk in tts.stream(text)`."""
    import junetts

    async def main() -> int:
        async with junetts.TTS(junetts_config(port)) as tts:
            return sum([len(chunk.pcm) async for chunk in tts.stream(TEXT)])

    return asyncio.run(main())


def junetts_sync(port: int) -> int:
    """The blocking API: `for chunk in junetts.stream(text)`."""
    import junetts

    return sum(len(chunk.pcm) for chunk in junetts.stream(TEXT, config=junetts_config(port)))


def sdk_async(port: int) -> int:
    """The official client, async."""
    from fishaudio import AsyncFishAudio

    async def texts() -> AsyncIterator[str]:
        yield TEXT

    async def main() -> int:
        async with AsyncFishAudio(api_key=KEY, base_url=f"http://127.0.0.1:{port}") as client:
            stream = client.tts.stream_websocket(texts(), format="pcm")
            return sum([len(chunk) async for chunk in stream])

    return asyncio.run(main())


def sdk_sync(port: int) -> int:
    """The official client, blocking."""
    from fishaudio import FishAudio

    with FishAudio(api_key=KEY, base_url=f"http://127.0.0.1:{port}") as client:
        stream: Iterator[bytes] = client.tts.stream_websocket(iter([TEXT]), format="pcm")
        return sum(len(chunk) for chunk in stream)


CLIENTS: dict[str, Callable[[int], int]] = {
    "websockets, bare": bare_socket,
    "junetts, async": junetts_async,
    "fish-audio-sdk, async": sdk_async,
    "junetts, blocking": junetts_sync,
    "fish-audio-sdk, blocking": sdk_sync,
}


def measure(
    port: int, *, n_events: int, event_bytes: int, n_rounds: int
) -> dict[str, tuple[float, float]]:
    """Median microseconds per event: wall and CPU, by client; the first round is not counted."""
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in CLIENTS}
    for _ in range(n_rounds + 1):
        for name, client in CLIENTS.items():
            wall, cpu = time.perf_counter(), time.process_time()
            n_bytes = client(port)
            wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
            if n_bytes < n_events * event_bytes:
                raise SystemExit(f"{name} received {n_bytes} bytes of {n_events * event_bytes}")
            times[name].append((wall / n_events * 1e6, cpu / n_events * 1e6))
    return {
        name: (statistics.median(w for w, _ in runs[1:]), statistics.median(c for _, c in runs[1:]))
        for name, runs in times.items()
    }


def import_ms(statement: str, *, n_processes: int) -> float:
    """Median milliseconds that a statement takes in a fresh process."""
    code = f"import time; t = time.perf_counter(); {statement}; print(time.perf_counter() - t)"
    runs = [
        float(subprocess.run([sys.executable, "-c", code], check=True, capture_output=True).stdout)
        for _ in range(n_processes)
    ]
    return statistics.median(runs) * 1e3


def print_events(results: dict[str, tuple[float, float]]) -> None:
    """The table of events."""
    print(f"{'client':<26}{'wall us/event':>15}{'CPU us/event':>15}{'CPU / SDK':>12}")
    for name, (wall, cpu) in results.items():
        sdk = "fish-audio-sdk, " + ("blocking" if name.endswith("blocking") else "async")
        print(f"{name:<26}{wall:>15.1f}{cpu:>15.1f}{cpu / results[sdk][1]:>12.2f}")


def print_imports(n_processes: int) -> None:
    """The table of imports."""
    statements = ["import junetts", "from junetts import TTS", "import fishaudio"]
    times = {s: import_ms(s, n_processes=n_processes) for s in statements}
    print(f"\n{'statement':<26}{'ms':>15}{'/ fishaudio':>15}")
    for statement, ms in times.items():
        print(f"{statement:<26}{ms:>15.1f}{ms / times['import fishaudio']:>15.3f}")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--events", type=int, default=20_000)
    parser.add_argument("--event-bytes", type=int, default=4096)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--processes", type=int, default=15)
    options = parser.parse_args()
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    arguments = (theirs, options.events, options.event_bytes)
    server = context.Process(target=serve, args=arguments, daemon=True)
    server.start()
    print(
        f"{options.events} events of {options.event_bytes} bytes, {options.rounds} rounds; "
        f"Python {platform.python_version()}, {platform.machine()}\n"
    )
    print_events(
        measure(
            ours.recv(),
            n_events=options.events,
            event_bytes=options.event_bytes,
            n_rounds=options.rounds,
        )
    )
    print_imports(options.processes)
    ours.send(None)
    server.join()


if __name__ == "__main__":
    main()

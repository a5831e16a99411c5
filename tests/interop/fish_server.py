"""A real fish-speech server in a process of its own, on a free port of this machine."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import server_env

if TYPE_CHECKING:
    from collections.abc import Iterator

STUBS = Path(__file__).resolve().parent / "stubs"
POLL_INTERVAL_S = 0.1


class ServerNotStartedError(Exception):
    """The server ended or was not ready in time; the message ends with its last lines."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FishServer:
    """A server that answers: where it is, and the directory it keeps its files in."""

    url: str
    api_key: str | None
    directory: Path
    log: Path

    @property
    def headers(self) -> dict[str, str]:
        """Return the headers which this server wants to see."""
        return {} if self.api_key is None else {"Authorization": f"Bearer {self.api_key}"}

    def add_reference(self, name: str, *, audio: bytes, text: str) -> None:
        """Add a named voice: release 0.1.0 has no route for it, it only reads files."""
        folder = self.directory / "references" / name
        folder.mkdir(parents=True)
        (folder / "clip.wav").write_bytes(audio)
        (folder / "clip.lab").write_text(text, encoding="utf-8")


@contextmanager
def running_fish_server(
    env: Path, *, directory: Path, api_key: str | None = None, start_timeout_s: float = 120.0
) -> Iterator[FishServer]:
    """Run the server of `env` in `directory` until the block ends.

    Raises `ServerNotStartedError` if it does not get ready: with a bad checkpoint it would wait
    for ever. The process and all its children are gone when the block has been left.
    """
    port = free_port()
    server = FishServer(
        url=f"http://127.0.0.1:{port}",
        api_key=api_key,
        directory=directory,
        log=directory / "server.log",
    )
    with server.log.open("wb") as log:
        process = subprocess.Popen(
            command(env, port=port, api_key=api_key),
            cwd=directory,
            env=environment(),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        wait_until_ready(server, process, deadline=time.monotonic() + start_timeout_s)
        yield server
    finally:
        kill_group(process)


def free_port() -> int:
    """Return a port of 127.0.0.1 that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def command(env: Path, *, port: int, api_key: str | None) -> list[str]:
    """Return the command line of a server with the tiny checkpoint."""
    checkpoint = server_env.checkpoint_of(env)
    options = {
        "--llama-checkpoint-path": str(checkpoint),
        "--decoder-checkpoint-path": str(checkpoint / "codec.pth"),
        "--decoder-config-name": server_env.CODEC_CONFIG.stem,
        "--device": "cpu",
        "--listen": f"127.0.0.1:{port}",
    }
    if api_key is not None:
        options["--api-key"] = api_key
    arguments = [word for option in options.items() for word in option]
    return [str(server_env.python_of(env)), "-m", "tools.api_server", *arguments]


def environment() -> dict[str, str]:
    """Return the server's environment: ours, with the stub modules and without a GPU."""
    inherited = {k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "COV_"))}
    return inherited | {
        "PYTHONPATH": str(STUBS),
        "CUDA_VISIBLE_DEVICES": "",
        "HF_HUB_OFFLINE": "1",
        "OMP_NUM_THREADS": "1",  # the tensors are so small that a second thread costs time
        "TQDM_DISABLE": "1",
    }


def wait_until_ready(
    server: FishServer, process: subprocess.Popen[bytes], *, deadline: float
) -> None:
    """Return when the server says that it is healthy."""
    while not is_healthy(server):
        if process.poll() is not None:
            raise ServerNotStartedError(f"exit status {process.returncode}\n{tail(server.log)}")
        if time.monotonic() > deadline:
            raise ServerNotStartedError(f"not ready in time\n{tail(server.log)}")
        time.sleep(POLL_INTERVAL_S)


def is_healthy(server: FishServer) -> bool:
    """Ask the health route once."""
    try:
        response = httpx.get(f"{server.url}/v1/health", headers=server.headers, trust_env=False)
    except httpx.TransportError:
        return False
    return response.is_success


def tail(log: Path, *, n_lines: int = 40) -> str:
    """Return the last lines of a log file."""
    return "\n".join(log.read_text(errors="replace").splitlines()[-n_lines:])


def kill_group(process: subprocess.Popen[bytes]) -> None:
    """Kill a process and its children; it has nothing worth saving."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()

"""The loopback servers' own lives."""

from __future__ import annotations

import asyncio

import pytest

from junetts.testing import CloudServer, FishServer
from junetts.testing._listener import Listener, abort

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("kind", [CloudServer, FishServer])
async def test_a_server_runs_once(kind: type[CloudServer] | type[FishServer]) -> None:
    """Entering a running server is refused, and it goes on running."""
    async with kind() as server:
        url = server.url
        with pytest.raises(RuntimeError, match="running already"):
            await server.__aenter__()
        assert server.url == url


@pytest.mark.parametrize("kind", [CloudServer, FishServer])
async def test_a_server_that_does_not_run_has_no_address(
    kind: type[CloudServer] | type[FishServer],
) -> None:
    """Its URL is known only while it listens."""
    with pytest.raises(RuntimeError, match="async with"):
        _ = kind().url


async def test_what_was_closed_while_it_was_sending_is_released_once() -> None:
    """The event loop would complain of a connection that is released again."""
    complaints: list[dict[str, object]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, what: complaints.append(what))
    done = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(bytes(2**25))
        writer.close()
        await writer.wait_closed()
        abort(writer)
        done.set()

    listener = Listener(serve)
    await listener.start()
    reader, writer = await asyncio.open_connection("127.0.0.1", listener.port)
    assert len(await reader.read()) == 2**25
    await done.wait()
    writer.close()
    await writer.wait_closed()
    await listener.aclose()
    assert complaints == []

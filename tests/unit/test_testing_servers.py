"""The loopback servers' own lives."""

from __future__ import annotations

import pytest

from junetts.testing import CloudServer, FishServer

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

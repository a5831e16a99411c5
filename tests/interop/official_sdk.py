"""The official SDK, pointed at our loopback cloud."""

from __future__ import annotations

from collections.abc import AsyncIterator

from fishaudio import AsyncFishAudio, FishAudio, FlushEvent

from junetts.testing import CloudServer

KEY = "interop-key"


def sdk(server: CloudServer, api_key: str = KEY) -> FishAudio:
    """The blocking SDK."""
    return FishAudio(api_key=api_key, base_url=server.http_url, timeout=10)


def async_sdk(server: CloudServer, api_key: str = KEY) -> AsyncFishAudio:
    """The async SDK."""
    return AsyncFishAudio(api_key=api_key, base_url=server.http_url, timeout=10)


async def texts(*fragments: str | FlushEvent) -> AsyncIterator[str | FlushEvent]:
    """What a language model would send."""
    for fragment in fragments:
        yield fragment

"""What all tests share: the event loop they run on."""

from __future__ import annotations

import pytest


@pytest.fixture
def anyio_backend() -> str:
    """Run async tests on asyncio, the loop that the WebSocket library needs."""
    return "asyncio"

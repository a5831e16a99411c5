"""Keys are seen by the server and by nobody else."""

from __future__ import annotations

import logging
import traceback

import pytest

from junetts._config import CloudSection
from junetts._errors import AuthenticationError
from junetts.backends.cloud import CloudBackend
from junetts.testing import CloudServer

CANARY = "canary-4711"

pytestmark = pytest.mark.anyio


async def test_no_key_in_logs(cloud, caplog: pytest.LogCaptureFixture) -> None:
    """With every logger at DEBUG, the key is in no record and in nothing formatted from one."""
    names = ("", "junetts", "junetts.websocket", "websockets", "httpx", "httpcore")
    for name in names:
        caplog.set_level(logging.DEBUG, logger=name or None)
    server = CloudServer(keys={CANARY})
    async with cloud(server, api_keys=[CANARY]) as c:
        await c.backend.warmup()
        await c.backend.probe()
        await c.speak("Hello.", "There.")
        received = [r.headers["authorization"] for r in c.server.requests]
    assert received == [f"Bearer {CANARY}"] * 2
    ours = [r for r in caplog.records if r.name == "junetts.websocket"]
    assert any("Authorization: Bearer ***" in r.getMessage() for r in ours)
    assert any(r.name.startswith("httpcore") for r in caplog.records)
    # The server in this very process logs what it receives, as servers do.
    records = [r for r in caplog.records if r.name != "websockets.server"]
    assert CANARY not in "\n".join(f"{r.getMessage()} {vars(r)}" for r in records)


async def test_no_key_in_errors_or_reprs(cloud) -> None:
    """Neither errors with their whole chain nor reprs show the key."""
    async with cloud(CloudServer(keys={"other"}), api_keys=[CANARY]) as c:
        with pytest.raises(AuthenticationError) as caught:
            await c.speak("Hello.")
        health = await c.backend.probe()
        shown = [repr(c.backend), repr(c.backend._pool), repr(health), str(vars(caught.value))]
    shown += traceback.format_exception(caught.value)
    assert CANARY not in "".join(shown)


def test_no_key_in_the_section() -> None:
    """The settings themselves do not show it either."""
    section = CloudSection.model_validate({"api_keys": [CANARY]})
    assert CANARY not in repr(section) + repr(CloudBackend(section))

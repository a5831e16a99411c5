"""The real peers, started once for all tests that talk to them."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent))

import server_env
from fish_server import FishServer, running_fish_server

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).resolve().parents[2]
API_KEY = "interop-key"


@pytest.fixture(scope="session")
def fish_server_env() -> Path:
    """Return the environment of the real server, which must have been made before."""
    env = Path(os.environ.get("INTEROP_SERVER_ENV", ROOT / ".nox" / "interop-server")).resolve()
    if not server_env.is_current(env):
        pytest.fail(f"first run: python tests/interop/server_env.py {env}", pytrace=False)
    return env


@pytest.fixture(scope="session")
def fish_server(
    fish_server_env: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[FishServer]:
    """Run one real fish-speech server, which wants to see a key, for the whole session."""
    directory = tmp_path_factory.mktemp("fish-server")
    with running_fish_server(fish_server_env, directory=directory, api_key=API_KEY) as server:
        yield server

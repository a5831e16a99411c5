"""The tiny checkpoints, loaded once."""

from __future__ import annotations

from pathlib import Path

import pytest

from junetts._runtime.runtime import Runtime, load_runtime

DATA = Path(__file__).parents[2] / "data"


@pytest.fixture(scope="session")
def s1_runtime() -> Runtime:
    """The tiny S1 checkpoint, on the processor, in float32."""
    return load_runtime(DATA / "s1-tiny", device="cpu", dtype="float32")


@pytest.fixture(scope="session")
def s2_runtime() -> Runtime:
    """The tiny S2 checkpoint, on the processor, in float32."""
    return load_runtime(DATA / "s2-tiny", device="cpu", dtype="float32")


@pytest.fixture(params=["s1", "s2"])
def runtime(request: pytest.FixtureRequest) -> Runtime:
    """Each family in turn."""
    found = request.getfixturevalue(f"{request.param}_runtime")
    assert isinstance(found, Runtime)
    return found

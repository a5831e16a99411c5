"""The event loop that tests of deadlines run on, under the name by which they know it."""

from __future__ import annotations

from junetts.testing.virtual_time import VIRTUAL_TIME, VirtualTimeLoop

__all__ = ["VIRTUAL_TIME", "VirtualTimeLoop"]

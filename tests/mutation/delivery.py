"""How _delivery.py may break."""

from __future__ import annotations

from mutation.mutant import Mutant, Target

TARGET = Target(
    file="_delivery.py",
    tests=(
        "unit/test_delivery.py",
        "unit/test_hedging.py",
    ),
    mutants=(
        Mutant(
            "self._audio = await self._stack.enter_async_context(self._speaking)",
            "self._audio = await self._speaking.__aenter__()",
        ),
        Mutant("await self._stack.aclose()", "pass"),
        Mutant("asyncio.Queue(READ_AHEAD_ITEMS)", "asyncio.Queue()"),
        Mutant(
            "if item is not None:\n            return item\n        self._items.put_nowait(None)",
            "if item is not None:\n            return item",
        ),
        Mutant(
            "self._raise_failure()\n        raise StopAsyncIteration", "raise StopAsyncIteration"
        ),
        Mutant("await asyncio.wait([self.known])", "pass"),
        Mutant("await asyncio.wait([self.known])", "await self.known"),
        Mutant("if not self._is_entered:\n            self._raise_failure()", "pass"),
        Mutant(
            "if not self._is_entered:\n            self._raise", "if True:\n            self._raise"
        ),
        Mutant("if not (self._is_cancelled or self._is_leaving):", "if True:"),
        Mutant("if not (self._is_cancelled or self._is_leaving):", "if not self._is_cancelled:"),
        Mutant("if not (self._is_cancelled or self._is_leaving):", "if not self._is_leaving:"),
        Mutant("self._task.cancel()", "pass"),
        Mutant("        self._is_cancelled = True\n", ""),
        Mutant("self.cancel()\n        with", "with"),
        Mutant("with anyio.CancelScope(shield=True):", "with anyio.CancelScope():"),
        Mutant("await asyncio.wait([self._task], timeout=CLEANUP_TIMEOUT_S)", "pass"),
        Mutant("timeout=CLEANUP_TIMEOUT_S", "timeout=None"),
        Mutant("if self._is_cancelled:\n                raise", "if True:\n                raise"),
        Mutant("if self._is_cancelled:\n                raise", "pass"),
        Mutant(", retryable=False\n            )", ",\n            )"),
        Mutant("self._failure = error\n        self._know()", "self._failure = error"),
        Mutant("self._failure = error\n", "pass\n"),
        Mutant(
            "if not self._is_cancelled:  # else there may be no room, and nobody who makes "
            "any\n"
            "            await",
            "if True:\n            await",
        ),
        Mutant("            await self._items.put(None)\n\n", "            pass\n\n"),
        Mutant("self._is_entered = True\n            self._know()", "self._know()"),
        Mutant("self._is_entered = True\n            self._know()", "self._is_entered = True"),
        Mutant("self._is_leaving = True", "pass"),
        Mutant("if not self.known.done():", "if True:"),
        Mutant("if self._failure is not None:", "if False:"),
    ),
)

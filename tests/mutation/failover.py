"""How _failover.py may break."""

from __future__ import annotations

from mutation.mutant import Mutant, Target

TARGET = Target(
    file="_failover.py",
    tests=(
        "unit/test_failover.py",
        "unit/test_recovery.py",
        "unit/test_partial.py",
    ),
    mutants=(
        Mutant("self._paces = paces or", "self._paces ="),
        Mutant(
            "return next(iter(self._backends.values())).capabilities",
            "return list(self._backends.values())[-1].capabilities",
        ),
        Mutant(
            "except JuneTtsError as error:\n                reasons",
            "except ValueError as error:\n                reasons",
        ),
        Mutant("if len(reasons) == len(self._backends):", "if reasons:"),
        Mutant("if len(reasons) == len(self._backends):", "if False:"),
        Mutant("if len(reasons) > 1 else reasons[0][1]", "if len(reasons) > 2 else reasons[0][1]"),
        Mutant("if len(reasons) > 1 else", "if len(reasons) > 0 else"),
        Mutant('if health.status != "unavailable":', 'if health.status == "ok":'),
        Mutant('if health.status != "unavailable":\n                break', "pass"),
        Mutant("stack.push_async_callback(backend.aclose)", "await backend.aclose()"),
        Mutant(
            "monitor=self._monitor,\n            paces=self._paces,",
            "monitor=HealthMonitor(self._backends),\n            paces=self._paces,",
        ),
        Mutant("paces=self._paces,\n", "paces={name: Pace() for name in self._backends},\n"),
        Mutant(
            "random=self._random,\n        )\n        async",
            "random=lambda: 0.0,\n        )\n        async",
        ),
        Mutant(
            "async with aclosing(relay):\n            await relay.start()\n            yield relay",
            "await relay.start()\n        yield relay",
        ),
    ),
)

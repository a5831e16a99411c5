"""How _chronicle.py may break."""

from __future__ import annotations

from mutation.mutant import Mutant, Target

TARGET = Target(
    file="_chronicle.py",
    tests=(
        "unit/test_chronicle.py",
        "unit/test_events.py",
        "unit/test_endings.py",
    ),
    mutants=(
        Mutant("if self._is_finished:\n", "if False:\n"),
        Mutant("self.speaker = event.backend", "pass"),
        Mutant("self.speaker = None\n        elif", "pass\n        elif"),
        Mutant("self.attempts.append(event.attempt)", "pass"),
        Mutant("self._unheard.append(event.handover)", "self.handovers.append(event.handover)"),
        Mutant("self._unheard.append(event.handover)", "self._unheard.appendleft(event.handover)"),
        Mutant(
            "self._unheard.append(event.substitution)",
            "self.substitutions.append(event.substitution)",
        ),
        Mutant("if self._tell is not None:\n", "if True:\n"),
        Mutant("if self._tell is not None:\n", "if False:\n"),
        Mutant(
            "while self._unheard and _speaker(self._unheard[0]) == backend:",
            "if self._unheard and _speaker(self._unheard[0]) == backend:",
        ),
        Mutant(
            "while self._unheard and _speaker(self._unheard[0]) == backend:", "while self._unheard:"
        ),
        Mutant(
            "while self._unheard and _speaker(self._unheard[0]) == backend:",
            "while self._unheard and _speaker(self._unheard[-1]) == backend:",
        ),
        Mutant(
            "while self._unheard and _speaker(self._unheard[0]) == backend:",
            "while _speaker(self._unheard[0]) == backend:",
        ),
        Mutant("self._unheard.popleft()", "self._unheard.pop()"),
        Mutant("if isinstance(what, Handover):", "if True:"),
        Mutant(
            "if self._tell is not None and not self._is_finished:", "if self._tell is not None:"
        ),
        Mutant("if self._tell is not None and not self._is_finished:", "if not self._is_finished:"),
        Mutant("self._is_finished = True", "pass"),
        Mutant("what.to_backend if", "what.from_backend if"),
    ),
)

"""How _watch.py may break."""

from __future__ import annotations

from mutation.mutant import Mutant, Target

TARGET = Target(
    file="_watch.py",
    tests=(
        "unit/test_watch.py",
        "unit/test_deadline.py",
        "unit/test_guard.py",
        "unit/test_outages.py",
    ),
    mutants=(
        Mutant("self._is_asked = self._awaits_text = True", "self._awaits_text = True"),
        Mutant("self._is_asked = self._awaits_text = True", "self._is_asked = True"),
        Mutant("if not self.owed:\n            self._due_at", "if True:\n            self._due_at"),
        Mutant(
            "if not self.owed:\n            self._due_at", "if False:\n            self._due_at"
        ),
        Mutant("self.has_all_text = True", "pass"),
        Mutant("self._awaits_text = False\n            self._resume()\n", "self._resume()\n"),
        Mutant("            self._resume()\n            raise", "            raise"),
        Mutant("raise\n        self._awaits_text = False", "raise"),
        Mutant(
            "if not self.owed:\n            self._first_audio_at",
            "if True:\n            self._first_audio_at",
        ),
        Mutant(
            "if not self.owed:\n            self._first_audio_at",
            "if False:\n            self._first_audio_at",
        ),
        Mutant(
            "self.owed[segment.index] = segment\n        self._resume()",
            "self.owed[segment.index] = segment",
        ),
        Mutant("self.owed[segment.index] = segment", "pass"),
        Mutant("n_cancellations = task.cancelling()", "n_cancellations = 0"),
        Mutant("self._waiter = task\n", "\n"),
        Mutant("(self._spent_s if self.brought_nothing else 0.0)", "self._spent_s"),
        Mutant("(self._spent_s if self.brought_nothing else 0.0)", "0.0"),
        Mutant("self._set_due()\n        try:", "try:"),
        Mutant("if task.cancelling():", "if False:"),
        Mutant("if task.cancelling():", "if True:"),
        Mutant("backend=self.backend, retryable=False", "backend=self.backend"),
        Mutant("self._waiter = None\n            self._spent_s", "self._spent_s"),
        Mutant("self._spent_s = self._loop.time() - self._waits_since", "pass"),
        Mutant("if self._is_late and task.uncancel() <= n_cancellations:", "if self._is_late:"),
        Mutant(
            "if self._is_late and task.uncancel() <= n_cancellations:",
            "if task.uncancel() <= n_cancellations:",
        ),
        Mutant("if self._is_late and task.uncancel() <= n_cancellations:", "if False:"),
        Mutant(
            "if self._is_late and task.uncancel() <= n_cancellations:",
            "if self._is_late and task.uncancel() >= 0:",
        ),
        Mutant(
            "if self._is_late and task.uncancel() <= n_cancellations:",
            "if self._is_late and task.uncancel() < n_cancellations:",
        ),
        Mutant(
            "self._timer.cancel()",
            "pass",
            survives="who rings in vain finds nobody late; it only lives longer",
        ),
        Mutant(
            "if self._waiter is not None and self._due_at is None:", "if self._waiter is not None:"
        ),
        Mutant(
            "if self._waiter is not None and self._due_at is None:",
            "if self._due_at is None:",
            survives="while nobody waits nothing is late, and the next step sets it anew",
        ),
        Mutant(
            "self._waits_since = self._loop.time()\n            self._set_due()", "self._set_due()"
        ),
        Mutant(
            "self._waits_since = self._loop.time()\n            self._set_due()",
            "self._waits_since = self._loop.time()",
        ),
        Mutant("if not self.owed and self._awaits_text:", "if not self.owed:"),
        Mutant("if not self.owed and self._awaits_text:", "if self._awaits_text:"),
        Mutant("if not self.owed and self._awaits_text:", "if False:"),
        Mutant("self._due_at = None\n            return", "return"),
        Mutant(
            "not self.heard and (bool(self.owed) or not self._is_asked)",
            "bool(self.owed) or not self._is_asked",
        ),
        Mutant("not self.heard and (bool(self.owed) or not self._is_asked)", "not self.heard"),
        Mutant(
            "not self.heard and (bool(self.owed) or not self._is_asked)",
            "not self.heard and bool(self.owed)",
        ),
        Mutant(
            "not self.heard and (bool(self.owed) or not self._is_asked)",
            "not self.heard and not self._is_asked",
        ),
        Mutant("self._first_audio_at if is_first else stall_at", "stall_at"),
        Mutant("self._first_audio_at if is_first else stall_at", "self._first_audio_at"),
        Mutant("self._due_at = due_at\n", "\n"),
        Mutant("if self._timer is None or due_at < self._timer.when():", "if self._timer is None:"),
        Mutant(
            "if self._timer is None or due_at < self._timer.when():",
            "if True:",
            survives="it only saves timers",
        ),
        Mutant(
            "self.close()\n",
            "\n",
            survives="an old timer that rings finds out for itself that nobody is late",
        ),
        Mutant("self._timer = None\n        if self._waiter", "if self._waiter"),
        Mutant("if self._waiter is None or self._due_at is None:", "if self._waiter is None:"),
        Mutant("if self._waiter is None or self._due_at is None:", "if self._due_at is None:"),
        Mutant("if self._loop.time() < self._due_at:", "if False:"),
        Mutant("self._set_timer(self._due_at)\n            return", "return"),
        Mutant("self._is_late = True", "pass"),
        Mutant("self._waiter.cancel()", "pass"),
        Mutant("if self.heard:\n", "if True:\n"),
        Mutant("if self.heard:\n", "if False:\n"),
    ),
)

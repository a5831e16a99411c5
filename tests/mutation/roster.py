"""How _roster.py may break."""

from __future__ import annotations

from mutation.mutant import Mutant, Target

TARGET = Target(
    file="_roster.py",
    tests=(
        "unit/test_roster.py",
        "unit/test_starter.py",
        "unit/test_recovery.py",
        "unit/test_outages.py",
    ),
    mutants=(
        Mutant("LAST_RESORT_S = 1.0", "LAST_RESORT_S = 0.2"),
        Mutant(
            "_FOR_GOOD = (InvalidRequestError, RequestRejectedError, AuthenticationError, "
            "QuotaError)",
            "_FOR_GOOD = (RequestRejectedError, AuthenticationError, QuotaError)",
        ),
        Mutant(
            "_FOR_GOOD = (InvalidRequestError, RequestRejectedError, AuthenticationError, "
            "QuotaError)",
            "_FOR_GOOD = (InvalidRequestError, AuthenticationError, QuotaError)",
        ),
        Mutant(
            "_FOR_GOOD = (InvalidRequestError, RequestRejectedError, AuthenticationError, "
            "QuotaError)",
            "_FOR_GOOD = (InvalidRequestError, RequestRejectedError, QuotaError)",
        ),
        Mutant(
            "_FOR_GOOD = (InvalidRequestError, RequestRejectedError, AuthenticationError, "
            "QuotaError)",
            "_FOR_GOOD = (InvalidRequestError, RequestRejectedError, AuthenticationError)",
        ),
        Mutant(
            "self.number == 1 and not self.is_last_resort and not self.in_own_voice",
            "not self.is_last_resort and not self.in_own_voice",
        ),
        Mutant(
            "self.number == 1 and not self.is_last_resort and not self.in_own_voice",
            "self.number == 1 and not self.in_own_voice",
        ),
        Mutant(
            "self.number == 1 and not self.is_last_resort and not self.in_own_voice",
            "self.number == 1 and not self.is_last_resort",
        ),
        Mutant("max(0.0, self.not_before - now)", "self.not_before - now"),
        Mutant("max(0.0, self.not_before - now)", "self.not_before"),
        Mutant(" + LAST_RESORT_S * self.is_last_resort", ""),
        Mutant(" + OWN_VOICE_S * self.in_own_voice", ""),
        Mutant("self._is_patience_spent = False\n        candidates", "candidates"),
        Mutant("if name not in self._refused]", "if True]"),
        Mutant("if self._is_ready(name) and name not", "if name not"),
        Mutant(" and name not in self._broken}", "}"),
        Mutant("is_last_resort=bool(ready) and name", "is_last_resort=name"),
        Mutant("is_last_resort=bool(ready) and name not in ready", "is_last_resort=False"),
        Mutant("in_own_voice=name in self._strangers,", "in_own_voice=False,"),
        Mutant("for name in candidates\n", "for name in self._names\n"),
        Mutant("if self._is_admitted(name))", "if True)"),
        Mutant(
            "name != self._last_broken and self._n_breaks[name] < self._tries",
            "name != self._last_broken",
        ),
        Mutant(
            "name != self._last_broken and self._n_breaks[name] < self._tries",
            "self._n_breaks[name] < self._tries",
        ),
        Mutant("self._n_breaks[name] < self._tries", "self._n_breaks[name] <= self._tries"),
        Mutant("any(turn.is_relief for turn in self._turns)", "bool(self._turns)"),
        Mutant("if self._is_patience_spent:", "if False:"),
        Mutant("if self._is_patience_spent:", "if True:"),
        Mutant(" if not turn.wants_patience]", "]"),
        Mutant("if not turn.wants_patience]", "if turn.wants_patience]"),
        Mutant("if not self._turns:\n            return None", "pass"),
        Mutant(
            "turn = min(self._turns, key=lambda turn: turn.handicap_s(now))",
            "turn = self._turns[0]",
        ),
        Mutant("self._turns.remove(turn)\n", "self._turns.pop(0)\n"),
        Mutant(
            "if again is not None:\n            self._turns", "if False:\n            self._turns"
        ),
        Mutant("if isinstance(error, UnknownVoiceError):\n", "if False:\n"),
        Mutant("if turn.in_own_voice or not self._substitutes:", "if not self._substitutes:"),
        Mutant("if turn.in_own_voice or not self._substitutes:", "if turn.in_own_voice:"),
        Mutant("self._refused.add(turn.backend)\n                return", "return"),
        Mutant("self._strangers.add(turn.backend)\n", "\n"),
        Mutant("if isinstance(error, _FOR_GOOD):", "if False:"),
        Mutant("if isinstance(error, _FOR_GOOD):", "if True:"),
        Mutant(
            "if isinstance(error, BackendTimeoutError) and not was_hurried:",
            "if isinstance(error, BackendTimeoutError):",
        ),
        Mutant(
            "if isinstance(error, BackendTimeoutError) and not was_hurried:", "if not was_hurried:"
        ),
        Mutant("if isinstance(error, BackendTimeoutError) and not was_hurried:", "if False:"),
        Mutant(
            "if not self._can_help(turn, error, was_hurried=was_hurried):\n            return None",
            "pass",
        ),
        Mutant("RETRY.delay_s(turn.number,", "RETRY.delay_s(1,"),
        Mutant(", retry_after_s=error.retry_after_s)", ")"),
        Mutant("if delay_s > self._max_wait_s:\n            return None", "pass"),
        Mutant("if delay_s > self._max_wait_s:", "if delay_s >= self._max_wait_s:"),
        Mutant("number=turn.number + 1,", "number=turn.number,"),
        Mutant("not_before=now + delay_s,", "not_before=delay_s,"),
        Mutant("not_before=now + delay_s,", "not_before=now,"),
        Mutant("is_last_resort=turn.is_last_resort,\n", "\n"),
        Mutant("in_own_voice=turn.in_own_voice,\n", "\n"),
        Mutant("wants_patience=isinstance(error, BackendTimeoutError),", "wants_patience=False,"),
        Mutant("wants_patience=isinstance(error, BackendTimeoutError),", "wants_patience=True,"),
        Mutant("turn.number >= self._tries", "turn.number > self._tries"),
        Mutant(
            "or isinstance(error, InvalidRequestError):",
            "or False:",
            survives="such errors are not retryable, unless a backend makes one that says so",
        ),
        Mutant(
            "if isinstance(error, BackendTimeoutError):\n            return was_hurried",
            "pass",
            survives="a turn that wants patience when it is spent is never taken",
        ),
        Mutant(
            "            return was_hurried",
            "            return True",
            survives="a turn that wants patience when it is spent is never taken",
        ),
        Mutant("return error.retryable", "return True"),
        Mutant("self._n_breaks[name] += 1", "self._n_breaks[name] = 1"),
        Mutant("self._n_breaks[name] += 1", "pass"),
        Mutant("self._broken.add(name)", "pass"),
        Mutant("self._last_broken = name", "pass"),
        Mutant(
            "self._names[: self._names.index(name)]", "self._names[: self._names.index(name) + 1]"
        ),
        Mutant("unwilling = self._refused | self._strangers", "unwilling = self._refused"),
        Mutant("unwilling = self._refused | self._strangers", "unwilling = self._strangers"),
        Mutant(
            "if other not in unwilling and self._n_breaks[other] < self._tries",
            "if other not in unwilling",
        ),
        Mutant(
            "if other not in unwilling and self._n_breaks[other] < self._tries",
            "if self._n_breaks[other] < self._tries",
        ),
        Mutant("self._n_breaks[other] < self._tries", "self._n_breaks[other] <= self._tries"),
        Mutant("self._broken.discard(name)", "pass"),
        Mutant("if self._last_broken == name:", "if True:"),
        Mutant("if self._last_broken == name:", "if False:"),
    ),
)

"""How _starter.py may break."""

from __future__ import annotations

from mutation.mutant import Mutant, Target

TARGET = Target(
    file="_starter.py",
    tests=(
        "unit/test_starter.py",
        "unit/test_failover.py",
        "unit/test_hedging.py",
        "unit/test_recovery.py",
        "unit/test_partial.py",
        "unit/test_outages.py",
        "unit/test_survivors.py",
    ),
    mutants=(
        Mutant("tries=rules.tries,", "tries=2,"),
        Mutant("max_wait_s=rules.patience_s,", "max_wait_s=1e9,"),
        Mutant(
            'substitutes=rules.on_unknown_voice == "substitute" and utterance.voice is not None',
            'substitutes=rules.on_unknown_voice == "substitute"',
        ),
        Mutant(
            'substitutes=rules.on_unknown_voice == "substitute" and utterance.voice is not None',
            "substitutes=utterance.voice is not None",
        ),
        Mutant("self._roster.begin()\n", "\n"),
        Mutant(
            "self._roster.take(now=self._clock())) is not None",
            "self._roster.take(now=0.0)) is not None",
        ),
        Mutant("await self._wait_for(turn)\n", "\n"),
        Mutant(
            "if self._rules.hedge_after_s and self._roster.has_relief:",
            "if self._rules.hedge_after_s:",
        ),
        Mutant(
            "if self._rules.hedge_after_s and self._roster.has_relief:",
            "if self._roster.has_relief:",
        ),
        Mutant("if self._rules.hedge_after_s and self._roster.has_relief:", "if False:"),
        Mutant(
            "if delivery is not None:\n                return delivery",
            "if True:\n                return delivery",
        ),
        Mutant("self._reasons[delivery.backend] = error\n        self._monitor", "self._monitor"),
        Mutant("self._monitor.failed(delivery.backend, error, use=delivery.use)\n", "\n"),
        Mutant("self._roster.broke_off(delivery.backend)\n", "pass\n"),
        Mutant(
            "return any(other != name for other in self._roster.admitted)",
            "return bool(self._roster.admitted)",
        ),
        Mutant("return any(other != name for other in self._roster.admitted)", "return True"),
        Mutant(
            "return any(map(self._monitor.is_ready, self._roster.better_than(name)))",
            "return bool(self._roster.better_than(name))",
        ),
        Mutant(
            "if self._monitor.is_ready(other):\n                self._roster",
            "if True:\n                self._roster",
            survives="who is not ready has a last resort's turn, called back or not",
        ),
        Mutant("self._roster.call_back(other)", "pass"),
        Mutant("while self._losers:", "while False:"),
        Mutant("stack.push_async_callback(self._losers.pop().aclose)", "self._losers.pop()"),
        Mutant("if turn.number == 1:\n            return", "pass"),
        Mutant("max(0.0, turn.not_before - self._clock())", "turn.not_before - self._clock()"),
        Mutant("max(0.0, turn.not_before - self._clock())", "turn.not_before"),
        Mutant("self._observe(Retrying(", "id(Retrying("),
        Mutant("await asyncio.sleep(delay_s)", "pass"),
        Mutant("self._failed(turn, delivery, error)\n            return None", "return None"),
        Mutant(
            "self._failed(turn, delivery, error)\n"
            "            return None\n"
            "        except BaseException:\n"
            "            self._monitor.left(turn.backend, use=delivery.use)\n"
            "            raise",
            "self._failed(turn, delivery, error)\n"
            "            return None\n"
            "        except BaseException:\n"
            "            raise",
        ),
        Mutant("return self._chosen(delivery)", "return delivery"),
        Mutant("if delivery is not winner:", "if True:"),
        Mutant("if delivery is not winner:", "if False:"),
        Mutant("return None if winner is None else self._chosen(winner)", "return winner"),
        Mutant("while racing:", "if racing:"),
        Mutant(
            "await asyncio.wait(known, timeout=timeout_s, return",
            "await asyncio.wait(known, timeout=None, return",
        ),
        Mutant("timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED", "timeout=timeout_s"),
        Mutant(
            "if delivery.known.done() and await self._has_started(delivery, turn):",
            "if await self._has_started(delivery, turn):",
        ),
        Mutant("if delivery.known.done():\n                    del racing[delivery]", "pass"),
        Mutant("if timeout_s is not None and racing:", "if timeout_s is not None:"),
        Mutant("if timeout_s is not None and racing:", "if racing:"),
        Mutant("            timeout_s = None\n", ""),
        Mutant(
            "await delivery.aclose()\n            self._failed",
            "self._failed",
            survives="a delivery that failed before sound has left its backend; its task just ends",
        ),
        Mutant("self._failed(turn, delivery, error)\n            return False", "return False"),
        Mutant("self._observe(\n            Hedged(", "id(\n            Hedged("),
        Mutant("delivery.cancel()\n        self._losers", "self._losers"),
        Mutant("self._losers.append(delivery)\n", "\n"),
        Mutant("self._monitor.left(delivery.backend, use=delivery.use)\n        if by", "if by"),
        Mutant(
            "if by is not None:\n            self._observe_attempt",
            "if False:\n            self._observe_attempt",
        ),
        Mutant("is_hurried = self._roster.has_relief", "is_hurried = True"),
        Mutant("is_hurried = self._roster.has_relief", "is_hurried = False"),
        Mutant("first_audio_timeout_s=self._rules.first_audio_timeout_s,\n", "\n"),
        Mutant("stall_timeout_s=self._rules.stall_timeout_s,\n", "\n"),
        Mutant("if turn.in_own_voice:\n            utterance", "if False:\n            utterance"),
        Mutant("is_hurried=is_hurried,\n", "is_hurried=False,\n"),
        Mutant("in_own_voice=turn.in_own_voice,", "in_own_voice=False,"),
        Mutant(
            "use=self._monitor.begin(turn.backend),",
            "use=self._monitor.begin(next(iter(self._backends))),",
        ),
        Mutant("if reason is not None:\n", "if False:\n"),
        Mutant("self._observe(BackendChosen(", "id(BackendChosen("),
        Mutant("if delivery.in_own_voice:", "if False:"),
        Mutant(
            "if self._utterance.voice is not None:\n            return None",
            "if False:\n            return None",
        ),
        Mutant(
            "if name == delivery.backend:\n                break",
            "if False:\n                break",
        ),
        Mutant(
            "if voice is not None and self._backends[delivery.backend].capabilities.voice is None:",
            "if voice is not None:",
        ),
        Mutant(
            "if voice is not None and self._backends[delivery.backend].capabilities.voice is None:",
            "if self._backends[delivery.backend].capabilities.voice is None:",
        ),
        Mutant("self._reasons[turn.backend] = error\n        if", "if"),
        Mutant(
            "self._reasons[turn.backend] = error\n        if",
            "self._reasons.setdefault(turn.backend, error)\n        if",
        ),
        Mutant(
            "if isinstance(error, UnknownVoiceError):\n            self",
            "if True:\n            self",
        ),
        Mutant("self._monitor.failed(turn.backend, error, use=delivery.use)\n", "\n"),
        Mutant("self._observe_attempt(turn.backend, error.message)\n", "\n"),
        Mutant(
            "self._roster.failed(turn, error, now=self._clock(), was_hurried=delivery.is_hurried)",
            "pass",
        ),
        Mutant("now=self._clock(), was", "now=0.0, was"),
        Mutant("was_hurried=delivery.is_hurried", "was_hurried=True"),
        Mutant("was_hurried=delivery.is_hurried", "was_hurried=False"),
        Mutant("if self._utterance.observe is not None:", "if True:"),
        Mutant(
            'if len(self._reasons) < 2 or self._rules.on_partial == "fail":',
            "if len(self._reasons) < 2:",
        ),
        Mutant(
            'if len(self._reasons) < 2 or self._rules.on_partial == "fail":',
            'if self._rules.on_partial == "fail":',
        ),
        Mutant('if len(self._reasons) < 2 or self._rules.on_partial == "fail":', "if True:"),
        Mutant(
            'if len(self._reasons) < 2 or self._rules.on_partial == "fail":',
            'if len(self._reasons) < 3 or self._rules.on_partial == "fail":',
        ),
        Mutant("verdict.__cause__ = error\n", "\n"),
        Mutant("len(self._backends) == 1 or all", "all"),
        Mutant(
            "len(self._backends) == 1 or all(type(one) is InvalidRequestError for one in errors)",
            "len(self._backends) == 1",
        ),
        Mutant("all(type(one) is InvalidRequestError", "any(type(one) is InvalidRequestError"),
        Mutant("all(type(one) is InvalidRequestError", "all(isinstance(one, InvalidRequestError)"),
        Mutant("return errors[0]", "return errors[-1]"),
        Mutant("verdict.__cause__ = errors[-1]\n", "\n"),
        Mutant("verdict.__cause__ = errors[-1]", "verdict.__cause__ = errors[0]"),
    ),
)

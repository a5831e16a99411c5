"""How _relay.py may break."""

from __future__ import annotations

from mutation.mutant import Mutant, Target

TARGET = Target(
    file="_relay.py",
    tests=(
        "unit/test_partial.py",
        "unit/test_relay.py",
        "unit/test_recovery.py",
        "unit/test_hedging.py",
        "unit/test_failover.py",
        "unit/test_outages.py",
        "unit/test_survivors.py",
    ),
    mutants=(
        Mutant("1.0 if utterance.prosody is None else utterance.prosody.speed", "1.0"),
        Mutant(
            "rules.match_loudness and len(backends) > 1",
            "rules.match_loudness",
            survives="with one backend there is no seam; it only saves measuring",
        ),
        Mutant("rules.match_loudness and len(backends) > 1", "len(backends) > 1"),
        Mutant("rules.match_loudness and len(backends) > 1", "False"),
        Mutant("if self._broken_off_by is not None:", "if False:"),
        Mutant("elif self._is_returning:", "elif False:"),
        Mutant(
            "if (last := self._last_of_broken()) is not None:\n                    return last",
            "if False:\n                    return last",
        ),
        Mutant("self._speaker = self._delivery.backend\n", "pass\n"),
        Mutant("stack.push_async_callback(self._starter.aclose)\n", "\n"),
        Mutant(
            "            await self._release()\n\n    async def _release",
            "            pass\n\n    async def _release",
        ),
        Mutant("if (delivery := self._delivery) is not None:", "if delivery := self._spoken:"),
        Mutant("self._monitor.left(delivery.backend, use=delivery.use)\n", "\n"),
        Mutant("            await delivery.aclose()\n", ""),
        Mutant(
            "await delivery.aclose()\n            self._delivery = None",
            "self._delivery = None\n            await delivery.aclose()",
        ),
        Mutant(
            "self._delivery = None  # only now",
            "pass  # only now",
            survives="leaving a backend twice does nothing the second time",
        ),
        Mutant(
            "self._broken_off_by = error\n        number",
            "self._broken_off_by = error\n        self._partial = None\n        number",
        ),
        Mutant("self._observe(BrokeOff(", "id(BrokeOff("),
        Mutant("self._starter.broke_off(self._spoken, error)\n", "\n"),
        Mutant("await self._release()\n        if self._partial", "if self._partial"),
        Mutant(
            "if self._partial is None and not await self._replay.has_more():",
            "if self._partial is None and False:",
        ),
        Mutant(
            "if self._partial is None and not await self._replay.has_more():",
            "if not await self._replay.has_more():",
            survives="of a segment that broke off there always is more",
        ),
        Mutant(
            "if self._partial is None and not await self._replay.has_more():",
            "if self._partial is None:",
        ),
        Mutant(
            "if not self._may_go_on:\n            raise self", "if False:\n            raise self"
        ),
        Mutant("raise self._starter.verdict(error)", "raise error"),
        Mutant(
            "await self._go_on(reason=error.message)\n        self._broken_off_by = None",
            "await self._go_on(reason=error.message)",
        ),
        Mutant("self._is_returning = False\n        if not await", "if not await"),
        Mutant(
            "if not await self._replay.has_more() or not "
            "self._starter.has_better_than(self._speaker):",
            "if not await self._replay.has_more():",
        ),
        Mutant(
            "if not await self._replay.has_more() or not "
            "self._starter.has_better_than(self._speaker):",
            "if not self._starter.has_better_than(self._speaker):",
        ),
        Mutant("self._starter.call_back(self._speaker)\n", "\n"),
        Mutant(
            'await self._release()\n        await self._go_on(reason="a pref',
            'await self._go_on(reason="a pref',
        ),
        Mutant("if self._speaker != former or self._partial is not None:", "if True:"),
        Mutant(
            "if self._speaker != former or self._partial is not None:",
            "if self._speaker != former:",
            survives="who broke off is never next",
        ),
        Mutant(
            "if self._speaker != former or self._partial is not None:",
            "if self._partial is not None:",
        ),
        Mutant("self._seam.join()", "pass"),
        Mutant("segment=self._replay.index,", "segment=0,"),
        Mutant("resumed_at=self._replay.offset,", "resumed_at=0,"),
        Mutant("resumed_by=self._resumed_by,", "resumed_by=None,"),
        Mutant(
            "        )\n        self._forget_segment()\n        if handover",
            "        )\n        if handover",
        ),
        Mutant("if handover.to_backend != former:", "if True:"),
        Mutant(
            'is_allowed = self._partial is None or self._rules.on_partial != "fail"',
            "is_allowed = True",
        ),
        Mutant(
            'is_allowed = self._partial is None or self._rules.on_partial != "fail"',
            'is_allowed = self._rules.on_partial != "fail"',
        ),
        Mutant(
            "return is_allowed and self._starter.has_others_than(self._speaker)",
            "return is_allowed",
        ),
        Mutant("return is_allowed and", "return"),
        Mutant("if item.data:\n            self._n_bytes", "if True:\n            self._n_bytes"),
        Mutant("self._n_bytes += len(item.data)", "self._n_bytes = len(item.data)"),
        Mutant("self._n_bytes += len(item.data)", "pass"),
        Mutant(
            '            if self._rules.on_partial == "continue":\n'
            "                self._pieces.append(item.data)\n"
            "            item = self._seam.joined(item)\n",
            "            item = self._seam.joined(item)\n"
            "            self._pieces.append(item.data)\n",
        ),
        Mutant(
            'if self._rules.on_partial == "continue":\n                self',
            "if True:\n                self",
            survives="it only saves memory: nobody else asks for the pieces",
        ),
        Mutant(
            'if self._rules.on_partial == "continue":\n                self',
            "if False:\n                self",
        ),
        Mutant(
            "item = self._seam.joined(item)\n            self._partial = item",
            "self._partial = item\n            item = self._seam.joined(item)",
        ),
        Mutant("            self._partial = item\n        if", "        if"),
        Mutant("if item.words is not None:\n            self._words = item.words", "pass"),
        Mutant(
            "if item.words is not None:\n            self._words",
            "if True:\n            self._words",
        ),
        Mutant(
            "if self._replay.offset:\n            item = replace(item, offset=self._replay.offset)",
            "pass",
        ),
        Mutant(
            "if item.end is not None:\n            self._finished",
            'if item.end == "complete":\n            self._finished',
        ),
        Mutant("if item.end is not None:\n            self._finished(item)", "pass"),
        Mutant(
            'if item.end == "complete" and self._partial is not None and not self._replay.offset:',
            "if False:",
        ),
        Mutant(
            'if item.end == "complete" and self._partial is not None and not self._replay.offset:',
            "if self._partial is not None and not self._replay.offset:",
        ),
        Mutant(
            'if item.end == "complete" and self._partial is not None and not self._replay.offset:',
            'if item.end == "complete" and self._partial is not None:',
            survives="the rest of a segment shows a pace, too, but less surely",
        ),
        Mutant(
            'if item.end == "complete" and self._partial is not None and not self._replay.offset:',
            'if item.end == "complete" and not self._replay.offset:',
        ),
        Mutant("self._heard_s(self._partial) * self._speed", "self._heard_s(self._partial)"),
        Mutant("self._monitor.succeeded(self._speaker, use=self._spoken.use)\n", "\n"),
        Mutant("self._close_segment(item.segment)\n        if self._rules", "if self._rules"),
        Mutant('if self._rules.return_at == "segment":', "if True:"),
        Mutant('if self._rules.return_at == "segment":', "if False:"),
        Mutant(
            "self._is_returning = self._starter.has_better_than(self._speaker)",
            "self._is_returning = True",
        ),
        Mutant("self._replay.finished(index)\n", "\n"),
        Mutant("self._forget_segment()\n\n    def _forget", "pass\n\n    def _forget"),
        Mutant(
            "self._partial, self._words, self._n_bytes, self._resumed_by = None, (), 0, None",
            "self._words, self._n_bytes, self._resumed_by = (), 0, None",
        ),
        Mutant(
            "self._partial, self._words, self._n_bytes, self._resumed_by = None, (), 0, None",
            "self._partial, self._n_bytes, self._resumed_by = None, 0, None",
        ),
        Mutant(
            "self._partial, self._words, self._n_bytes, self._resumed_by = None, (), 0, None",
            "self._partial, self._words, self._resumed_by = None, (), None",
        ),
        Mutant(
            "self._partial, self._words, self._n_bytes, self._resumed_by = None, (), 0, None",
            "self._partial, self._words, self._n_bytes = None, (), 0",
        ),
        Mutant("self._pieces.clear()", "pass"),
        Mutant("if self._partial is None or not self._may_go_on:", "if self._partial is None:"),
        Mutant("if self._partial is None or not self._may_go_on:", "if not self._may_go_on:"),
        Mutant(
            'if self._rules.on_partial == "continue" and self._is_heard_out(self._partial):',
            "if self._is_heard_out(self._partial):",
        ),
        Mutant(
            'if self._rules.on_partial == "continue" and self._is_heard_out(self._partial):',
            "if False:",
        ),
        Mutant('tail = replace(tail, end="complete")\n            self._close', "self._close"),
        Mutant("self._close_segment(tail.segment)\n", "pass\n"),
        Mutant(
            'silent_s=silent_s(b"".join(self._pieces), sample_rate=partial.format.sample_rate)',
            "silent_s=0.0",
        ),
        Mutant("words=self._words,", "words=(),"),
        Mutant(
            "pace=self._paces[self._speaker],\n            speed=self._speed,",
            "pace=self._paces[self._speaker],\n            speed=1.0,",
        ),
        Mutant(
            "pace=self._paces[self._speaker],\n            speed", "pace=Pace(),\n            speed"
        ),
        Mutant("if point.offset == len(text):\n            return True", "pass"),
        Mutant("self._replay.resume_after(point.offset)\n", "pass\n"),
        Mutant("self._resumed_by = point.provenance", "pass"),
        Mutant("if self._utterance.observe is not None:", "if True:"),
    ),
)

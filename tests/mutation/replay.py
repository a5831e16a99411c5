"""How _replay.py may break."""

from __future__ import annotations

from mutation.mutant import Mutant, Target

TARGET = Target(
    file="_replay.py",
    tests=(
        "unit/test_replay.py",
        "unit/test_partial.py",
        "unit/test_relay.py",
        "unit/test_failover.py",
    ),
    mutants=(
        Mutant("self._kept[0].text[self._offset :]", "self._kept[0].text"),
        Mutant('if self._kept else ""', 'if True else ""'),
        Mutant("self._offset += n_characters", "self._offset = n_characters"),
        Mutant(
            "while self._kept and self._kept[0].index <= index:",
            "if self._kept and self._kept[0].index <= index:",
        ),
        Mutant(
            "while self._kept and self._kept[0].index <= index:",
            "while self._kept and self._kept[0].index < index:",
        ),
        Mutant(
            "while self._kept and self._kept[0].index <= index:",
            "while self._kept and self._kept[0].index == index:",
        ),
        Mutant(
            "while self._kept and self._kept[0].index <= index:",
            "while self._kept[0].index <= index:",
        ),
        Mutant(
            "self._tags = carried_tags(self._tags + self._kept.popleft().text)",
            "self._kept.popleft()",
        ),
        Mutant(
            "carried_tags(self._tags + self._kept.popleft().text)",
            "carried_tags(self._kept.popleft().text)",
        ),
        Mutant("self._n_finished += 1\n", "pass\n"),
        Mutant("            self._offset = 0\n", ""),
        Mutant("await self.segment(self._n_finished)", "await self.segment(0)"),
        Mutant(
            "except StopAsyncIteration:\n            return False",
            "except StopAsyncIteration:\n            return True",
        ),
        Mutant("return Reader(self, self._n_finished)", "return Reader(self, 0)"),
        Mutant("async with self._reading:\n", "if True:\n"),
        Mutant("if position < self._n_finished:\n                raise StopAsyncIteration", "pass"),
        Mutant("if position < self._n_finished:", "if position <= self._n_finished:"),
        Mutant(
            "while position - self._n_finished >= len(self._kept):",
            "if position - self._n_finished >= len(self._kept):",
            survives="no reader is more than one segment ahead",
        ),
        Mutant("return self._kept[position - self._n_finished]", "return self._kept[position]"),
        Mutant("rest = segment.text[self._offset :]", "rest = segment.text"),
        Mutant("carried_tags(self._tags + segment.text[: self._offset])", "self._tags"),
        Mutant(
            "carried_tags(self._tags + segment.text[: self._offset])",
            "carried_tags(segment.text[: self._offset])",
        ),
        Mutant('if rest.lstrip().startswith(_SPEAKER_TAG):\n            tags = ""', "pass"),
        Mutant("rest.lstrip().startswith", "rest.startswith"),
        Mutant("if tags or self._offset else segment", "if tags else segment"),
        Mutant("if tags or self._offset else segment", "if self._offset else segment"),
        Mutant("if self._position == self._first:", "if True:"),
        Mutant("if self._position == self._first:", "if False:"),
        Mutant("        self._position += 1\n", ""),
    ),
)

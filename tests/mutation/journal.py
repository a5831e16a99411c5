"""How _journal.py may break."""

from __future__ import annotations

from mutation.mutant import Mutant, Target

TARGET = Target(
    file="_journal.py",
    tests=(
        "unit/test_journal.py",
        "property/test_journal_machine.py",
    ),
    mutants=(
        Mutant("self.begun[-1][0] if self.begun", "self.begun[0][0] if self.begun"),
        Mutant('self.state == "spoken" or not self.speakable', 'self.state == "spoken"'),
        Mutant(
            'self.state == "spoken" or not self.speakable',
            'self.state in ("spoken", "truncated") or not self.speakable',
        ),
        Mutant("if segment.index != len(self._entries):", "if False:"),
        Mutant(
            'if entry.state != "speaking" or entry.backend != backend:',
            'if entry.state != "speaking":',
        ),
        Mutant(
            'if entry.state != "speaking" or entry.backend != backend:',
            "if entry.backend != backend:",
        ),
        Mutant(
            "self._begin(entry, backend, offset)\n        start_s",
            "self._begin(entry, backend)\n        start_s",
        ),
        Mutant(
            "start_s = self.n_samples / self.sample_rate\n"
            "        entry.n_samples += n_samples\n"
            "        self.n_samples += n_samples",
            "entry.n_samples += n_samples\n"
            "        self.n_samples += n_samples\n"
            "        start_s = self.n_samples / self.sample_rate",
        ),
        Mutant("entry.n_samples += n_samples\n        self", "self"),
        Mutant("        self.n_samples += n_samples\n", ""),
        Mutant('if entry.state not in ("unspoken", "speaking"):', "if False:"),
        Mutant('if entry.state not in ("unspoken", "speaking"):', 'if entry.state == "spoken":'),
        Mutant('entry.state = "speaking"\n', "pass\n"),
        Mutant("entry.begun.append((backend, offset))", "entry.begun.append((backend, 0))"),
        Mutant("if offset:\n            heard_s", "if False:\n            heard_s"),
        Mutant("if word.end_s <= heard_s)", "if word.end_s < heard_s)"),
        Mutant("if word.end_s <= heard_s)", "if True)"),
        Mutant("entry.words = entry.words_before\n            entry.continued", "entry.continued"),
        Mutant("entry.continued_at = entry.n_samples\n            return", "return"),
        Mutant("entry.start_sample = self.n_samples\n", "pass\n"),
        Mutant("entry.n_samples = entry.continued_at = 0", "entry.continued_at = 0"),
        Mutant("entry.n_samples = entry.continued_at = 0", "entry.n_samples = 0"),
        Mutant("entry.words = entry.words_before = ()", "entry.words_before = ()"),
        Mutant("entry.words = entry.words_before = ()", "entry.words = ()"),
        Mutant("shift_s = entry.continued_at / self.sample_rate", "shift_s = 0.0"),
        Mutant("entry.words = entry.words_before + tuple", "entry.words = tuple"),
        Mutant(
            'if entry.state == "unspoken" or entry.backend != backend:',
            'if entry.state == "unspoken":',
        ),
        Mutant(
            'if entry.state == "unspoken" or entry.backend != backend:',
            "if entry.backend != backend:",
            survives="an unspoken segment has no backend, which is nobody's name",
        ),
        Mutant(
            "self._begin(entry, backend, offset)\n        entry.state =",
            "self._begin(entry, backend)\n        entry.state =",
        ),
        Mutant('"truncated" if truncated else "spoken"', '"spoken"'),
        Mutant(
            'if entry.state == "speaking":\n                entry',
            "if True:\n                entry",
        ),
        Mutant('if entry.state == "speaking":\n                entry.state = "abandoned"', "pass"),
        Mutant('any(entry.state == "truncated"', 'all(entry.state == "truncated"'),
        Mutant("if not entry.is_done), len(self._entries)", "if not entry.is_done), 0"),
        Mutant('entry.state if entry.speakable or entry.backend else "spoken"', "entry.state"),
        Mutant(
            'entry.state if entry.speakable or entry.backend else "spoken"',
            'entry.state if entry.speakable else "spoken"',
        ),
        Mutant("start_s=entry.start_sample / self.sample_rate", "start_s=0.0"),
        Mutant(
            'entry.segment.text[offset:].encode("utf-8", "replace")',
            'entry.segment.text.encode("utf-8", "replace")',
        ),
        Mutant('.encode("utf-8", "replace")', '.encode("utf-8")'),
        Mutant("totals.get(backend, 0) + n_bytes", "n_bytes"),
        Mutant("start_s=word.start_s + shift_s, end_s", "end_s"),
        Mutant(", end_s=word.end_s + shift_s)", ")"),
    ),
)

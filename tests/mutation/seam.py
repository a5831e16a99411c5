"""How _seam.py may break."""

from __future__ import annotations

from mutation.mutant import Mutant, Target

TARGET = Target(
    file="_seam.py",
    tests=(
        "unit/test_seam.py",
        "unit/test_relay.py",
        "unit/test_partial.py",
    ),
    mutants=(
        Mutant("\nFADE_S = 0.005", "\nFADE_S = 0.0005"),
        Mutant("MATCHING_FADE_S = 0.03 ", "MATCHING_FADE_S = 0.005 "),
        Mutant(
            "if self._match is not None or self._fade is not None:", "if self._match is not None:"
        ),
        Mutant(
            "if self._match is not None or self._fade is not None:", "if self._fade is not None:"
        ),
        Mutant("if self._match is not None or self._fade is not None:", "if False:"),
        Mutant("if self._tail is not None:\n            self", "if False:\n            self"),
        Mutant(
            "elif not self._sample_rate:", "elif True:", survives="an utterance has one sample rate"
        ),
        Mutant("elif not self._sample_rate:", "elif False:"),
        Mutant(
            "return replace(item, data=fade_out(item.data, sample_rate=self._sample_rate), "
            "words=None)",
            "return replace(item, data=fade_out(item.data, sample_rate=self._sample_rate))",
        ),
        Mutant(
            "return replace(item, data=fade_out(item.data, sample_rate=self._sample_rate), "
            "words=None)",
            "return replace(item, words=None)",
        ),
        Mutant("None if self._tail is None else self._tail.level()", "None"),
        Mutant(
            "self._target_dbfs = self._target_dbfs if level_dbfs is None else level_dbfs",
            "self._target_dbfs = level_dbfs",
        ),
        Mutant(
            "self._target_dbfs = self._target_dbfs if level_dbfs is None else level_dbfs",
            "self._target_dbfs = level_dbfs if self._target_dbfs is None else self._target_dbfs",
        ),
        Mutant("if self._target_dbfs is not None:", "if False:"),
        Mutant("FADE_S if self._match is None else MATCHING_FADE_S", "FADE_S"),
        Mutant("FADE_S if self._match is None else MATCHING_FADE_S", "MATCHING_FADE_S"),
        Mutant("sample_rate=self._sample_rate, fade_s=fade_s)", "sample_rate=self._sample_rate)"),
        Mutant("self._sample_rate = item.format.sample_rate", "self._sample_rate = 44_100"),
        Mutant("if self._matches_loudness:", "if True:"),
        Mutant("if self._matches_loudness:", "if False:"),
        Mutant("self._tail.heard(item.data)\n\n", "pass\n\n"),
        Mutant("pcm = self._match.apply(pcm)", "pass"),
        Mutant("pcm = self._fade.apply(pcm)", "pass"),
        Mutant("if self._fade.is_over:", "if True:"),
        Mutant(
            "if self._fade.is_over:",
            "if False:",
            survives="a fade that is over changes nothing; it only saves a copy",
        ),
        Mutant("pcm[-2:]", "pcm[:2]"),
        Mutant("signed=True", "signed=False"),
        Mutant(
            "np.linspace(1.0, 0.0, int(FADE_S * sample_rate) + 1)[1:]",
            "np.linspace(1.0, 0.0, int(FADE_S * sample_rate) + 1)[:-1]",
        ),
        Mutant("np.linspace(1.0, 0.0,", "np.linspace(1.0, 1.0,"),
        Mutant("np.linspace(0.0, 1.0,", "np.linspace(1.0, 1.0,"),
        Mutant("int(fade_s * sample_rate) + 1)[:-1]", "int(fade_s * sample_rate) + 1)[1:]"),
        Mutant("return not len(self._slope)", "return True"),
        Mutant(", self._slope[len(samples) :]", ", self._slope"),
        Mutant("np.rint(samples[: len(slope)] * slope)", "samples[: len(slope)]"),
    ),
)

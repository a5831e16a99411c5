"""A small change for the worse, and the tests that are to notice it."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Mutant:
    """One change to a source file.

    Attributes:
        was: text that occurs in the file exactly once.
        became: what stands there instead.
        survives: why no test can notice, or need not; empty if one has to.
    """

    was: str
    became: str
    survives: str = field(default="", kw_only=True)

    def applied(self, source: str) -> str:
        """The source with this change.

        Raises:
            ValueError: if the source has changed so that this no longer says where.
        """
        if (n := source.count(self.was)) != 1:
            raise ValueError(f"{self.was!r} occurs {n} times, not once")
        return source.replace(self.was, self.became)


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """One source file's mutants.

    Attributes:
        file: of the package, by name.
        tests: the files to run, below ``tests``, those first that notice most.
        mutants: in the order of the source.
    """

    file: str
    tests: tuple[str, ...]
    mutants: tuple[Mutant, ...]

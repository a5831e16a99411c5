"""Breaks the source on purpose, one small change at a time, and looks whether a test notices.

``PYTHONPATH=tests python -m mutation.run --workers 2 _relay.py _roster.py`` prints a Markdown
table; without file names, that of all files. The source itself is left as it is.
"""

from __future__ import annotations

import argparse
import compileall
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from py_compile import PycInvalidationMode
from queue import SimpleQueue
from typing import Literal

from mutation.mutant import Mutant, Target
from mutation.mutants import TARGETS

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = Path("src", "junetts")
PYTEST = ("-x", "-q", "--tb=no", "-rfE", "-p", "no:cacheprovider", "--hypothesis-seed=0")
LIMIT_S = 300.0  # for the tests of one mutant; each test has its own, shorter one

Verdict = Literal["killed", "survived, as explained", "explained, but killed", "SURVIVED", "MISFIT"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What became of one mutant."""

    target: Target
    mutant: Mutant
    verdict: Verdict
    note: str


def main(arguments: Sequence[str]) -> int:
    """Try them; 1 if a mutant survives that should not, or does not fit the source."""
    options = _options(arguments)
    chosen = [target for target in TARGETS if target.file in (options.files or target.file)]
    with tempfile.TemporaryDirectory() as folder:
        trees: SimpleQueue[Path] = SimpleQueue()
        for number in range(options.workers):
            trees.put(_copied(Path(folder, str(number))))
        _check_unbroken(trees, chosen)
        with ThreadPoolExecutor(options.workers) as pool:
            jobs = [
                pool.submit(_outcome, trees, target, mutant)
                for target in chosen
                for mutant in target.mutants
            ]
            outcomes = [job.result() for job in jobs]
    sys.stdout.write(_table(outcomes) + _summary(outcomes))
    return int(any(outcome.verdict.isupper() for outcome in outcomes))


def _options(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="mutation.run", description=__doc__)
    names = [target.file for target in TARGETS]
    parser.add_argument("files", nargs="*", metavar="FILE", help=f"of {', '.join(names)}")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    options = parser.parse_args(arguments)
    if unknown := set(options.files) - set(names):
        parser.error(f"no mutants of {', '.join(sorted(unknown))}")
    return options


def _copied(tree: Path) -> Path:
    """A copy of the source and its tests, whose byte code is checked by content, not by time."""
    ignored = shutil.ignore_patterns("__pycache__", "data", "interop")
    for name in ("src", "tests"):
        shutil.copytree(ROOT / name, tree / name, ignore=ignored)
    shutil.copy(ROOT / "pyproject.toml", tree)
    mode = PycInvalidationMode.CHECKED_HASH
    compileall.compile_dir(tree / "src", quiet=1, invalidation_mode=mode)
    return tree


def _check_unbroken(trees: SimpleQueue[Path], targets: Sequence[Target]) -> None:
    """See that the tests pass while nothing is broken; else they would prove nothing."""
    tree = trees.get()
    names = dict.fromkeys(name for target in targets for name in target.tests)
    killer = _killer(tree, tuple(names))
    trees.put(tree)
    if killer is not None:
        raise SystemExit(f"fails without any mutant: {killer}")


def _outcome(trees: SimpleQueue[Path], target: Target, mutant: Mutant) -> Outcome:
    tree = trees.get()
    path = tree / PACKAGE / target.file
    source = path.read_text(encoding="utf-8")
    try:
        path.write_text(mutant.applied(source), encoding="utf-8")
        killers = (_killer(tree, [name]) for name in target.tests)  # one file often is enough
        verdict, note = _judged(mutant, next(filter(None, killers), None))
    except ValueError as error:
        verdict, note = "MISFIT", str(error)
    finally:
        path.write_text(source, encoding="utf-8")
        trees.put(tree)
    if verdict != "killed":
        sys.stderr.write(f"{target.file}: {mutant.was!r} -> {mutant.became!r}: {verdict}\n")
    return Outcome(target=target, mutant=mutant, verdict=verdict, note=note)


def _judged(mutant: Mutant, killer: str | None) -> tuple[Verdict, str]:
    if killer is not None:
        return ("explained, but killed" if mutant.survives else "killed"), killer
    return ("survived, as explained", mutant.survives) if mutant.survives else ("SURVIVED", "")


def _killer(tree: Path, tests: Sequence[str]) -> str | None:
    """The test that fails first, if one does."""
    command = [sys.executable, "-m", "pytest", *PYTEST, *(f"tests/{name}" for name in tests)]
    environment = {**os.environ, "PYTHONPATH": str(tree / "src"), "OMP_NUM_THREADS": "1"}
    try:
        ran = subprocess.run(
            command, cwd=tree, env=environment, timeout=LIMIT_S, capture_output=True, text=True
        )
    except subprocess.TimeoutExpired:
        return f"nothing ends within {LIMIT_S:g} s"
    if ran.returncode == 0:
        return None
    if ran.returncode > 2 or (ran.returncode == 2 and "error" not in ran.stdout):
        raise SystemExit(f"pytest itself failed:\n{ran.stdout}{ran.stderr}")
    failed = re.search(r"^(?:FAILED|ERROR) tests/(\S+)", ran.stdout, re.MULTILINE)
    return failed[1] if failed else "the end of the run"


def _table(outcomes: Sequence[Outcome]) -> str:
    lines = ["| file | was | became | verdict | by, or why |", "|---|---|---|---|---|"]
    for one in outcomes:
        was, became = _cell(one.mutant.was), _cell(one.mutant.became)
        lines.append(f"| {one.target.file} | {was} | {became} | {one.verdict} | {one.note} |")
    return "\n".join(lines) + "\n"


def _cell(code: str) -> str:
    shown = " ⏎ ".join(line.strip() for line in code.strip().splitlines())
    return f"`{shown}`".replace("|", "\\|") if shown else "(nothing)"


def _summary(outcomes: Sequence[Outcome]) -> str:
    lines = [""]
    for file in dict.fromkeys(one.target.file for one in outcomes):
        counts = Counter(one.verdict for one in outcomes if one.target.file == file)
        told = ", ".join(f"{n} {verdict}" for verdict, n in counts.most_common())
        lines.append(f"- {file}: {counts.total()} mutants: {told}")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))

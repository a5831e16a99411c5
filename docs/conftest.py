"""The documentation's examples, run as tests: on loopback servers, in a folder of their own."""

from __future__ import annotations

import ast
import asyncio
import contextlib
import doctest
import io
import os
import re
import shutil
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import AsyncIterator, Callable, Iterator, MutableMapping
from inspect import CO_COROUTINE
from pathlib import Path
from unittest import mock

import numpy as np
import pytest
import soundfile
from sybil import Example, Sybil
from sybil.parsers.markdown import CodeBlockParser

from junetts import Config, Sampling
from junetts._runtime.sampling import SamplingParams, resolve
from junetts._runtime.sizes import Family
from junetts.testing import CloudServer, FishServer, ServerCall

Namespace = MutableMapping[str, object]

ROOT = Path(__file__).parent.parent
sys.path.append(str(ROOT / "tests" / "interop"))

from make_checkpoint import make_checkpoint  # noqa: E402  beside the tests that need it, too

TIMEOUT_S = 15
RUNNABLE = re.compile(r"(?:^|\| )(?:\w+=\S* )*(?:junetts|python) ")
MEASURED = re.compile(r"\d+(?:\.\d+)? (?=ms|s\b|bytes)")
LIKE_SHOWN = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE


class World:
    """What is around a page's examples: a cloud, a server with a voice called june, some files.

    Settings from the environment point at them, so that the examples need not mention them.
    """

    def __init__(self) -> None:
        self.breaks_at: str | None = None
        self.cloud = CloudServer()
        self.server = FishServer(voices=["june"], script=self._serve)

    async def _serve(self, call: ServerCall) -> None:
        """Behave as fish-speech does, down to breaking off in the middle of a sentence."""
        if call.request is None or not self.breaks_at or self.breaks_at not in call.request.text:
            await call.answer()
            return
        await call.begin()
        await call.send(b"\1\2" * 22_050)
        await call.cut_off()

    @contextlib.contextmanager
    def entered(self) -> Iterator[None]:
        """Run the servers, and work in a new folder with settings that lead to them."""
        with contextlib.ExitStack() as stack:
            stack.enter_context(self.cloud.in_thread())
            stack.enter_context(self.server.in_thread())
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
            stack.enter_context(contextlib.chdir(folder))
            stack.enter_context(mock.patch.dict(os.environ, self._variables(folder), clear=True))
            _fill(folder)
            stack.enter_context(mock.patch("junetts._runtime.voicing.resolve", _with_a_seed))
            yield

    def _variables(self, folder: Path) -> dict[str, str]:
        own = os.pathsep.join([str(folder / "bin"), str(Path(sys.executable).parent)])
        kept = {name: os.environ[name] for name in os.environ if not name.startswith("JUNETTS_")}
        return kept | {
            "HOME": str(folder),
            "XDG_CONFIG_HOME": str(folder / ".config"),
            "PATH": os.pathsep.join([own, os.environ.get("PATH", os.defpath)]),
            "FISH_API_KEY": "a-key",
            "JUNETTS_CLOUD__URL": self.cloud.url,
            "JUNETTS_SERVER__URL": self.server.url,
        }

    def unplug(self) -> None:
        """Neither a key nor a server nor a checkpoint: what a newcomer has."""
        del os.environ["FISH_API_KEY"]
        del os.environ["JUNETTS_SERVER__URL"]
        shutil.rmtree("checkpoints")


def _fill(folder: Path) -> None:
    """The files that examples speak of, and players that only listen."""
    (folder / "story.txt").write_text("Once upon a time. There was a voice. " * 20)
    soundfile.write(folder / "june.wav", np.sin(np.arange(44_100) / 30) / 2, 44_100)
    checkpoint = folder / "checkpoints" / "openaudio-s1-mini"
    checkpoint.mkdir(parents=True)
    make_checkpoint(ROOT / "tests" / "data" / "s1-tiny", checkpoint)
    (folder / "bin").mkdir()
    for name in ("aplay", "ffmpeg"):
        player = folder / "bin" / name
        player.write_text("#!/bin/sh\ncat > /dev/null\n")
        player.chmod(0o755)


def _with_a_seed(sampling: Sampling, family: Family) -> SamplingParams:
    """What is spoken is noise, and its length chance: let it be the same every time."""
    return resolve(sampling, family, new_seed=lambda _: 11)


async def llm_tokens() -> AsyncIterator[str]:
    """What a language model writes, token by token."""
    for token in re.findall(r"\S+\s*", "Certainly. I have found three. The first is near you."):
        yield token


def set_up(namespace: Namespace) -> None:
    """Make a page's world; sybil calls this before its first example."""
    stack = contextlib.ExitStack()
    world = World()
    stack.enter_context(world.entered())
    namespace.update(
        __name__="__main__", world=world, stack=stack, llm_tokens=llm_tokens, speaker=io.BytesIO()
    )


def tear_down(namespace: Namespace) -> None:
    """End a page's world."""
    stack = namespace["stack"]
    assert isinstance(stack, contextlib.ExitStack)
    stack.close()


def run_python(example: Example) -> str | None:
    """Run a block, top-level `await` included; one that is called ``test_...py``, in pytest."""
    if (name := _file_name(example.parsed)) and name.startswith("test_"):
        Path(name).write_text(example.parsed)
        status, output = _run(f"python -m pytest -q -W error -p no:cacheprovider {name}")
        return None if status == 0 else output
    source = "\n" * (example.line + example.parsed.line_offset) + example.parsed
    flags = ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
    code = compile(source, example.path, "exec", flags=flags, dont_inherit=True)
    with contextlib.redirect_stdout(io.StringIO()) as shown:
        result = eval(code, example.namespace)  # noqa: S307  our own pages
        if code.co_flags & CO_COROUTINE:
            asyncio.run(result)
    example.namespace["shown"] = shown.getvalue()
    return None


def _file_name(source: str) -> str | None:
    """The name in the comment that a block begins with."""
    found = re.match(r"# (\S+\.(?:py|toml))\n", source)
    return found[1] if found else None


def compare_output(example: Example) -> str | None:
    """Compare a ``text`` block with what the block before it has printed."""
    return _difference(example.parsed, str(example.namespace["shown"]))


def _difference(expected: str, found: str) -> str | None:
    """What is wrong with shown output; lengths and times are samples of what varies."""
    wanted, got = (MEASURED.sub("N ", text.strip()) for text in (expected, found))
    if doctest.OutputChecker().check_output(wanted, got, LIKE_SHOWN):
        return None
    return f"shown:\n{expected}\nbut it is:\n{found}"


def check_settings(example: Example) -> None:
    """Load settings; a block that is called ``junetts.toml`` holds for the rest of the page."""
    Config(**tomllib.loads(example.parsed))
    if name := _file_name(example.parsed):
        Path(name).write_text(example.parsed)


def run_console(example: Example) -> str | None:
    """Run the ``$`` lines that are ours, and compare what they say with what is shown."""
    exports: list[str] = []
    for part in re.split(r"^\$ ", example.parsed, flags=re.MULTILINE)[1:]:
        line, _, expected = part.partition("\n")
        if line.startswith("export "):
            exports.append(line)
        elif problem := _run_line(line, expected, exports):
            return problem
    return None


def run_script(example: Example) -> str | None:
    """Run the lines of a ``sh`` block that are ours."""
    problems = (_run_line(line, "", []) for line in example.parsed.splitlines())
    return next(filter(None, problems), None)


def _run_line(line: str, expected: str, exports: list[str]) -> str | None:
    steps = [step for step in line.split(" && ") if RUNNABLE.search(step)]
    if not steps:
        return None
    if _plays(steps[-1]):
        return _check_options(steps[-1])
    status, output = _run("\n".join([*exports, " && ".join(steps)]))
    output = re.sub(r"http://127\.0\.0\.1:\d+", "http://127.0.0.1:8080", output)
    if expected.strip():
        return _difference(expected, output)
    return None if status == 0 else f"{line} ends with {status}: {output}"


def _plays(step: str) -> bool:
    """Whether a command needs a loudspeaker."""
    return "junetts say" in step and ("--play" in step or " -o " not in step)


def _check_options(step: str) -> str | None:
    """Let the command line read its options, with ``--help`` to do nothing more."""
    status, output = _run(f"{step} --help")
    return None if status == 0 and "Usage" in output else output


def _run(script: str) -> tuple[int, str]:
    shell = shutil.which("bash") or "sh"
    done = subprocess.run(  # noqa: S603  our own pages
        [shell, "-c", script],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=TIMEOUT_S,
        check=False,
    )
    return done.returncode, done.stdout.decode(errors="replace")


EVALUATORS: dict[str, Callable[[Example], str | None]] = {
    "python": run_python,
    "text": compare_output,
    "toml": check_settings,
    "console": run_console,
    "sh": run_script,
}
PAGES = Sybil(
    parsers=[CodeBlockParser(language, evaluate) for language, evaluate in EVALUATORS.items()],
    path=str(ROOT),
    patterns=["README.md", "docs/*.md", "docs/*/*.md"],
    setup=set_up,
    teardown=tear_down,
)


class Collector:
    """Collects the pages; a plugin of its own, because the README is not in this folder."""

    pytest_collect_file = staticmethod(PAGES.pytest())


def pytest_configure(config: pytest.Config) -> None:
    """Add the collector."""
    config.pluginmanager.register(Collector(), "junetts-pages")

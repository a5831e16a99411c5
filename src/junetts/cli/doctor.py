"""``junetts doctor``: what works here, and how to fix what does not."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import os
from dataclasses import dataclass
from typing import Literal

import typer
from anyio import create_task_group, fail_after

from junetts._assembly import build, chosen
from junetts._backend import Health
from junetts._config import BACKEND_NAMES, Config
from junetts._config_sources import find_file
from junetts._errors import ConfigError, JuneTtsError
from junetts._guard import GuardedBackend
from junetts.cli.failures import FAILED, printable
from junetts.cli.loudspeaker import installed_player

PROBE_TIMEOUT_S = 20.0  # beyond every backend's own deadlines

Mark = Literal["ok", "!", "x"]
_STYLE = {"ok": "green", "!": "yellow", "x": "red"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One finding: ``ok``, ``!`` (not needed now, or only busy) or ``x`` (in the way)."""

    name: str
    mark: Mark
    detail: str
    fix: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Findings:
    """Everything that was checked; ``speaks_with`` is who would speak now, None if nobody can."""

    checks: tuple[Check, ...]
    speaks_with: str | None


def doctor(path: str | None, *, as_json: bool) -> int:
    """Check settings, backends and extras; 0 if speaking would work now, else 1."""
    findings = asyncio.run(examine(path))
    if as_json:
        typer.echo(json.dumps(dataclasses.asdict(findings)))
    else:
        _show(findings)
    return FAILED if findings.speaks_with is None else 0


def _show(findings: Findings) -> None:
    width = max(len(check.name) for check in findings.checks)
    for check in findings.checks:
        mark = typer.style(f"{check.mark:<2}", fg=_STYLE[check.mark])
        typer.echo(f"{mark}  {check.name:<{width}}  {printable(check.detail)}")
        if check.fix:
            typer.echo(f"{'':<{width + 6}}fix: {printable(check.fix)}")
    speaker = findings.speaks_with
    typer.echo(f"speaking now would use: {speaker}" if speaker else "nothing can speak now")


async def examine(path: str | None) -> Findings:
    """Look at everything that `junetts say` needs; backends are asked side by side."""
    try:
        config = Config.load(path)
        file = find_file(path, os.environ)
    except ConfigError as error:
        check = Check(name="settings", mark="x", detail=str(error), fix="correct this setting")
        return Findings(checks=(check, _player()), speaks_with=None)
    health = await _probe_all(config)
    settings = Check(
        name="settings", mark="ok", detail=str(file or "no file; environment and defaults")
    )
    # As names: settings of a file and the environment hold no ready-made backends.
    names = [str(entry) for entry in await chosen(config)]
    speaker = next((name for name in names if health[name].status != "unavailable"), None)
    backends = [
        _backend_check(name, health[name], is_needed=name in names) for name in BACKEND_NAMES
    ]
    return Findings(checks=(settings, *backends, _player()), speaks_with=speaker)


async def _probe_all(config: Config) -> dict[str, Health]:
    health: dict[str, Health] = {}

    async def look(name: str) -> None:
        health[name] = await _probe(name, config)

    async with create_task_group() as group:
        for name in BACKEND_NAMES:
            group.start_soon(look, name)
    return health


async def _probe(name: str, config: Config) -> Health:
    """What a backend says of itself; that it cannot be built or asked is an answer, too."""
    try:
        backend = GuardedBackend(build(name, config), sample_rate=config.sample_rate)
        try:
            with fail_after(PROBE_TIMEOUT_S):
                return await backend.probe()
        finally:
            await backend.aclose()
    except JuneTtsError as error:
        return Health(status="unavailable", detail=error.message, hint=error.hint)
    except TimeoutError:
        return Health(status="unavailable", detail=f"no answer within {PROBE_TIMEOUT_S:g} s")


def _backend_check(name: str, health: Health, *, is_needed: bool) -> Check:
    if health.status == "ok":
        return Check(name=name, mark="ok", detail=health.detail)
    mark: Mark = "x" if is_needed and health.status == "unavailable" else "!"
    return Check(name=name, mark=mark, detail=health.detail, fix=health.hint)


def _player() -> Check:
    if (found := installed_player()) is not None:
        return Check(name="play", mark="ok", detail=f"{found} is installed")
    return Check(
        name="play",
        mark="!",
        detail="no player is installed; speech can be saved but not played",
        fix='pip install "junetts[play]"',
    )

"""``junetts config``: the settings in force, and where each was written."""

from __future__ import annotations

import dataclasses
import json
import os
from typing import TYPE_CHECKING

import typer

from junetts._config import DEFAULT, SECRETS, Config, Setting
from junetts._config_sources import find_file

if TYPE_CHECKING:
    from pathlib import Path


def show_settings(path: str | None, *, as_json: bool) -> int:
    """Print every setting with its origin; of keys, only whether and where they are set.

    Raises:
        ConfigError: if a setting is wrong.
    """
    file = find_file(path, os.environ)
    settings = Config.load(path).settings()
    lines = [_as_json(file, settings)] if as_json else _as_lines(file, settings)
    for line in lines:
        typer.echo(line)
    return 0


def _as_lines(file: Path | None, settings: tuple[Setting, ...]) -> list[str]:
    """``cloud.model = "s1"`` and in a comment its origin, unless it is a default."""
    lines = [f"# file: {file or 'none'}"]
    for setting in settings:
        if setting.key in SECRETS:
            lines.append(f"# {setting.key} is {setting.value}")
            continue
        value = "" if setting.value is None else json.dumps(setting.value, ensure_ascii=False)
        line = f"{setting.key} = {value}" if value else f"# {setting.key} is not set"
        lines.append(line if setting.origin == DEFAULT else f"{line}  # {setting.origin}")
    return lines


def _as_json(file: Path | None, settings: tuple[Setting, ...]) -> str:
    return json.dumps(
        {
            "file": None if file is None else str(file),
            "settings": [dataclasses.asdict(setting) for setting in settings],
        }
    )

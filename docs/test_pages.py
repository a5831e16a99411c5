"""The pages name everything that there is, as it is."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import typer.core
import typer.main

import junetts
from junetts import Config, _errors
from junetts._config_sources import variable_name
from junetts.cli.app import app

README = Path(__file__).parent.parent / "README.md"
REFERENCE = Path(__file__).parent / "reference"
SETTINGS = (REFERENCE / "settings.md").read_text()
COMMANDS = ("say", "doctor", "download", "config")


@pytest.fixture(autouse=True)
def no_key(monkeypatch: pytest.MonkeyPatch) -> None:
    """Defaults as they are without a key, and with caches where most keep theirs."""
    monkeypatch.delenv("FISH_API_KEY", raising=False)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)


def test_the_readme_begins_with_two_commands() -> None:
    """One speaks and one runs every check, each a line to be copied."""
    assert re.findall(r"^```sh\n(.*)\n```$", README.read_text(), re.MULTILINE) == [
        'pip install ".[demo]" && junetts say "Hello from June." -o hello.wav',
        "pip install nox && nox",
    ]


def shown(value: object) -> str:
    """A default as the page writes it."""
    return "unset" if value is None else f"`{json.dumps(value)}`"


def test_every_setting_is_documented() -> None:
    """Each key has a row with its default and its variable, and there are no other rows."""
    special = {
        "backends": "`[]`",
        "cloud.api_keys": '`["env:FISH_API_KEY"]`, if set',
        "server.api_key": '`""`',
    }
    rows = re.findall(r"^\| `([\w.]+)` \| (.+?) \| .* \| `(\w+)` \|$", SETTINGS, re.MULTILINE)
    assert rows == [
        (setting.key, special.get(setting.key) or shown(setting.value), variable_name(setting.key))
        for setting in Config().settings()
    ]


def test_choices_and_bounds_are_documented() -> None:
    """What pydantic would accept stands in the row of each setting that has a choice or bound."""
    schema = Config.model_json_schema()
    for table in ("cloud", "server", "local"):
        for name, field in schema["$defs"][f"{table.title()}Section"]["properties"].items():
            field = field | field.get("anyOf", [{}])[0]
            row = next(line for line in SETTINGS.splitlines() if f"| `{table}.{name}` |" in line)
            limits = [field.get(bound) for bound in ("minimum", "maximum")]
            for value in [*field.get("enum", []), *filter(None, limits)]:
                assert str(value).removesuffix(".0") in row, (row, value)


def test_every_public_name_is_documented() -> None:
    """Each name of the package is on the page of the API or that of errors."""
    api, errors = ((REFERENCE / f"{page}.md").read_text() for page in ("api", "errors"))
    missing = [
        name
        for name in junetts.__all__
        if not re.search(rf"\b{name}\b", errors if name.endswith("Error") else api)
    ]
    assert missing == ["__version__"]


def test_every_test_server_name_is_documented() -> None:
    """Each name of `junetts.testing` is on the page of the API."""
    from junetts import testing

    api = (REFERENCE / "api.md").read_text()
    assert [name for name in testing.__all__ if not re.search(rf"\b{name}\b", api)] == []


def test_the_error_tree_is_the_one_in_the_code() -> None:
    """The drawing is the one in the docstring of the module."""
    drawn = re.findall(r"^[ │├└─]*(\w+Error) .*$", _errors.__doc__ or "", re.MULTILINE)
    page = (REFERENCE / "errors.md").read_text()
    block = page.split("```")[1]
    assert re.findall(r"^[ │├└─]*(\w+Error) .*$", block, re.MULTILINE) == drawn
    assert {*drawn, "JuneTtsError"} == set(_errors.__all__)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_option_is_documented(name: str) -> None:
    """Each option of each command has a row under its heading, and there are no other rows."""
    group = typer.main.get_command(app)
    assert isinstance(group, typer.core.TyperGroup)
    assert sorted(group.commands) == sorted(COMMANDS)
    page = (REFERENCE / "command-line.md").read_text()
    section = page.split(f"## junetts {name}\n")[1].split("\n## ")[0]
    documented = re.findall(r"(?<=[`\s])(--[a-z]+)", section)
    options = [o for p in group.commands[name].params for o in p.opts if o.startswith("--")]
    assert sorted(set(documented)) == sorted(set(options) - {"--help"})

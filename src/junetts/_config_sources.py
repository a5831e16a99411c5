"""Where settings come from: arguments, the environment and a TOML file."""

from __future__ import annotations

import difflib
import json
import tomllib
from collections.abc import Collection, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from junetts._errors import ConfigError

if TYPE_CHECKING:
    import os

FILE_NAME = "junetts.toml"
FILE_VARIABLE = "JUNETTS_CONFIG"
PREFIX = "JUNETTS_"

ARGUMENT = "argument"


@dataclass(frozen=True, slots=True, kw_only=True)
class Sourced:
    """One value before validation and where it was written; it may be a key, so not in repr."""

    value: object = field(repr=False)
    origin: str


Layer = dict[str, Sourced]  # by the full name of a setting, such as "cloud.model"


def nearest(word: str, known: Iterable[str]) -> str:
    """``; did you mean X?`` for the most similar known word, or nothing."""
    matches = difflib.get_close_matches(word, list(known), n=1)
    return f"; did you mean {matches[0]}?" if matches else ""


def flatten(values: Mapping[str, object], tables: Collection[str], *, origin: str) -> Layer:
    """Nested settings by full name; what is no table stays as it is, for validation to refuse."""
    layer: Layer = {}
    for name, value in values.items():
        if name in tables and isinstance(value, Mapping):
            for key, inner in value.items():
                layer[f"{name}.{key}"] = Sourced(value=inner, origin=origin)
        else:
            layer[str(name)] = Sourced(value=value, origin=origin)
    return layer


def nest(layer: Layer, tables: Collection[str]) -> dict[str, object]:
    """The reverse of `flatten`, without origins."""
    nested: dict[str, object] = {}
    for key, sourced in layer.items():
        table, _, name = key.partition(".")
        if not name or table not in tables:
            nested[key] = sourced.value
        elif isinstance(inner := nested.setdefault(table, {}), dict) and table not in layer:
            inner[name] = sourced.value
    return nested


def find_file(path: str | os.PathLike[str] | None, environ: Mapping[str, str]) -> Path | None:
    """The settings file: as given, from ``JUNETTS_CONFIG``, here, or in the user's config folder.

    Raises:
        ConfigError: if a file was asked for by name and is not there.
    """
    if path is not None:
        return _existing(Path(path), asked_by="")
    if named := environ.get(FILE_VARIABLE):
        return _existing(Path(named), asked_by=f" (from {FILE_VARIABLE})")
    return next((place for place in _usual_places(environ) if place.is_file()), None)


def _existing(path: Path, *, asked_by: str) -> Path:
    with suppress(RuntimeError):  # no such user, no home folder: a name like any other
        path = path.expanduser()
    if not path.exists():
        raise ConfigError(f"there is no settings file {path}{asked_by}")
    return path


def _usual_places(environ: Mapping[str, str]) -> Iterable[Path]:
    yield Path(FILE_NAME)
    folder = environ.get("XDG_CONFIG_HOME")
    try:
        yield (Path(folder) if folder else Path.home() / ".config") / "junetts" / FILE_NAME
    except RuntimeError:  # no home folder
        return


def read_file(path: Path, tables: Collection[str]) -> Layer:
    """The settings in a TOML file.

    Raises:
        ConfigError: if it cannot be read, with the line and column of a mistake.
    """
    problem = ""
    try:
        return flatten(tomllib.loads(path.read_text("utf-8-sig")), tables, origin=str(path))
    except OSError as error:
        problem = f"the settings file {path} cannot be read: {error.strerror}"
    except UnicodeDecodeError as error:
        problem = f"{path} is not UTF-8 text (byte {error.start})"
    except tomllib.TOMLDecodeError as error:
        problem = f"{path} is not valid TOML: {error}"
    raise ConfigError(problem)  # outside the handler: foreign errors hold the file's text


def variable_name(key: str) -> str:
    """The environment variable of a setting: ``cloud.model`` is ``JUNETTS_CLOUD__MODEL``."""
    return PREFIX + key.replace(".", "__").upper()


def read_environment(
    environ: Mapping[str, str], *, keys: Collection[str], lists: Collection[str]
) -> Layer:
    """The settings in ``JUNETTS_...`` variables; an empty variable counts as not set.

    Lists are written as JSON or separated by commas.

    Raises:
        ConfigError: for an unknown variable, naming the nearest known one.
    """
    known = {variable_name(key): key for key in keys}
    layer: Layer = {}
    for name, text in environ.items():
        if not name.startswith(PREFIX) or name == FILE_VARIABLE:
            continue
        if name not in known:
            raise _unknown_variable(name, known)
        if text.strip():
            key = known[name]
            value = _list(text, key, name) if key in lists else text.strip()
            layer[key] = Sourced(value=value, origin=name)
    return layer


def _unknown_variable(name: str, known: Collection[str]) -> ConfigError:
    key = name.removeprefix(PREFIX).replace("__", ".").lower()
    hint = nearest(name, [*known, FILE_VARIABLE])
    return ConfigError(f"the environment variable {name} is not a setting{hint}", key=key)


def _list(text: str, key: str, name: str) -> object:
    text = text.strip()
    if not text.startswith("["):
        return [item.strip() for item in text.split(",") if item.strip()]
    try:
        return json.loads(text)
    except ValueError:
        problem = f"{key} is not a valid JSON list (from {name})"
    raise ConfigError(problem, key=key)  # outside the handler, whose error holds the text

"""Settings: what can be configured, and the only reader of the environment."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated

from pydantic import BeforeValidator, Field, PrivateAttr

from junetts._config_keys import DEFAULT_VARIABLE, described, key_origin
from junetts._config_sections import (
    CloudSection,
    DemoSection,
    FallbackSection,
    LocalSection,
    Seconds,
    Section,
    ServerSection,
)
from junetts._config_sources import (
    ARGUMENT,
    Layer,
    Sourced,
    find_file,
    flatten,
    nearest,
    nest,
    read_environment,
    read_file,
)
from junetts._errors import ConfigError

__all__ = [
    "BACKEND_NAMES",
    "DEFAULT",
    "SECRETS",
    "CloudSection",
    "Config",
    "DemoSection",
    "FallbackSection",
    "LocalSection",
    "Section",
    "ServerSection",
    "Setting",
    "resolve",
]

BACKEND_NAMES = ("cloud", "server", "local", "demo")
_BACKEND_MEMBERS = ("name", "capabilities", "warmup", "probe", "speak", "aclose")
DEFAULT = "default"


_SECTIONS: dict[str, type[Section]] = {
    section.table: section
    for section in (CloudSection, ServerSection, LocalSection, DemoSection, FallbackSection)
}


def _backend(entry: object) -> str:
    """The name of an entry of ``backends``, checked."""
    if isinstance(entry, str):
        if entry not in BACKEND_NAMES:
            known = ", ".join(BACKEND_NAMES)
            hint = nearest(entry, BACKEND_NAMES) or f"; there are {known}"
            raise ValueError(f"names an unknown backend, {entry[:60]!r}{hint}")
        return entry
    missing = [member for member in _BACKEND_MEMBERS if not hasattr(entry, member)]
    if missing or isinstance(entry, type):
        lack = f"it lacks {', '.join(missing)}" if missing else "it is a class, not an object"
        raise ValueError(f"holds a {type(entry).__name__} that is no TtsBackend: {lack}")
    name = getattr(entry, "name", None)
    if not isinstance(name, str) or not name:
        raise ValueError(f"holds a {type(entry).__name__} whose name is not text")
    return name


def _backends(value: object) -> tuple[object, ...]:
    if isinstance(value, str) or hasattr(value, "speak"):
        value = [value]
    if not isinstance(value, (list, tuple)):
        raise ValueError(f"must be a list of backends, not {type(value).__name__}")
    if list(value) == ["auto"]:
        return ()
    names = [_backend(entry) for entry in value]
    if repeated := next((name for name in names if names.count(name) > 1), None):
        raise ValueError(f"lists {repeated} more than once")
    return tuple(value)


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """A setting in effect: what it is, for people to read, and where it was written.

    ``value`` of a key says only whether there is one.
    """

    key: str
    value: object
    origin: str


class Config(Section):
    """All settings, as in ``junetts.toml``.

    Sections are given as mappings or section objects. Only ``env:NAME`` keys, the default
    ``env:FISH_API_KEY`` among them, are looked up in the environment; `load` reads the rest.

    Attributes:
        backends: names or ready-made `TtsBackend` objects, in order of preference;
            none is ``auto``.
        sample_rate: of the audio that is handed out, in Hz.
        ahead_s: seconds of audio that may be made ahead of the listener.
    """

    backends: Annotated[tuple[object, ...], BeforeValidator(_backends)] = ()
    sample_rate: Annotated[int, Field(ge=8000, le=192_000)] = 44_100
    ahead_s: Seconds = 30.0
    cloud: CloudSection = Field(default_factory=CloudSection)
    server: ServerSection = ServerSection()
    local: LocalSection = Field(default_factory=LocalSection)
    demo: DemoSection = DemoSection()
    fallback: FallbackSection = FallbackSection()
    _origins: dict[str, str] = PrivateAttr(default_factory=dict)

    def __init__(self, /, **values: object) -> None:
        super().__init__(**nest(_arguments(values), _SECTIONS))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Config) and dict(self) == dict(other)  # wherever it came from

    @classmethod
    def load(cls, path: str | os.PathLike[str] | None = None, **overrides: object) -> Config:
        """Arguments over environment over file over defaults, key by key.

        The file is ``path``, else the one that ``JUNETTS_CONFIG`` names, else ``junetts.toml``
        here, else in the user's config folder (``~/.config/junetts``).

        Raises:
            ConfigError: naming the setting, the bounds, and where it was written.
        """
        return _load(path, _arguments(overrides))

    def settings(self) -> tuple[Setting, ...]:
        """Every setting in effect, with its origin."""
        given = _given(self)
        return tuple(_setting(self, key, given.get(key)) for key in _KEYS)


_KEYS = tuple(
    key
    for name in Config.model_fields
    for key in (
        [f"{name}.{inner}" for inner in _SECTIONS[name].model_fields]
        if name in _SECTIONS
        else [name]
    )
)
_LISTS = ("backends", "cloud.api_keys", "cloud.features")
SECRETS = ("cloud.api_keys", "server.api_key")


def resolve(config: object, overrides: Mapping[str, object]) -> Config:
    """What `TTS` was given, as a `Config`; ``overrides`` are on top.

    None is what `Config.load` finds; a mapping is arguments to it, a path is its file.

    Raises:
        ConfigError: if a setting, or the kind of ``config`` itself, is wrong.
    """
    if isinstance(config, Config):
        return _validated(_given(config) | _arguments(overrides)) if overrides else config
    if isinstance(config, Mapping):
        return _load(None, _arguments(config) | _arguments(overrides))
    if config is None or isinstance(config, (str, os.PathLike)):
        return _load(config, _arguments(overrides))
    raise ConfigError(
        f"config must be a Config, a mapping, a path or None, not {type(config).__name__}"
    )


def _load(path: str | os.PathLike[str] | None, arguments: Layer) -> Config:
    file = find_file(path, os.environ)
    written = {} if file is None else read_file(file, _SECTIONS)
    environment = read_environment(os.environ, keys=_KEYS, lists=_LISTS)
    return _validated(written | environment | arguments)


def _validated(layer: Layer) -> Config:
    try:
        config = Config(**nest(layer, _SECTIONS))
    except ConfigError as error:
        problem = error
    else:
        config._origins.update({key: _origin(key, sourced) for key, sourced in layer.items()})
        return config
    sourced = layer.get(problem.key or "")
    place = "" if sourced is None or sourced.origin == ARGUMENT else f" (from {sourced.origin})"
    raise ConfigError(f"{problem.message}{place}", key=problem.key)


def _origin(key: str, sourced: Sourced) -> str:
    return key_origin(sourced.value, sourced.origin) if key in SECRETS else sourced.origin


def _arguments(values: Mapping[str, object]) -> Layer:
    """Arguments by full name; of a section object, the fields that were set."""
    plain = {
        name: _set_fields(value) if isinstance(value, Section) and value.table == name else value
        for name, value in values.items()
    }
    return flatten(plain, _SECTIONS, origin=ARGUMENT)


def _set_fields(section: Section) -> dict[str, object]:
    return {name: getattr(section, name) for name in section.model_fields_set}


def _given(config: Config) -> Layer:
    """What a config was made of, without its defaults."""
    layer = _arguments(_set_fields(config))
    return {
        key: Sourced(value=sourced.value, origin=config._origins.get(key, ARGUMENT))
        for key, sourced in layer.items()
    }


def _setting(config: Config, key: str, given: Sourced | None) -> Setting:
    table, _, name = key.rpartition(".")
    value = getattr(getattr(config, table) if table else config, name)
    origin = DEFAULT if given is None else given.origin
    if key in SECRETS:
        keys = value if isinstance(value, tuple) else (value,)
        found = DEFAULT_VARIABLE if given is None else origin
        return Setting(key=key, value=described(keys, found), origin=origin)
    if key == "backends":
        value = [entry if isinstance(entry, str) else _backend(entry) for entry in value] or "auto"
    return Setting(key=key, value=value, origin=origin)

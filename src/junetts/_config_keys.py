"""API keys in settings: where they are written, and how to speak of them unshown."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, Annotated

from pydantic import AfterValidator, BeforeValidator, SecretStr

from junetts._errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Sequence

REFERENCE = "env:"
DEFAULT_VARIABLE = "FISH_API_KEY"

_HEADER_SAFE = re.compile(r"[\x21-\x7e]*")
# A key pasted after "env:" by mistake must not be shown: only what looks like a name is.
_SHOWABLE_NAME = re.compile(r"[A-Z_][A-Z0-9_]{0,63}")


def default_keys() -> tuple[SecretStr, ...]:
    """The key that the ecosystem's own variable holds, if it is set."""
    text = os.environ.get(DEFAULT_VARIABLE, "").strip()
    try:
        return (_secret(text),) if text else ()
    except ValueError as error:
        problem = str(error)
    raise ConfigError(f"cloud.api_keys {problem} (from {DEFAULT_VARIABLE})", key="cloud.api_keys")


def without_unset_default(keys: object) -> object:
    """Keys as written, but for ``env:FISH_API_KEY`` where it is unset, as in the default.

    A file may be shared by people with a key and people without.
    """
    if not isinstance(keys, (list, tuple)) or default_keys():
        return keys
    return [key for key in keys if key != f"{REFERENCE}{DEFAULT_VARIABLE}"]


def _resolved(value: object) -> object:
    """A key as written, or the one in the variable that ``env:NAME`` refers to."""
    if isinstance(value, SecretStr):
        value = value.get_secret_value()
    if not isinstance(value, str):
        raise ValueError("must be text")
    if not value.startswith(REFERENCE):
        return _secret(value.strip())
    name = value.removeprefix(REFERENCE)
    text = os.environ.get(name, "").strip()
    if not text:
        raise ValueError(f"refers to {shown_variable(value)}, which is not set")
    return _secret(text)


def _secret(text: str) -> SecretStr:
    if not _HEADER_SAFE.fullmatch(text):
        raise ValueError("holds a key with a space or a character that no key can contain")
    return SecretStr(text)


def _not_empty(key: SecretStr) -> SecretStr:
    if not key.get_secret_value():
        raise ValueError("holds an empty key")
    return key


def shown_variable(reference: object) -> str:
    """The variable's name in ``env:NAME``, as far as it can be shown."""
    name = str(reference).removeprefix(REFERENCE)
    return name if _SHOWABLE_NAME.fullmatch(name) else "an environment variable"


def is_reference(value: object) -> bool:
    """Whether a value as written refers to an environment variable."""
    return isinstance(value, str) and value.startswith(REFERENCE)


def key_origin(value: object, origin: str) -> str:
    """Where keys as written at ``origin`` really come from: the variables they refer to."""
    written = value if isinstance(value, (list, tuple)) else [value]
    places = [shown_variable(key) if is_reference(key) else origin for key in written]
    return ", ".join(dict.fromkeys(places))


def described(keys: Sequence[SecretStr], origin: str) -> str:
    """How `junetts config` speaks of keys: how many and from where, never a character of one."""
    n_keys = sum(1 for key in keys if key.get_secret_value())
    if n_keys == 0:
        return "not set"
    return f"{'set' if n_keys == 1 else f'{n_keys} set'} (from {origin})"


ApiKey = Annotated[SecretStr, BeforeValidator(_resolved), AfterValidator(_not_empty)]
OptionalApiKey = Annotated[SecretStr, BeforeValidator(_resolved)]

"""What is wrong with a setting, told as a `ConfigError` instead of pydantic's error."""

from __future__ import annotations

import types
from typing import TYPE_CHECKING, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel, SecretStr, ValidationError

from junetts._config_sources import nearest
from junetts._errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pydantic.fields import FieldInfo

MAX_SHOWN_CHARACTERS = 60


def config_error(error: ValidationError, model: type[BaseModel], *, table: str) -> ConfigError:
    """The first problem that pydantic found in ``model``, by the setting's full name.

    A validator's own ``ValueError`` is the rest of a sentence that begins with the name.
    To be raised outside the handler: pydantic's error holds the values, keys among them.
    """
    first = error.errors(include_url=False)[0]
    cause = first.get("ctx", {}).get("error")
    if isinstance(cause, ConfigError):
        return cause
    name = str(first["loc"][0]) if first["loc"] else ""
    key = f"{table}.{name}" if table else name
    if first["type"] == "extra_forbidden":
        shown = key if key.isprintable() and name else repr(key)
        return ConfigError(f"{shown} is not a setting{_suggestion(name, model, table)}", key=key)
    field = model.model_fields[name]
    if isinstance(cause, ValueError):
        return ConfigError(f"{key} {cause}", key=key)
    return ConfigError(f"{key} must be {expectation(field)}{_not(field, first['input'])}", key=key)


def _suggestion(name: str, model: type[BaseModel], table: str) -> str:
    prefix = f"{table}." if table else ""
    if found := nearest(name, model.model_fields):
        return found.replace("did you mean ", f"did you mean {prefix}")
    homes = [
        f"{section}.{name}"
        for section, field in model.model_fields.items()
        if name in getattr(field.annotation, "model_fields", {})
    ]
    return f"; did you mean {' or '.join(homes)}?" if homes else ""


def expectation(field: FieldInfo) -> str:
    """What a field takes, in words and with its bounds."""
    kind, bounds = _without_none(field.annotation), _bounds(field)
    if get_origin(kind) is Literal:
        return f"one of {', '.join(str(choice) for choice in get_args(kind))}"
    if get_origin(kind) is tuple:
        return "a list of text"
    if kind is bool:
        return "true or false"
    if kind is int:
        return f"a whole number{bounds}"
    if kind is float:
        return f"a number{bounds}"
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        return "a table of settings"
    return "text"


def _without_none(annotation: Any) -> Any:
    if get_origin(annotation) in (Union, types.UnionType):
        return next(kind for kind in get_args(annotation) if kind is not type(None))
    return annotation


def _bounds(field: FieldInfo) -> str:
    limits: Mapping[str, float] = {
        name: value
        for constraint in field.metadata
        for name in ("ge", "gt", "le")
        if (value := getattr(constraint, name, None)) is not None
    }
    if "gt" in limits:
        return f" above {limits['gt']} and up to {limits['le']}"
    return f" from {limits['ge']} to {limits['le']}" if limits else ""


def _not(field: FieldInfo, value: object) -> str:
    """The offending value, unless it is or may hold a key."""
    if "SecretStr" in repr(field.annotation) or field.annotation is SecretStr:
        return ""
    if value is not None and not isinstance(value, (str, int, float)):
        return f", not {type(value).__name__}"
    shown = repr(value)
    if len(shown) > MAX_SHOWN_CHARACTERS:
        shown = shown[: MAX_SHOWN_CHARACTERS - 1] + "…"
    return f", not {shown}"

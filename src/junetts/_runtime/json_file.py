"""A JSON config file whose fields are read with their types and bounds."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import TypeGuard

from junetts._errors import CheckpointError
from junetts._runtime.checkpoint_file import DOWNLOAD_AGAIN, read_text

MAX_SIZE = 2**24  # of anything: no model comes near it, and products of two can be counted
MAX_LAYERS = 1024  # or codebooks: each takes a while to build, before weights are compared
MAX_ITEMS = 32  # of a list: each is a layer or more
MAX_SHOWN_CHARACTERS = 60


def read_json(path: Path) -> object:
    """The value in a JSON file.

    Raises:
        CheckpointError: the file is missing, unreadable, or not JSON.
    """
    text = read_text(path)
    try:
        return json.loads(text)
    except RecursionError as error:
        raise CheckpointError(f"{path} is nested too deeply", path=str(path)) from error
    except ValueError as error:
        raise CheckpointError(
            f"{path} is not valid JSON: {error}", path=str(path), hint=DOWNLOAD_AGAIN
        ) from error


def read_object(path: Path) -> dict[str, object]:
    """The object, a table of fields, in a JSON file.

    Raises:
        CheckpointError: as `read_json` does, or it holds something else.
    """
    value = read_json(path)
    if isinstance(value, dict):
        return value
    raise CheckpointError(f"{path} must hold a JSON object", path=str(path))


class Fields:
    """The fields of one section of a JSON file; a null counts as absent.

    Every getter raises `CheckpointError`, naming file, section and field, if the field is of
    another type, out of bounds, or absent without a default.
    """

    def __init__(self, path: Path, values: Mapping[str, object], *, section: str = "") -> None:
        self.path = path
        self._values = values
        self._section = section

    @classmethod
    def read(cls, path: Path) -> Fields:
        """The fields of the object in the file."""
        return cls(path, read_object(path))

    def section(self, name: str) -> Fields | None:
        """The object in this field, None if absent."""
        value = self._values.get(name)
        if value is None:
            return None
        if not isinstance(value, dict):
            raise self.wrong(name, f"must be an object, not {_shown(value)}")
        return Fields(self.path, value, section=f"{self._section}{name}.")

    def has(self, name: str) -> bool:
        """Whether the field is written, be it as null."""
        return name in self._values

    def text(self, name: str) -> str:
        """The field, a string."""
        value = self._given(name, None)
        if not isinstance(value, str):
            raise self.wrong(name, f"must be a string, not {_shown(value)}")
        return value

    def integer(
        self, name: str, default: int | None = None, *, minimum: int = 1, maximum: int = MAX_SIZE
    ) -> int:
        """The field, a whole number from ``minimum`` to ``maximum``."""
        value = self._given(name, default)
        if not _is_integer(value, minimum, maximum):
            raise self.wrong(
                name, f"must be a whole number from {minimum} to {maximum}, not {_shown(value)}"
            )
        return value

    def number(self, name: str, default: float | None = None) -> float:
        """The field, a positive finite number."""
        value = self._given(name, default)
        if not _is_number(value) or not 0 < value < math.inf:
            raise self.wrong(name, f"must be a positive number, not {_shown(value)}")
        return float(value)

    def flag(self, name: str, default: bool | None = None) -> bool:
        """The field, true or false."""
        value = self._given(name, default)
        if not isinstance(value, bool):
            raise self.wrong(name, f"must be true or false, not {_shown(value)}")
        return value

    def integers(
        self,
        name: str,
        default: tuple[int, ...] | None = None,
        *,
        minimum: int = 1,
        maximum: int = MAX_SIZE,
    ) -> tuple[int, ...]:
        """The field, a list of 1 to 32 whole numbers from ``minimum`` to ``maximum``."""
        value = self._given(name, default)
        items = list(value) if isinstance(value, (list, tuple)) else []
        numbers = tuple(item for item in items if _is_integer(item, minimum, maximum))
        if not 1 <= len(items) <= MAX_ITEMS or len(numbers) < len(items):
            raise self.wrong(
                name,
                f"must be a list of whole numbers from {minimum} to {maximum}, "
                f"1 to {MAX_ITEMS} of them, not {_shown(value)}",
            )
        return numbers

    def wrong(self, name: str, problem: str) -> CheckpointError:
        """The error to raise about a field."""
        return CheckpointError(
            f"{self._section}{name} in {self.path} {problem}", path=str(self.path)
        )

    def _given(self, name: str, default: object) -> object:
        value = self._values.get(name)
        value = default if value is None else value
        if value is None:
            raise self.wrong(name, "is missing")
        return value


def _is_integer(value: object, minimum: int, maximum: int) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool) and minimum <= value <= maximum


def _shown(value: object) -> str:
    shown = repr(value)
    return shown if len(shown) <= MAX_SHOWN_CHARACTERS else f"{shown[:MAX_SHOWN_CHARACTERS]}..."


def _is_number(value: object) -> TypeGuard[float]:
    return isinstance(value, (int, float)) and not isinstance(value, bool)

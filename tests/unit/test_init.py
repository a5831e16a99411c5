"""The flat public API."""

from __future__ import annotations

import ast
from importlib import import_module
from pathlib import Path

import pytest

import junetts
from junetts import _errors


def test_every_public_name_is_there() -> None:
    """`__all__` is sorted, without doubles, and every name resolves."""
    names = [name for name in junetts.__all__ if not name.startswith("__")]
    assert len(set(junetts.__all__)) == len(junetts.__all__)
    for name in names:
        assert getattr(junetts, name) is not None
    assert set(junetts.__all__) <= set(dir(junetts))


def test_every_error_is_public() -> None:
    """Whatever can be raised can be caught by its public name."""
    assert set(_errors.__all__) <= set(junetts.__all__)


def test_what_is_lazy_is_what_type_checkers_see() -> None:
    """The names under TYPE_CHECKING, their homes, and `__all__` agree."""
    tree = ast.parse(Path(junetts.__file__).read_text(encoding="utf-8"))
    seen: dict[str, str] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("junetts."):
            seen.update({alias.name: node.module or "" for alias in node.names})
    assert {*seen, "__version__"} == set(junetts.__all__)
    for name, module in seen.items():
        assert getattr(import_module(module), name) is getattr(junetts, name)


def test_unknown_names() -> None:
    """An unknown name is an AttributeError, one that looks like an error class included."""
    for name in ("nothing", "NothingError", "_errors_", "GuardedBackend"):
        with pytest.raises(AttributeError, match=name):
            getattr(junetts, name)


def test_the_version_is_the_distributions() -> None:
    """One version, wherever it is asked for."""
    from importlib.metadata import version

    assert junetts.__version__ == version("junetts")

"""``junetts config``: what is in force and why."""

from __future__ import annotations

import json
import tomllib
from typing import TYPE_CHECKING

import pytest

from junetts._config import Config
from junetts._errors import ConfigError
from junetts.cli.settings import show_settings

if TYPE_CHECKING:
    from pathlib import Path


def test_shows_values_with_origins(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, surrounding: Path
) -> None:
    """Every setting is there; what is no default says where it was written."""
    (surrounding / "junetts.toml").write_text('[cloud]\nmodel = "s1"\n')
    monkeypatch.setenv("JUNETTS_DEMO__VOICE", "grün")
    monkeypatch.setenv("FISH_API_KEY", "canary")
    assert show_settings(None, as_json=False) == 0
    out = capsys.readouterr().out
    assert out.startswith("# file: junetts.toml\n")
    assert 'cloud.model = "s1"  # junetts.toml\n' in out
    assert 'demo.voice = "grün"  # JUNETTS_DEMO__VOICE\n' in out
    assert "\nsample_rate = 44100\n" in out
    assert "# cloud.voice is not set\n" in out
    assert "# cloud.api_keys is set (from FISH_API_KEY)\n" in out
    assert "canary" not in out
    assert len(out.splitlines()) == 1 + len(Config().settings())


def test_output_is_a_settings_file(capsys: pytest.CaptureFixture[str], surrounding: Path) -> None:
    """What is printed can be saved as a settings file of the same meaning."""
    (surrounding / "junetts.toml").write_text("sample_rate = 8000\n[server]\nqueue_limit = 1\n")
    expected = Config.load()
    show_settings(None, as_json=False)
    out = capsys.readouterr().out
    assert tomllib.loads(out)["server"]["queue_limit"] == 1
    (surrounding / "saved.toml").write_text(out)
    assert Config.load("saved.toml") == expected


def test_json(capsys: pytest.CaptureFixture[str], surrounding: Path) -> None:
    """The same for programs, the file's name included."""
    assert show_settings(None, as_json=True) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["file"] is None
    assert found["settings"][0] == {"key": "backends", "value": "auto", "origin": "default"}
    (surrounding / "x.toml").touch()
    show_settings("x.toml", as_json=True)
    assert json.loads(capsys.readouterr().out)["file"] == "x.toml"


def test_wrong_settings() -> None:
    """What is wrong is said, not shown."""
    with pytest.raises(ConfigError, match="there is no settings file"):
        show_settings("missing.toml", as_json=False)

"""API keys: found where they are referred to, and never shown."""

from __future__ import annotations

import logging
import pickle
import traceback
from typing import TYPE_CHECKING

import pytest

from junetts._config import CloudSection, Config, ServerSection, resolve
from junetts._errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

CANARY = "canary-0123456789abcdef"


@pytest.fixture(autouse=True)
def bare_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No key and no settings file but those of the test."""
    monkeypatch.delenv("FISH_API_KEY", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)


def keys(config: Config) -> list[str]:
    """The cloud's keys in clear."""
    return [key.get_secret_value() for key in config.cloud.api_keys]


def spoken_of(config: Config, key: str) -> object:
    """What `junetts config` says of a setting."""
    return next(s.value for s in config.settings() if s.key == key)


def test_a_key_that_cannot_be_one_is_our_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """A broken ``FISH_API_KEY`` is a setting that is wrong, and is not shown."""
    monkeypatch.setenv("FISH_API_KEY", f"{CANARY} {CANARY}")
    with pytest.raises(ConfigError, match="FISH_API_KEY") as raised:
        Config()
    assert raised.value.key == "cloud.api_keys"
    assert CANARY not in f"{raised.value!r} {raised.value.__context__!r}"


def test_writing_the_default_is_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that names ``env:FISH_API_KEY`` works for those who have no key, too."""
    written = {"api_keys": ["env:FISH_API_KEY"]}
    assert Config(cloud=written).cloud.api_keys == ()
    monkeypatch.setenv("FISH_API_KEY", CANARY)
    (key,) = Config(cloud=written).cloud.api_keys
    assert key.get_secret_value() == CANARY


def test_default_key_is_the_ecosystems(monkeypatch: pytest.MonkeyPatch) -> None:
    """``FISH_API_KEY`` is honoured; without it there is no key and no error."""
    assert keys(Config()) == []
    assert spoken_of(Config(), "cloud.api_keys") == "not set"
    monkeypatch.setenv("FISH_API_KEY", f" {CANARY}\n")
    assert keys(Config()) == keys(Config.load()) == [CANARY]
    assert spoken_of(Config(), "cloud.api_keys") == "set (from FISH_API_KEY)"
    monkeypatch.setenv("FISH_API_KEY", "")
    assert keys(Config()) == []


def test_references_are_looked_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """``env:NAME`` is the variable's value, for both backends' keys."""
    monkeypatch.setenv("MINE", CANARY)
    config = Config(cloud={"api_keys": ["env:MINE", "second"]}, server={"api_key": "env:MINE"})
    assert keys(config) == [CANARY, "second"]
    assert config.server.api_key.get_secret_value() == CANARY


@pytest.mark.parametrize("section", ["cloud", "server"])
def test_reference_to_nothing(section: str) -> None:
    """A reference that was written and leads nowhere is an error that names the variable."""
    name = {"cloud": "api_keys", "server": "api_key"}[section]
    with pytest.raises(ConfigError, match=rf"{section}.{name} refers to MINE, which is not set"):
        Config(**{section: {name: "env:MINE"}})


def test_origins(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Keys are spoken of by number and place."""
    monkeypatch.setenv("MINE", CANARY)
    file = tmp_path / "junetts.toml"
    file.write_text('[cloud]\napi_keys = ["env:MINE", "k"]\n[server]\napi_key = "env:MINE"\n')
    config = Config.load()
    assert spoken_of(config, "cloud.api_keys") == "2 set (from MINE, junetts.toml)"
    assert spoken_of(config, "server.api_key") == "set (from MINE)"
    monkeypatch.setenv("JUNETTS_CLOUD__API_KEYS", "k")
    assert spoken_of(Config.load(), "cloud.api_keys") == "set (from JUNETTS_CLOUD__API_KEYS)"
    config = resolve(Config.load(), {"cloud": {"api_keys": "k"}})
    assert spoken_of(config, "cloud.api_keys") == "set (from argument)"


@pytest.mark.parametrize(
    ("value", "complaint"),
    [
        ([""], "holds an empty key"),
        (["a\nb"], "holds a key with a space or a character that no key can contain"),
        (["schlüssel"], "a character that no key can contain"),
        ([3], "cloud.api_keys must be text"),
        (3, "cloud.api_keys must be a list of text"),
    ],
)
def test_unusable_keys(value: object, complaint: str) -> None:
    """What no server can accept is refused before it gets into a header."""
    with pytest.raises(ConfigError, match=complaint) as caught:
        Config(cloud={"api_keys": value})
    assert caught.value.key == "cloud.api_keys"


MISTAKES: dict[str, Callable[[], object]] = {
    "reference without prefix": lambda: Config(cloud={"api_keys": [f"env:{CANARY}"]}),
    "unknown name": lambda: Config(cloud={"api_key": CANARY}),
    "unknown top-level name": lambda: Config(api_key=CANARY),
    "no table": lambda: Config(cloud=[CANARY]),
    "beside a mistake": lambda: Config(cloud={"api_keys": [CANARY], "model": "x"}),
    "beside a cross-field mistake": lambda: Config(
        cloud={"api_keys": [CANARY], "format": "opus", "sample_rate": 8000}
    ),
    "in a url": lambda: Config(server={"url": f"http://user:{CANARY}@host"}),
    "in a broken url": lambda: Config(cloud={"url": f"http://user:{CANARY}@host"}),
    "not text": lambda: Config(server={"api_key": {"key": CANARY}}),
    "as a table": lambda: Config(cloud={"api_keys": {CANARY: 1}}),
    "with a space": lambda: Config(server={"api_key": f"{CANARY} {CANARY}"}),
    "in a section": lambda: CloudSection(api_keys=(CANARY,), modle="s1"),
    "validated by pydantic": lambda: Config.model_validate({"cloud": {"api_key": CANARY}}),
    "in a file": lambda: Config.load("broken.toml"),
    "in a file, misnamed": lambda: Config.load("misnamed.toml"),
}


@pytest.mark.parametrize("mistake", MISTAKES.values(), ids=MISTAKES.keys())
def test_no_error_shows_a_key(mistake: Callable[[], object], tmp_path: Path) -> None:
    """Neither an error, nor its causes, nor its traceback, nor its pickle holds the key."""
    (tmp_path / "broken.toml").write_text(f'[cloud]\napi_keys = ["{CANARY}\n')
    (tmp_path / "misnamed.toml").write_text(f'[cloud]\napikeys = ["{CANARY}"]\n')
    with pytest.raises(ValueError, match=r"\w") as caught:
        mistake()
    shown = "".join(traceback.format_exception(caught.value)) + repr(caught.value)
    assert CANARY not in shown
    if isinstance(caught.value, ConfigError):
        assert CANARY not in repr(vars(caught.value))
        assert caught.value.__context__ is None


def test_number_in_place_of_a_key() -> None:
    """A key of digits alone, written without quotes, is not shown either."""
    with pytest.raises(ConfigError) as caught:
        Config(cloud={"api_keys": 8675309})
    assert str(caught.value) == "cloud.api_keys must be a list of text"


def test_no_dump_shows_a_key(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Representations, dumps and logs of a config in use are free of keys."""
    caplog.set_level(logging.DEBUG)
    monkeypatch.setenv("MINE", CANARY)
    config = resolve(
        {"cloud": {"api_keys": ["env:MINE", CANARY]}, "server": {"api_key": CANARY}}, {}
    )
    logging.getLogger("junetts").debug("%s %r", config, config)
    shown = [
        repr(config),
        str(config),
        f"{config.cloud!r} {config.server}",
        config.model_dump_json(),
        repr(config.model_dump()),
        repr(config.settings()),
        repr(config.__pydantic_private__),
        caplog.text,
    ]
    assert not [text for text in shown if CANARY in text]
    assert CANARY.encode() in pickle.dumps(config)  # else nothing above means anything


def test_section_alone_resolves_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """A section made by hand holds keys, not references."""
    monkeypatch.setenv("FISH_API_KEY", CANARY)
    assert CloudSection().api_keys[0].get_secret_value() == CANARY
    assert ServerSection(api_key="env:FISH_API_KEY").api_key.get_secret_value() == CANARY

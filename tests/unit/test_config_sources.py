"""Files and environment as sources of settings."""

from __future__ import annotations

from pathlib import Path

import pytest

from junetts._config_sources import find_file, flatten, nest, read_environment, read_file
from junetts._errors import ConfigError

KEYS = ("backends", "sample_rate", "cloud.model", "cloud.api_keys")
LISTS = ("backends", "cloud.api_keys")


def environment(**variables: str) -> dict[str, object]:
    """Settings found in these variables."""
    layer = read_environment(variables, keys=KEYS, lists=LISTS)
    return {key: sourced.value for key, sourced in layer.items()}


class TestFindFile:
    """Which file is read."""

    @pytest.fixture(autouse=True)
    def places(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        """An empty working folder and an empty home."""
        for name in ("work", "home"):
            (tmp_path / name).mkdir()
        monkeypatch.chdir(tmp_path / "work")
        monkeypatch.setenv("HOME", str(tmp_path / "home"))
        self.home = tmp_path / "home"
        self.work = tmp_path / "work"

    def write(self, path: Path) -> Path:
        """An empty settings file."""
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
        return path

    def test_nowhere(self) -> None:
        """Without a file there is none, and that is fine."""
        assert find_file(None, {}) is None

    def test_order(self) -> None:
        """The path given wins over the variable, over this folder, over the user's."""
        user = self.write(self.home / ".config/junetts/junetts.toml")
        assert find_file(None, {}) == user
        elsewhere = self.write(self.home / "xdg/junetts/junetts.toml")
        xdg = {"XDG_CONFIG_HOME": str(self.home / "xdg")}
        assert find_file(None, xdg) == elsewhere
        self.write(self.work / "junetts.toml")
        assert find_file(None, xdg) == Path("junetts.toml")
        named = self.write(self.home / "named.toml")
        assert find_file(None, {**xdg, "JUNETTS_CONFIG": str(named)}) == named
        assert find_file("~/named.toml", {"JUNETTS_CONFIG": "x"}) == named

    def test_named_file_must_be_there(self) -> None:
        """A file asked for by name is never silently absent."""
        with pytest.raises(ConfigError, match=r"there is no settings file a\.toml$"):
            find_file("a.toml", {})
        with pytest.raises(ConfigError, match=r"settings file b\.toml \(from JUNETTS_CONFIG\)"):
            find_file(None, {"JUNETTS_CONFIG": "b.toml"})
        with pytest.raises(ConfigError, match="there is no settings file ~nobody-at-all/x"):
            find_file("~nobody-at-all/x", {})

    def test_homeless(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """A user without a home folder has no user settings, and no error."""

        def no_home() -> Path:
            raise RuntimeError("Could not determine home directory.")

        monkeypatch.setattr(Path, "home", staticmethod(no_home))
        assert find_file(None, {}) is None


class TestReadFile:
    """What is in a file, and what is wrong with it."""

    def test_values_by_full_name(self, tmp_path: Path) -> None:
        """Tables that are sections are flattened, with the file as origin; a BOM is no matter."""
        path = tmp_path / "junetts.toml"
        path.write_text('\ufeffsample_rate = 8000\n[cloud]\nmodel = "s1"\n[x]\ny = 1\n')
        layer = read_file(path, ["cloud"])
        assert {key: s.value for key, s in layer.items()} == {
            "sample_rate": 8000,
            "cloud.model": "s1",
            "x": {"y": 1},
        }
        assert {s.origin for s in layer.values()} == {str(path)}

    @pytest.mark.parametrize(
        ("content", "complaint"),
        [
            (b'[cloud]\napi_keys = ["canary"\nmodel', "line 3, column 1"),
            (b"\xff\xfecanary", "is not UTF-8 text (byte 0)"),
        ],
    )
    def test_mistakes_have_a_place(self, tmp_path: Path, content: bytes, complaint: str) -> None:
        """A broken file is told with the place, and without its contents."""
        path = tmp_path / "junetts.toml"
        path.write_bytes(content)
        with pytest.raises(ConfigError) as caught:
            read_file(path, [])
        assert str(path) in str(caught.value)
        assert complaint in str(caught.value)
        assert "canary" not in str(caught.value)
        assert caught.value.__context__ is None

    def test_unreadable(self, tmp_path: Path) -> None:
        """A folder in place of a file is told in one line."""
        with pytest.raises(ConfigError, match="cannot be read: Is a directory"):
            read_file(tmp_path, [])


class TestReadEnvironment:
    """Variables as settings."""

    def test_names_and_lists(self) -> None:
        """Sections are joined by two underscores; lists are JSON or separated by commas."""
        assert environment(
            JUNETTS_SAMPLE_RATE=" 8000 ",
            JUNETTS_CLOUD__MODEL="s1",
            JUNETTS_CLOUD__API_KEYS=' ["a,b", "c"]',
            JUNETTS_BACKENDS="cloud, server,",
            JUNETTS_CONFIG="x.toml",
            JUNE="x",
        ) == {
            "sample_rate": "8000",
            "cloud.model": "s1",
            "cloud.api_keys": ["a,b", "c"],
            "backends": ["cloud", "server"],
        }

    def test_empty_is_not_set(self) -> None:
        """An empty variable, as scripts leave them, changes nothing."""
        assert environment(JUNETTS_CLOUD__MODEL="", JUNETTS_BACKENDS=" ") == {}

    @pytest.mark.parametrize(
        ("name", "meant"),
        [
            ("JUNETTS_CLOUD_MODEL", "JUNETTS_CLOUD__MODEL"),
            ("JUNETTS_CLOUD__MODLE", "JUNETTS_CLOUD__MODEL"),
            ("JUNETTS_CONFG", "JUNETTS_CONFIG"),
        ],
    )
    def test_unknown_variable(self, name: str, meant: str) -> None:
        """A variable that means nothing is an error, with the nearest that means something."""
        with pytest.raises(ConfigError, match=rf"{name} is not a setting; .* {meant}\?"):
            environment(**{name: "canary"})

    def test_broken_json(self) -> None:
        """A broken list is told by name, without its contents."""
        with pytest.raises(
            ConfigError, match=r"JSON list \(from JUNETTS_CLOUD__API_KEYS"
        ) as caught:
            environment(JUNETTS_CLOUD__API_KEYS='["canary"')
        assert "canary" not in str(caught.value)
        assert caught.value.__context__ is None
        assert caught.value.key == "cloud.api_keys"


def test_nest_reverses_flatten() -> None:
    """Nested settings survive the way to full names and back."""
    values = {"sample_rate": 8000, "cloud": {"model": "s1"}, "x": {"y": 1}, "demo": 3}
    assert nest(flatten(values, ["cloud", "demo"], origin=""), ["cloud", "demo"]) == values


def test_values_do_not_show_in_repr() -> None:
    """A value on its way may be a key."""
    layer = flatten({"cloud": {"api_keys": ["canary"]}}, ["cloud"], origin="here")
    assert "canary" not in repr(layer)

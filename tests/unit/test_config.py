"""Settings as an application sees them: `Config`, `Config.load` and `resolve`."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from junetts._backend import Capabilities, Health
from junetts._config import CloudSection, Config, ServerSection, resolve
from junetts._errors import ConfigError


class Backend:
    """As much of a ready-made backend as settings look at."""

    def __init__(self, name: object = "mine") -> None:
        self.name = name
        self.capabilities = Capabilities(sample_rate=8000)

    async def warmup(self) -> None:
        """Nothing to do."""

    async def probe(self) -> Health:
        """Always well."""
        return Health(status="ok", detail="")

    def speak(self, utterance: object, segments: object) -> None:
        """Never called."""

    async def aclose(self) -> None:
        """Nothing to close."""


@pytest.fixture(autouse=True)
def bare_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """No settings from this machine: an empty folder, home and environment."""
    for name in os.environ:
        if name.startswith(("JUNETTS_", "FISH_")):
            monkeypatch.delenv(name)
    (tmp_path / "home").mkdir()
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("XDG_CONFIG_HOME", "")
    work = tmp_path / "work"
    work.mkdir()
    monkeypatch.chdir(work)
    return work


def problem(**values: object) -> ConfigError:
    """The error of a config made of these values, which must be clean of foreign errors."""
    with pytest.raises(ConfigError) as caught:
        Config(**values)
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None
    return caught.value


def origins(config: Config) -> dict[str, str]:
    """Where each setting that is no default came from."""
    return {s.key: s.origin for s in config.settings() if s.origin != "default"}


def test_defaults_are_those_of_the_design() -> None:
    """Without any setting, the documented defaults hold."""
    config = Config()
    assert config.backends == ()
    assert config.sample_rate == 44100
    assert config.cloud.url == "wss://api.fish.audio/v1/tts/live"
    assert config.cloud.api_keys == ()
    assert (config.cloud.model, config.cloud.latency) == ("s2-pro", "balanced")
    assert (config.server.url, config.server.encoding) == ("http://127.0.0.1:8080", "msgpack")
    assert config.server.api_key.get_secret_value() == ""
    assert config.fallback.first_audio_timeout_s == 3.0


def test_takes_sections_as_mappings_or_objects() -> None:
    """A section may be a mapping or a section object, and means the same."""
    as_mapping = Config(backends=["cloud"], cloud={"model": "s1", "api_keys": ["k"]})
    as_object = Config(backends=("cloud",), cloud=CloudSection(model="s1", api_keys=("k",)))
    assert as_mapping == as_object
    assert as_object.cloud.api_keys[0].get_secret_value() == "k"


def test_config_reads_neither_file_nor_environment(
    monkeypatch: pytest.MonkeyPatch, bare_environment: Path
) -> None:
    """Constructing a config looks at its arguments only."""
    (bare_environment / "junetts.toml").write_text("sample_rate = 8000")
    monkeypatch.setenv("JUNETTS_CLOUD__MODEL", "s1")
    assert Config() == Config(sample_rate=44100)
    assert Config().cloud.model == "s2-pro"


@pytest.mark.parametrize(
    ("values", "key", "message"),
    [
        ({"cloud": {"modle": "s1"}}, "cloud.modle", "is not a setting; did you mean cloud.model?"),
        ({"clod": {}}, "clod", "clod is not a setting; did you mean cloud?"),
        ({"model": "s1"}, "model", "model is not a setting; did you mean cloud.model?"),
        (
            {"voice": "v"},
            "voice",
            "did you mean cloud.voice or server.voice or demo.voice?",
        ),
        ({"zzz": 1}, "zzz", "zzz is not a setting"),
        ({"cloud": {1: 2}}, "cloud.1", "cloud.1 is not a setting"),
        ({"cloud": 5}, "cloud", "cloud must be a table of settings, not 5"),
        ({"cloud": ServerSection()}, "cloud", "must be a table of settings, not ServerSection"),
        (
            {"cloud": {"model": "s2"}},
            "cloud.model",
            "must be one of s1, s2-pro, s2.1-pro, s2.1-pro-free, not 's2'",
        ),
        (
            {"cloud": {"chunk_length": 400}},
            "cloud.chunk_length",
            "cloud.chunk_length must be a whole number from 100 to 300, not 400",
        ),
        (
            {"fallback": {"patience_s": float("nan")}},
            "fallback.patience_s",
            "must be a number above 0 and up to 86400, not nan",
        ),
        (
            {"cloud": {"early_stop_threshold": 2}},
            "cloud.early_stop_threshold",
            "must be a number from 0 to 1, not 2",
        ),
        ({"cloud": {"normalize": "x"}}, "cloud.normalize", "must be true or false, not 'x'"),
        ({"cloud": {"sample_rate": "x"}}, "cloud.sample_rate", "must be a whole number, not 'x'"),
        ({"cloud": {"voice": 7}}, "cloud.voice", "cloud.voice must be text, not 7"),
        ({"cloud": {"features": 7}}, "cloud.features", "must be a list of text, not 7"),
        ({"cloud": {"voice": ["v"]}}, "cloud.voice", "cloud.voice must be text, not list"),
        ({"ahead_s": None}, "ahead_s", "must be a number above 0 and up to 86400, not None"),
        ({"cloud": {"latency": "x" * 500}}, "cloud.latency", "xxx…"),
        ({"cloud": {"mp3_bitrate": "9" * 5000}}, "cloud.mp3_bitrate", "one of 64, 128, 192"),
        (
            {"cloud": {"format": "mp3", "sample_rate": 8000}},
            "cloud.sample_rate",
            "must be one of 32000, 44100 when cloud.format is mp3, not 8000",
        ),
        ({"cloud": {"format": "opus", "sample_rate": 44100}}, "cloud.sample_rate", "48000"),
        ({"local": {"device": "gpu"}}, "local.device", "one of auto, cpu, cuda, cuda:N, mps, not"),
        ({"local": {"device": "cuda:x"}}, "local.device", "not 'cuda:x'"),
        ({"local": {"device": "cpu\n"}}, "local.device", "one of auto, cpu"),
        ({"local": {"dtype": "int8"}}, "local.dtype", "auto, float32, bfloat16, float16, not"),
        ({"local": {"engine": "vllm"}}, "local.engine", "one of stream, fish-speech, not 'vllm'"),
        ({"local": {"max_batch": 65}}, "local.max_batch", "a whole number from 1 to 64, not 65"),
        ({"local": {"max_context": 8}}, "local.max_context", "from 256 to 32768, not 8"),
        ({"local": {"max_new_tokens": 0}}, "local.max_new_tokens", "from 1 to 8192, not 0"),
        ({"local": {"chunk_frames": 65}}, "local.chunk_frames", "from 1 to 64, not 65"),
        ({"local": {"prefix_cache_mb": -1}}, "local.prefix_cache_mb", "not -1"),
        ({"local": {"checkpoint": " "}}, "local.checkpoint", "the path of a directory, not empty"),
        ({"local": {"chekpoint": "x"}}, "local.chekpoint", "did you mean local.checkpoint?"),
        ({"backends": 3}, "backends", "backends must be a list of backends, not int"),
        ({"backends": "clod"}, "backends", "an unknown backend, 'clod'; did you mean cloud?"),
        ({"backends": ["zzz"]}, "backends", "'zzz'; there are cloud, server, local, demo"),
        ({"backends": ["auto", "cloud"]}, "backends", "an unknown backend, 'auto'"),
        ({"backends": ["cloud", "cloud"]}, "backends", "backends lists cloud more than once"),
        ({"backends": [Backend("cloud"), "cloud"]}, "backends", "lists cloud more than once"),
        ({"backends": [object()]}, "backends", "no TtsBackend: it lacks name, capabilities"),
        ({"backends": [Backend]}, "backends", "no TtsBackend"),
        ({"backends": [Backend(3)]}, "backends", "holds a Backend whose name is not text"),
    ],
)
def test_says_what_is_wrong(values: dict[str, object], key: str, message: str) -> None:
    """An error names the setting in full, the value's problem and the bounds."""
    error = problem(**values)
    assert error.key == key
    assert message in str(error)
    assert len(str(error)) < 250


def test_a_class_is_no_backend() -> None:
    """A backend's class in place of an object is told apart even if all members are there."""

    class Complete(Backend):
        name = "complete"  # type: ignore[assignment]
        capabilities = Capabilities(sample_rate=8000)

    assert "it is a class, not an object" in str(problem(backends=[Complete]))


@pytest.mark.parametrize(
    ("section", "url"),
    [
        ("cloud", "https://api.fish.audio"),
        ("cloud", "wss://"),
        ("cloud", "wss://host:port/"),
        ("cloud", "wss://a b"),
        ("server", "ws://host"),
        ("server", "127.0.0.1:8080"),
        ("server", "http://[::1"),
    ],
)
def test_url_must_suit_the_backend(section: str, url: str) -> None:
    """A URL needs the scheme of its protocol and a host."""
    error = problem(**{section: {"url": url}})
    assert error.key == f"{section}.url"
    assert "URL with a host" in str(error)


@pytest.mark.parametrize("value", ["cloud", ["cloud"], ("cloud",)])
def test_one_backend_may_be_given_bare(value: object) -> None:
    """One name is a list of one."""
    assert Config(backends=value).backends == ("cloud",)


@pytest.mark.parametrize("value", ["auto", ["auto"], []])
def test_auto_is_no_backend_in_particular(value: object) -> None:
    """``auto`` as a word is the same as an empty list."""
    assert Config(backends=value).backends == ()


def test_takes_ready_made_backends() -> None:
    """Objects stay what they are, beside names or alone."""
    mine = Backend()
    assert Config(backends=[mine, "demo"]).backends == (mine, "demo")
    config = Config(backends=mine)
    assert config.backends == (mine,)
    assert config.settings()[0].value == ["mine"]


def test_blank_text_is_no_voice() -> None:
    """TOML has no null, so that a blank voice says none."""
    assert Config(cloud={"voice": " "}).cloud.voice is None


def test_directories_on_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """A tilde is the home folder; caches are where they should be; no directory is no cache."""
    monkeypatch.setenv("HOME", "/home/june")
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    local = Config().local
    assert local.checkpoint_directory == Path("checkpoints/openaudio-s1-mini")
    assert local.voice_directory == Path("/home/june/.cache/junetts/voices")
    assert Config(local={"checkpoint": "~/s2"}).local.checkpoint_directory == Path("/home/june/s2")
    assert Config(local={"voice_cache": "~/v"}).local.voice_directory == Path("/home/june/v")
    assert Config(local={"voice_cache": " "}).local.voice_directory is None
    nobody = Config(local={"checkpoint": "~no such user/x"}).local
    assert nobody.checkpoint_directory == Path("~no such user/x")
    monkeypatch.setenv("XDG_CACHE_HOME", "/cache")
    assert Config().local.voice_directory == Path("/cache/junetts/voices")
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    assert Config().local.voice_directory == Path("/home/june/.cache/junetts/voices")


@pytest.mark.parametrize("device", ["auto", "cpu", "mps", "cuda", "cuda:0", "cuda:12"])
def test_devices(device: str) -> None:
    """Names as torch has them, and the choice left to junetts."""
    assert Config(local={"device": device}).local.device == device


def test_is_immutable() -> None:
    """A config that is in use cannot change under its users."""
    with pytest.raises(ValueError, match="frozen"):
        Config().sample_rate = 8000


def test_arguments_win_over_environment_over_file_over_defaults(
    monkeypatch: pytest.MonkeyPatch, bare_environment: Path
) -> None:
    """Sources are merged key by key, not section by section."""
    (bare_environment / "junetts.toml").write_text(
        'sample_rate = 8000\n[cloud]\nmodel = "s1"\nlatency = "low"\nchunk_length = 100\n'
    )
    monkeypatch.setenv("JUNETTS_CLOUD__LATENCY", "normal")
    monkeypatch.setenv("JUNETTS_CLOUD__CHUNK_LENGTH", "200")
    config = Config.load(cloud={"chunk_length": 250})
    assert config.sample_rate == 8000
    assert config.cloud.model == "s1"
    assert config.cloud.latency == "normal"
    assert config.cloud.chunk_length == 250
    assert config.cloud.normalize is True
    assert origins(config) == {
        "sample_rate": "junetts.toml",
        "cloud.model": "junetts.toml",
        "cloud.latency": "JUNETTS_CLOUD__LATENCY",
        "cloud.chunk_length": "argument",
    }


def test_section_object_as_override_counts_for_what_it_was_given(bare_environment: Path) -> None:
    """A section object on top changes the fields that were set, not the others."""
    (bare_environment / "junetts.toml").write_text('[cloud]\nmodel = "s1"\n')
    config = Config.load(cloud=CloudSection(latency="low"))
    assert (config.cloud.model, config.cloud.latency) == ("s1", "low")


def test_every_setting_has_its_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each key of each section can be given as text in the environment."""
    values = {
        "BACKENDS": "server, demo",
        "SAMPLE_RATE": "24000",
        "AHEAD_S": "2.5",
        "CLOUD__API_KEYS": '["a", "b"]',
        "CLOUD__MP3_BITRATE": "192",
        "CLOUD__OPUS_BITRATE": "-1000",
        "CLOUD__TIMESTAMPS": "true",
        "CLOUD__NORMALIZE_LOUDNESS": "no",
        "CLOUD__FEATURES": "quality-guard",
        "SERVER__URL": "https://tts.example/",
        "SERVER__USE_MEMORY_CACHE": "off",
        "LOCAL__DEVICE": "cuda:1",
        "LOCAL__MAX_CONTEXT": "2048",
        "LOCAL__PREFIX_CACHE_MB": "0",
        "DEMO__VOICE": "en-gb",
        "FALLBACK__STALL_TIMEOUT_S": "1",
    }
    for name, value in values.items():
        monkeypatch.setenv(f"JUNETTS_{name}", value)
    config = Config.load()
    assert config.backends == ("server", "demo")
    assert (config.sample_rate, config.ahead_s) == (24000, 2.5)
    assert [key.get_secret_value() for key in config.cloud.api_keys] == ["a", "b"]
    assert (config.cloud.mp3_bitrate, config.cloud.opus_bitrate) == (192, -1000)
    assert (config.cloud.timestamps, config.cloud.normalize_loudness) == (True, False)
    assert config.cloud.features == ("quality-guard",)
    assert (config.server.url, config.server.use_memory_cache) == ("https://tts.example/", "off")
    assert (config.local.device, config.local.max_context) == ("cuda:1", 2048)
    assert config.local.prefix_cache_mb == 0
    assert config.demo.voice == "en-gb"
    assert config.fallback.stall_timeout_s == 1.0


def test_error_says_where_the_value_was_written(
    monkeypatch: pytest.MonkeyPatch, bare_environment: Path
) -> None:
    """A wrong value in the file or the environment is told with its place."""
    (bare_environment / "junetts.toml").write_text('[cloud]\nmodle = "s1"\n')
    with pytest.raises(ConfigError, match=r"did you mean cloud.model\? \(from junetts.toml\)"):
        Config.load()
    (bare_environment / "junetts.toml").write_text("")
    monkeypatch.setenv("JUNETTS_SAMPLE_RATE", "fast")
    with pytest.raises(ConfigError, match=r"not 'fast' \(from JUNETTS_SAMPLE_RATE\)") as caught:
        Config.load()
    assert caught.value.key == "sample_rate"
    with pytest.raises(ConfigError) as caught:
        Config.load(sample_rate="loud")
    assert "from" not in str(caught.value).removeprefix("sample_rate must be a whole number from")


def test_table_written_as_something_else(
    monkeypatch: pytest.MonkeyPatch, bare_environment: Path
) -> None:
    """A value in place of a table is refused, though other sources fill the table."""
    (bare_environment / "junetts.toml").write_text("cloud = 5")
    monkeypatch.setenv("JUNETTS_CLOUD__MODEL", "s1")
    with pytest.raises(ConfigError, match=r"cloud must be a table of settings, not 5"):
        Config.load()


class TestResolve:
    """What `TTS(config, **overrides)` makes of its arguments."""

    def test_none_is_what_load_finds(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Nothing given: the environment and the file, overrides on top."""
        monkeypatch.setenv("JUNETTS_SAMPLE_RATE", "8000")
        assert resolve(None, {}).sample_rate == 8000
        assert resolve(None, {"sample_rate": 16000}).sample_rate == 16000

    def test_mapping_is_arguments(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """A mapping lies over the environment, overrides over the mapping, key by key."""
        monkeypatch.setenv("JUNETTS_SAMPLE_RATE", "8000")
        config = resolve(
            {"backends": ["cloud"], "cloud": {"model": "s1", "latency": "low"}},
            {"cloud": {"latency": "normal"}},
        )
        assert config.sample_rate == 8000
        assert config.backends == ("cloud",)
        assert (config.cloud.model, config.cloud.latency) == ("s1", "normal")

    def test_mapping_may_not_smuggle_a_path(self) -> None:
        """A key called path is an unknown setting, not `Config.load`'s parameter."""
        with pytest.raises(ConfigError, match="path is not a setting"):
            resolve({"path": "x"}, {})

    def test_path_is_a_file_under_the_environment(
        self, monkeypatch: pytest.MonkeyPatch, bare_environment: Path
    ) -> None:
        """A path names the file; the environment lies above it; others are not read."""
        (bare_environment / "junetts.toml").write_text("ahead_s = 1")
        mine = bare_environment / "mine.toml"
        mine.write_text('sample_rate = 8000\n[cloud]\nmodel = "s1"')
        monkeypatch.setenv("JUNETTS_CLOUD__MODEL", "s2.1-pro")
        for path in (mine, str(mine)):
            config = resolve(path, {})
            assert (config.sample_rate, config.cloud.model) == (8000, "s2.1-pro")
            assert config.ahead_s == 30.0

    def test_config_is_taken_as_it_is(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """A config meets no other source; overrides lie on top and leave it unchanged."""
        monkeypatch.setenv("JUNETTS_SAMPLE_RATE", "8000")
        config = Config(cloud={"model": "s1", "api_keys": ["k"]})
        assert resolve(config, {}) is config
        changed = resolve(config, {"cloud": {"latency": "low"}, "backends": "demo"})
        assert changed.sample_rate == 44100
        assert changed.backends == ("demo",)
        assert (changed.cloud.model, changed.cloud.latency) == ("s1", "low")
        assert changed.cloud.api_keys == config.cloud.api_keys
        assert config.cloud.latency == "balanced"

    def test_origins_survive_overrides(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """What came from the environment is still said to, under an override of another key."""
        monkeypatch.setenv("JUNETTS_SAMPLE_RATE", "8000")
        config = resolve(Config.load(), {"ahead_s": 2})
        assert origins(config) == {"sample_rate": "JUNETTS_SAMPLE_RATE", "ahead_s": "argument"}

    def test_refuses_other_types(self) -> None:
        """Anything else is refused with what would do."""
        with pytest.raises(ConfigError, match="a Config, a mapping, a path or None, not int"):
            resolve(3, {})


def test_equality_ignores_origins(monkeypatch: pytest.MonkeyPatch) -> None:
    """Configs with the same settings are equal, wherever these came from."""
    monkeypatch.setenv("JUNETTS_SAMPLE_RATE", "8000")
    assert Config.load() == Config(sample_rate=8000)
    assert Config.load() != Config()
    assert Config() != "Config"

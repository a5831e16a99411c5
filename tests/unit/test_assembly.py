"""From settings to wired backends."""

from __future__ import annotations

import builtins
import importlib.util
from pathlib import Path

import pytest

from fakes import FakeBackend
from junetts import TTS, Config, _assembly
from junetts._assembly import Wiring, build, chosen
from junetts._backend import Capabilities, TtsBackend
from junetts._config import ServerSection, resolve
from junetts._errors import BackendUnavailableError, ConfigError, InvalidRequestError
from junetts._failover import FailoverBackend
from junetts._guard import GuardedBackend
from junetts.backends import demo, server
from junetts.testing import FishServer, ServerCall


@pytest.mark.parametrize("name", ["cloud", "server", "local", "demo"])
def test_every_built_in_backend_can_be_built(name: str) -> None:
    """Building contacts nothing and gives a backend of that name."""
    backend = build(name, Config(cloud={"api_keys": ["k"]}))
    assert isinstance(backend, TtsBackend)
    assert backend.name == name


def test_an_unknown_backend_is_named() -> None:
    """The error lists those there are."""
    known = "backends names 'edge'; there are: cloud, server, local, demo"
    with pytest.raises(ConfigError, match=known):
        build("edge", Config())


@pytest.mark.parametrize(("field", "key"), [("model", "cloud.model"), (None, "cloud")])
def test_a_backend_that_refuses_its_settings(
    field: str | None, key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its complaint becomes a `ConfigError` with the setting's full name."""

    def refuse(config: Config) -> TtsBackend:
        raise InvalidRequestError("is not possible", field=field, hint="try another")

    monkeypatch.setitem(_assembly._BUILDERS, "cloud", refuse)
    with pytest.raises(ConfigError, match=f"{key}: is not possible") as raised:
        build("cloud", Config())
    assert (raised.value.key, raised.value.hint) == (key, "try another")


@pytest.mark.anyio
async def test_every_backend_is_guarded_and_retried() -> None:
    """One or several: what a client speaks with is a failover over guarded backends."""
    one = FakeBackend(capabilities=Capabilities(sample_rate=8000, price_usd_per_million_bytes=15))
    wiring = Wiring(Config(backends=[one]))
    await wiring.connect()
    assert isinstance(wiring.backend(None), FailoverBackend)
    assert isinstance(wiring.backend("fake"), FailoverBackend)
    assert [type(backend) for backend in wiring.configured] == [GuardedBackend]
    assert wiring.prices() == {"fake": 15}
    await wiring.warmup()
    assert one.n_warmups == 1
    await wiring.aclose()
    await wiring.aclose()
    assert one.n_closed == 1

    wiring = Wiring(Config(backends=[FakeBackend(name="a"), FakeBackend(name="b")]))
    await wiring.connect()
    assert isinstance(wiring.backend(None), FailoverBackend)
    assert [backend.name for backend in wiring.configured] == ["a", "b"]
    await wiring.aclose()


@pytest.mark.anyio
async def test_another_built_in_backend_may_be_asked_for() -> None:
    """``backend="demo"`` works without being configured; it is built once, and closed."""
    wiring = Wiring(Config(backends=[FakeBackend()]))
    await wiring.connect()
    assert wiring.backend("demo").capabilities is wiring.backend("demo").capabilities
    assert [backend.name for backend in wiring.configured] == ["fake"]
    with pytest.raises(
        InvalidRequestError, match="one of fake, cloud, server, local, demo, not 'x'"
    ):
        wiring.backend("x")
    await wiring.aclose()


@pytest.fixture
def found(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """What looking for a server finds, one entry a look; none is left when nobody may look."""
    findings: list[bool] = []

    async def answers(section: ServerSection, *, timeout_s: float) -> bool:
        return findings.pop()

    monkeypatch.setattr(server, "answers", answers)
    return findings


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("config", "found_now", "expected"),
    [
        ({"cloud": {"api_keys": ["k"]}, "server": {"voice": "june"}}, [], "cloud"),
        ({"server": {"url": "http://127.0.0.1:8080"}}, [], "server"),
        ({"server": {"voice": "june"}}, [], "server"),
        ({"server": {"api_key": "k"}}, [], "server"),
        ({"server": {"voice": "", "api_key": ""}}, [False], "demo"),
        ({"server": {"format": "mp3"}}, [True], "server"),
        ({}, [True], "server"),
        ({}, [False], "demo"),
        ({"local": {"device": "cpu"}}, [False], "demo"),
        ({"local": {"checkpoint": "nowhere"}}, [False], "local"),
        ({"local": {"checkpoint": "checkpoints/openaudio-s1-mini"}}, [False], "local"),
        ({"local": {"checkpoint": "nowhere"}}, [True], "server"),
        ({"backends": ["demo", "cloud"]}, [], "demo"),
    ],
)
async def test_what_is_chosen(
    config: dict[str, object],
    found_now: list[bool],
    expected: str,
    found: list[bool],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    """A key, else a server, else a model here, else the demo voice; first what is configured."""
    monkeypatch.chdir(tmp_path)
    found += found_now
    order = await chosen(Config(**{"cloud": {"api_keys": []}} | config))
    assert order[0] == expected
    assert found == []


@pytest.mark.anyio
@pytest.mark.parametrize(("has_torch", "expected"), [(True, "local"), (False, "demo")])
async def test_a_checkpoint_that_is_there_is_taken(
    has_torch: bool,
    expected: str,
    found: list[bool],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    """The usual one, if it could be used; a folder without a model is none."""
    checkpoint = tmp_path / "checkpoints" / "openaudio-s1-mini"
    checkpoint.mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: has_torch or None)
    config = Config(cloud={"api_keys": []})
    found += [False, False]
    assert await chosen(config) == ("demo",)
    (checkpoint / "config.json").touch()
    assert await chosen(config) == (expected,)


@pytest.fixture
def without_tiktoken(monkeypatch: pytest.MonkeyPatch) -> None:
    """The extra ``local`` is only half installed."""
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if "tik" in name else name)


@pytest.mark.anyio
@pytest.mark.usefixtures("without_tiktoken")
async def test_a_missing_extra_is_named_where_it_is_needed() -> None:
    """Building does not fail, so that others can speak; asking does, with what to install."""
    backend = build("local", Config())
    assert isinstance(backend, TtsBackend)
    health = await backend.probe()
    assert health.status == "unavailable"
    assert health.detail == "cannot speak on this machine: not installed: tiktoken"
    assert health.hint == 'pip install "junetts[local]"'
    with pytest.raises(BackendUnavailableError, match="not installed: tiktoken"):
        await backend.warmup()
    async with TTS(Config(backends=["local"])) as tts:
        with pytest.raises(BackendUnavailableError, match="not installed: tiktoken") as raised:
            await tts.synthesize("Hello.")
    assert (raised.value.backend, raised.value.retryable) == ("local", False)
    assert raised.value.hint == 'pip install "junetts[local]"'
    async with TTS(Config(backends=["local", FakeBackend()])) as tts:
        speech = await tts.synthesize("Hello.")
    assert speech.report.backend == "fake"


@pytest.mark.anyio
@pytest.mark.parametrize("error", [ImportError("broken wheel"), OSError("libc10.so not found")])
async def test_packages_that_cannot_be_loaded(
    error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An installation that is broken is told like one that is missing."""
    load = builtins.__import__

    def broken(name: str, *rest: object) -> object:
        if name == "junetts.backends.local":
            raise error
        return load(name, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(builtins, "__import__", broken)
    health = await build("local", Config()).probe()
    assert health.detail == f"cannot speak on this machine: a package cannot be loaded: {error}"


@pytest.mark.anyio
async def test_a_server_from_the_environment_is_configured(
    monkeypatch: pytest.MonkeyPatch, found: list[bool], tmp_path: Path
) -> None:
    """Wherever the setting was written, and also under arguments on top."""
    monkeypatch.setenv("JUNETTS_SERVER__URL", "http://127.0.0.1:8080")
    monkeypatch.delenv("FISH_API_KEY", raising=False)
    monkeypatch.chdir(tmp_path)
    assert await chosen(resolve(None, {})) == ("server",)
    assert await chosen(resolve(resolve(None, {}), {"sample_rate": 16_000})) == ("server",)


@pytest.mark.anyio
async def test_a_configured_server_that_is_down_is_not_replaced_by_a_robot() -> None:
    """Its own error speaks."""
    config = Config(cloud={"api_keys": []}, server={"url": "http://127.0.0.1:1"})
    async with TTS(config) as tts:
        with pytest.raises(BackendUnavailableError, match="connection refused"):
            await tts.synthesize("Hello.")


@pytest.mark.anyio
async def test_a_busy_server_is_not_replaced_by_a_robot(monkeypatch: pytest.MonkeyPatch) -> None:
    """One that nobody configured, and that says nothing while it speaks to someone else."""

    async def stall(call: ServerCall) -> None:
        await call.until_left()

    monkeypatch.setattr(_assembly, "AUTO_TIMEOUT_S", 0.05)
    async with FishServer(script=stall) as busy:
        section = ServerSection(url=busy.url)
        section.model_fields_set.clear()
        config = Config(cloud={"api_keys": []})
        assert await chosen(config.model_copy(update={"server": section})) == ("server",)


@pytest.fixture
def notices(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """One entry for each time that the demo voice says that it is a robot."""
    given: list[bool] = []
    monkeypatch.setattr(demo, "notice", lambda: given.append(True))
    return given


@pytest.mark.anyio
@pytest.mark.parametrize("backends", [[], ["server", "demo"]])
async def test_a_robot_that_steps_in_says_so(
    backends: list[str], found: list[bool], notices: list[bool]
) -> None:
    """Not before it speaks; both when `auto` takes it and when a real voice has failed."""
    found.append(False)
    down = {"url": "http://127.0.0.1:1"} if backends else {}
    async with TTS(Config(cloud={"api_keys": []}, server=down, backends=backends)) as tts:
        await tts.warmup()
        assert notices == []
        speech = await tts.synthesize("Hello.")
    assert speech.report.backend == "demo"
    assert notices == [True]


@pytest.mark.anyio
@pytest.mark.parametrize("backends", [["demo"], ["demo", "server"]])
async def test_a_robot_that_was_chosen_says_nothing(
    backends: list[str], notices: list[bool]
) -> None:
    """Who names it first knows what it is; so does who asks for it by name."""
    async with TTS(Config(backends=backends)) as tts:
        await tts.synthesize("Hello.")
    async with TTS(Config(backends=[FakeBackend()])) as tts:
        await tts.synthesize("Hello.", backend="demo")
    assert notices == []

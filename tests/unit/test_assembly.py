"""From settings to wired backends."""

from __future__ import annotations

import pytest

from fakes import FakeBackend
from junetts import Config, _assembly
from junetts._assembly import Wiring, build
from junetts._backend import Capabilities, TtsBackend
from junetts._errors import ConfigError, InvalidRequestError
from junetts._failover import FailoverBackend
from junetts._guard import GuardedBackend


@pytest.mark.parametrize("name", ["cloud", "server", "demo"])
def test_every_built_in_backend_can_be_built(name: str) -> None:
    """Building contacts nothing and gives a backend of that name."""
    backend = build(name, Config(cloud={"api_keys": ["k"]}))
    assert isinstance(backend, TtsBackend)
    assert backend.name == name


def test_an_unknown_backend_is_named() -> None:
    """The error lists those there are."""
    with pytest.raises(ConfigError, match="backends names 'local'; there are: cloud, server, demo"):
        build("local", Config())


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
async def test_one_backend_is_itself_and_several_are_a_failover() -> None:
    """Every backend is guarded; only two or more need a failover."""
    one = FakeBackend(capabilities=Capabilities(sample_rate=8000, price_usd_per_million_bytes=15))
    wiring = Wiring(Config(backends=[one]))
    await wiring.connect()
    assert isinstance(wiring.backend(None), GuardedBackend)
    assert wiring.backend("fake") is wiring.backend(None)
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
    demo = wiring.backend("demo")
    assert wiring.backend("demo") is demo
    assert [backend.name for backend in wiring.configured] == ["fake"]
    with pytest.raises(InvalidRequestError, match="one of fake, cloud, server, demo, not 'x'"):
        wiring.backend("x")
    await wiring.aclose()


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("key", "answering", "chosen"),
    [("k", True, "cloud"), ("", True, "server"), ("", False, "demo")],
)
async def test_auto(
    key: str, answering: bool, chosen: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A key, else a server that answers, else the demo voice with its notice."""
    from junetts.backends import demo, server

    noticed: list[bool] = []

    async def answers(url: str, *, timeout_s: float) -> bool:
        return answering

    monkeypatch.setattr(server, "answers", answers)
    monkeypatch.setattr(demo, "notice", lambda: noticed.append(True))
    wiring = Wiring(Config(cloud={"api_keys": [key] if key else []}))
    await wiring.connect()
    assert [backend.name for backend in wiring.configured] == [chosen]
    assert bool(noticed) == (chosen == "demo")
    await wiring.aclose()

"""``junetts doctor``: what it finds, and the fix it names."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import anyio
import pytest

from junetts import _assembly
from junetts._config import Config, ServerSection
from junetts._errors import BackendUnavailableError
from junetts.cli import doctor as doctor_module
from junetts.cli.doctor import Check, Findings, doctor, examine
from junetts.testing import CloudServer, FishServer, ServerCall

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from conftest import ScriptedBackend
    from junetts._backend import Health

KEY = "canary-key-of-the-doctor"
NOBODY = "http://127.0.0.1:1"


@pytest.fixture(autouse=True)
def no_server(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever runs on this machine's port 8080 is no part of the test."""
    nobody = ServerSection(url=NOBODY)
    nobody.model_fields_set.clear()  # as if it were the default
    load = Config.load

    def load_elsewhere(path: str | None = None) -> Config:
        config = load(path)
        is_given = "url" in config.server.model_fields_set
        return config if is_given else config.model_copy(update={"server": nobody})

    monkeypatch.setattr(Config, "load", load_elsewhere)


def by_name(findings: Findings) -> dict[str, Check]:
    """The checks by what they are of."""
    return {check.name: check for check in findings.checks}


@pytest.mark.anyio
async def test_bare_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without settings the demo voice would speak; what lacks is named, and is not in the way."""
    findings = await examine(None)
    checks = by_name(findings)
    assert list(checks) == ["settings", "cloud", "server", "local", "demo", "play"]
    assert checks["settings"].detail == "no file; environment and defaults"
    assert checks["cloud"].mark == "!"
    assert "FISH_API_KEY" in str(checks["cloud"].fix)
    assert checks["server"].mark == "!"
    assert "connection refused" in checks["server"].detail
    assert findings.speaks_with == "demo"


@pytest.mark.anyio
async def test_missing_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without torch the fix is to install it; it is not in the way of who has not asked for it."""
    monkeypatch.setattr(_assembly, "_LOCAL_PACKAGES", ("no_such_package",))
    findings = await examine(None)
    check = by_name(findings)["local"]
    assert (check.mark, check.fix) == ("!", 'pip install "junetts[local]"')
    monkeypatch.setenv("JUNETTS_LOCAL__CHECKPOINT", "somewhere")
    findings = await examine(None)
    assert by_name(findings)["local"].mark == "x"
    assert findings.speaks_with is None


@pytest.mark.anyio
async def test_key_that_is_accepted(monkeypatch: pytest.MonkeyPatch) -> None:
    """A key means the cloud, and one that is accepted means that it speaks."""
    async with CloudServer(keys={KEY}) as server:
        monkeypatch.setenv("FISH_API_KEY", KEY)
        monkeypatch.setenv("JUNETTS_CLOUD__URL", server.url)
        findings = await examine(None)
    assert by_name(findings)["cloud"].mark == "ok"
    assert findings.speaks_with == "cloud"


@pytest.mark.anyio
async def test_key_that_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """A wrong key is in the way: `auto` would not fall back to a robot."""
    async with CloudServer(keys={"another"}) as server:
        monkeypatch.setenv("FISH_API_KEY", KEY)
        monkeypatch.setenv("JUNETTS_CLOUD__URL", server.url)
        findings = await examine(None)
    check = by_name(findings)["cloud"]
    assert check.mark == "x"
    assert "Invalid Token" in check.detail
    assert check.fix
    assert findings.speaks_with is None
    assert KEY not in repr(findings)


@pytest.mark.anyio
async def test_configured_order(surrounding: Path) -> None:
    """Of the configured backends the first that can speak does; the failed one is an x."""
    (surrounding / "junetts.toml").write_text('backends = ["server", "demo"]')
    findings = await examine(None)
    checks = by_name(findings)
    assert (checks["server"].mark, checks["cloud"].mark, checks["demo"].mark) == ("x", "!", "ok")
    assert findings.speaks_with == "demo"
    assert checks["settings"].detail == "junetts.toml"


@pytest.mark.anyio
async def test_configured_server_that_is_down(monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that the settings name is in the way: `auto` would not fall back to a robot."""
    monkeypatch.setenv("JUNETTS_SERVER__URL", NOBODY)
    findings = await examine(None)
    checks = by_name(findings)
    assert (checks["server"].mark, checks["cloud"].mark, checks["demo"].mark) == ("x", "!", "ok")
    assert findings.speaks_with is None


@pytest.mark.anyio
async def test_busy_server(monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that speaks to someone else would speak here next."""

    async def stall(call: ServerCall) -> None:
        await call.until_left()

    async with FishServer(script=stall) as server:
        monkeypatch.setattr(doctor_module, "BACKEND_NAMES", ("server", "demo"))
        monkeypatch.setenv("JUNETTS_SERVER__URL", server.url)
        findings = await examine(None)
    assert by_name(findings)["server"].mark == "!"
    assert findings.speaks_with == "server"


def test_wrong_setting_is_a_finding(surrounding: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """With broken settings nothing can speak, and the doctor says which and where."""
    (surrounding / "junetts.toml").write_text('[cloud]\nmodle = "s1"')
    assert doctor(None, as_json=False) == 1
    out, err = capsys.readouterr()
    assert out.startswith("x   settings  cloud.modle is not a setting; did you mean cloud.model?")
    assert "nothing can speak now" in out
    assert err == ""


def test_report_for_people(capsys: pytest.CaptureFixture[str]) -> None:
    """One line for each check, and one more for each fix."""
    assert doctor(None, as_json=False) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "ok  settings  no file; environment and defaults"
    assert lines[1].startswith("!   cloud     ")
    assert lines[2].startswith("              fix: ")
    assert lines[-1] == "speaking now would use: demo"


def test_report_for_programs(capsys: pytest.CaptureFixture[str]) -> None:
    """The same as JSON."""
    assert doctor(None, as_json=True) == 0
    findings = json.loads(capsys.readouterr().out)
    assert findings["speaks_with"] == "demo"
    assert findings["checks"][0]["name"] == "settings"


def use(monkeypatch: pytest.MonkeyPatch, build: Callable[..., object]) -> None:
    """Let every backend be built like this."""
    monkeypatch.setattr(doctor_module, "build", build)


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("error", "detail"),
    [
        (BackendUnavailableError("on fire"), "on fire"),
        (OSError("no libcudart.so"), "the backend failed: OSError: no libcudart.so"),
    ],
)
async def test_backend_that_raises(
    monkeypatch: pytest.MonkeyPatch, backend: ScriptedBackend, error: Exception, detail: str
) -> None:
    """A probe that raises, whatever it is, is a finding like others."""

    async def probe() -> Health:
        raise error

    monkeypatch.setattr(backend, "probe", probe)
    use(monkeypatch, lambda name, config: backend)
    checks = by_name(await examine(None))
    assert checks["demo"].mark == "x"
    assert checks["demo"].detail == detail


@pytest.mark.anyio
async def test_backend_that_never_answers(
    monkeypatch: pytest.MonkeyPatch, backend: ScriptedBackend
) -> None:
    """The doctor does not wait forever."""
    monkeypatch.setattr(doctor_module, "PROBE_TIMEOUT_S", 0.05)
    monkeypatch.setattr(backend, "probe", anyio.sleep_forever)
    use(monkeypatch, lambda name, config: backend)
    checks = by_name(await examine(None))
    assert checks["cloud"].detail == "no answer within 0.05 s"


def test_no_player(monkeypatch: pytest.MonkeyPatch) -> None:
    """A missing player is named with how to get one."""
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    check = doctor_module._player()
    assert (check.mark, check.fix) == ("!", 'pip install "junetts[play]"')

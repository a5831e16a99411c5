"""Settings under arbitrary input: only our errors, and every source means the same."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from junetts._config import Config, resolve
from junetts._config_sources import variable_name
from junetts._errors import ConfigError

if TYPE_CHECKING:
    from pathlib import Path

KEYS = [setting.key for setting in Config().settings()]
scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20)
anything = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner),
    max_leaves=6,
)
SOUND = {
    "backends": st.lists(st.sampled_from(["cloud", "server", "local", "demo"]), unique=True),
    "sample_rate": st.integers(8000, 192_000),
    "ahead_s": st.floats(0.001, 86_400),
    "cloud.model": st.sampled_from(["s1", "s2-pro", "s2.1-pro"]),
    "cloud.api_keys": st.lists(st.text("abc0-", min_size=1, max_size=8), max_size=3),
    "cloud.normalize": st.booleans(),
    "cloud.opus_bitrate": st.sampled_from([-1000, 24000, 64000]),
    "server.queue_limit": st.integers(0, 10_000),
    "local.device": st.sampled_from(["auto", "cpu", "cuda:3"]),
    "local.max_context": st.integers(256, 32_768),
    "fallback.stall_timeout_s": st.floats(0.5, 60),
}


def nested(flat: dict[str, object]) -> dict[str, object]:
    """Settings by section."""
    result: dict[str, object] = {}
    for key, value in flat.items():
        table, _, name = key.rpartition(".")
        inner = result.setdefault(table, {}) if table else result
        assert isinstance(inner, dict)
        inner[name] = value
    return result


@given(st.dictionaries(st.sampled_from(KEYS) | st.text(max_size=12), anything, max_size=3))
def test_only_our_errors(flat: dict[str, object]) -> None:
    """Whatever is given as a setting, it is taken or refused by a `ConfigError`."""
    sections = nested({key: value for key, value in flat.items() if "." in key})
    overrides = {key.replace(".", "_"): value for key, value in flat.items()}
    for make in (lambda: Config(**sections), lambda: resolve(Config(), overrides)):
        refusal = None
        try:
            make()
        except ConfigError as error:
            refusal = error
        assert refusal is None or refusal.__context__ is None
        assert refusal is None or "\n" not in str(refusal)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=50)
@given(flat=st.fixed_dictionaries({}, optional=SOUND))
def test_every_source_means_the_same(flat: dict[str, object], tmp_path: Path) -> None:
    """Arguments, environment and file give equal settings."""
    expected = Config(**nested(flat))
    file = tmp_path / "junetts.toml"
    file.write_text("\n".join(f"{key} = {json.dumps(value)}" for key, value in flat.items()))
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("FISH_API_KEY", raising=False)
        assert resolve(file, {}) == expected
        empty = tmp_path / "empty.toml"
        empty.touch()
        for key, value in flat.items():
            text = value if isinstance(value, str) else json.dumps(value)
            patch.setenv(variable_name(key), text)
        assert resolve(empty, {}) == expected

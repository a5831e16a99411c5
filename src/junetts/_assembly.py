"""From settings to wired backends: the only place that knows the built-in ones."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import replace

from anyio import create_task_group
from anyio.to_thread import run_sync

from junetts._backend import Health, TtsBackend
from junetts._config import Config
from junetts._errors import ConfigError, InvalidRequestError
from junetts._events import BreakerEvent
from junetts._failover import FailoverBackend
from junetts._guard import GuardedBackend
from junetts._monitor import HealthMonitor
from junetts._resumption import Pace

AUTO_TIMEOUT_S = 0.3  # how long `auto` waits for a server on this machine to answer
LOCAL = "local"
DEMO = "demo"
_LOCAL_PACKAGES = ("torch", "safetensors", "tokenizers", "tiktoken")


def _cloud(config: Config) -> TtsBackend:
    from junetts.backends.cloud import CloudBackend

    section = config.cloud
    if config.fallback.on_partial == "continue" and "timestamps" not in section.model_fields_set:
        # Without word times it could only be estimated where to go on.
        section = section.model_copy(update={"timestamps": True})
    return CloudBackend(section)


def _server(config: Config) -> TtsBackend:
    from junetts.backends.server import ServerBackend

    return ServerBackend(config.server)


def _local(config: Config) -> TtsBackend:
    if missing := missing_for_local():
        return _not_installed(f"not installed: {', '.join(missing)}")
    if config.local.engine == "fish-speech":
        from junetts.backends._fish_speech import FishSpeechBackend

        return FishSpeechBackend(config.local)
    try:
        from junetts.backends.local import LocalBackend
    except (ImportError, OSError) as error:  # OSError: a shared library that it needs
        return _not_installed(f"a package cannot be loaded: {error}")
    return LocalBackend(config.local)


def missing_for_local() -> list[str]:
    """The packages of the extra ``local`` that are not installed."""
    return [name for name in _LOCAL_PACKAGES if not _is_installed(name)]


def _is_installed(package: str) -> bool:
    return importlib.util.find_spec(package) is not None


def _not_installed(what: str) -> TtsBackend:
    """In an order of preference it is passed over, like a backend that is down."""
    from junetts.backends.absent import AbsentBackend

    return AbsentBackend(LOCAL, f"cannot speak on this machine: {what}", extra="local")


def _demo(config: Config) -> TtsBackend:
    from junetts.backends.demo import DemoBackend

    return DemoBackend(config.demo)


_BUILDERS: dict[str, Callable[[Config], TtsBackend]] = {
    "cloud": _cloud,
    "server": _server,
    LOCAL: _local,
    DEMO: _demo,
}


def build(name: str, config: Config) -> TtsBackend:
    """Build one built-in backend; nothing is contacted yet.

    Raises:
        ConfigError: if there is no such backend or its settings do not allow one.
    """
    builder = _BUILDERS.get(name)
    if builder is None:
        known = ", ".join(_BUILDERS)
        raise ConfigError(f"backends names {name!r}; there are: {known}", key="backends")
    try:
        return builder(config)
    except InvalidRequestError as error:
        key = f"{name}.{error.field}" if error.field else name
        raise ConfigError(f"{key}: {error.message}", key=key, hint=error.hint) from error


async def chosen(config: Config) -> tuple[object, ...]:
    """The backends in order of preference: those configured, or the one that `auto` takes.

    That is the cloud if it has a key; else the server if the settings name its url, its key or
    a voice there, so that its own error tells if it is down; else a server that is found on this
    machine, busy or not; else the model on this machine, if the settings name its checkpoint, or
    the usual one is there and torch is installed; else the demo voice. What accepts a connection
    on the server's port and then says nothing is taken for a busy server, whatever it is.
    """
    if config.backends:
        return config.backends
    if config.cloud.api_keys:
        return ("cloud",)
    if _is_server_configured(config) or await _finds_server(config):
        return ("server",)
    if "checkpoint" in config.local.model_fields_set or await run_sync(_finds_checkpoint, config):
        return (LOCAL,)
    return (DEMO,)


def _is_server_configured(config: Config) -> bool:
    server = config.server
    is_written = "url" in server.model_fields_set  # even if it is the default's
    return is_written or server.voice is not None or bool(server.api_key.get_secret_value())


async def _finds_server(config: Config) -> bool:
    from junetts.backends.server import answers

    return await answers(config.server, timeout_s=AUTO_TIMEOUT_S)


def _finds_checkpoint(config: Config) -> bool:
    config_file = config.local.checkpoint_directory / "config.json"
    return config_file.is_file() and _is_installed("torch")  # found, not imported: no wait


def _let_announce(backend: object) -> None:
    """A robot that nobody wanted in the first place says what it is."""
    from junetts.backends.demo import DemoBackend

    if isinstance(backend, DemoBackend):
        backend.announces = True


class Wiring:
    """A client's backends: those in order of preference, and any other that is asked for.

    Guarantees: every backend is guarded, is built once, and is closed by `aclose`.
    """

    def __init__(
        self, config: Config, *, tell: Callable[[BreakerEvent], None] | None = None
    ) -> None:
        self._config = config
        self._monitor = HealthMonitor({}, on_event=tell)
        self._backends: dict[str, GuardedBackend] = {}
        self._paces: dict[str, Pace] = {}
        self._order: tuple[str, ...] = ()

    async def connect(self) -> None:
        """Choose and build the backends.

        Raises:
            ConfigError: if one cannot be built.
        """
        first, *others = await chosen(self._config)
        preferred = self._add(first, is_wanted=bool(self._config.backends))
        self._order = (preferred, *(self._add(entry, is_wanted=False) for entry in others))

    def _add(self, entry: object, *, is_wanted: bool = True) -> str:
        backend = build(entry, self._config) if isinstance(entry, str) else entry
        if entry == DEMO and not is_wanted:
            _let_announce(backend)
        assert isinstance(backend, TtsBackend)  # the configuration has checked it
        guarded = GuardedBackend(backend, sample_rate=self._config.sample_rate)
        self._backends[backend.name] = guarded
        self._paces[backend.name] = Pace()
        self._monitor.watch(guarded)
        return backend.name

    def backend(self, name: str | None) -> TtsBackend:
        """The preferred backends as one, or the one of that name.

        Raises:
            InvalidRequestError: if there is none of that name.
        """
        if name is not None and name not in self._backends:
            self._add_requested(name)
        names = self._order if name is None else (name,)
        return FailoverBackend(
            [self._backends[name] for name in names],
            rules=self._config.fallback,
            monitor=self._monitor,
            paces=self._paces,
        )

    def _add_requested(self, name: str) -> None:
        if name not in _BUILDERS:
            known = ", ".join(dict.fromkeys((*self._order, *_BUILDERS)))
            raise InvalidRequestError(
                f"backend must be one of {known}, not {name!r}", field="backend"
            )
        self._add(name)

    @property
    def configured(self) -> tuple[GuardedBackend, ...]:
        """The backends in order of preference."""
        return tuple(self._backends[name] for name in self._order)

    def prices(self) -> dict[str, float]:
        """What each backend charges, in USD per million UTF-8 bytes."""
        return {
            name: backend.capabilities.price_usd_per_million_bytes
            for name, backend in self._backends.items()
        }

    async def warmup(self) -> None:
        """Warm the preferred backends up."""
        await self.backend(None).warmup()

    async def health(self) -> dict[str, Health]:
        """Probe the preferred backends side by side."""
        found: dict[str, Health] = {}

        async def look(name: str) -> None:
            health = await self._monitor.look(self._backends[name])
            standing = self._monitor.standing(name)
            found[name] = replace(
                health,
                breaker=standing.state,
                failure=standing.reason,
                probe_in_s=standing.retry_in_s,
            )

        async with create_task_group() as group:
            for name in self._order:
                group.start_soon(look, name)
        return {name: found[name] for name in self._order}

    async def aclose(self) -> None:
        """Close every backend, even if closing one fails."""
        async with AsyncExitStack() as stack:
            while self._backends:
                stack.push_async_callback(self._backends.popitem()[1].aclose)
            stack.push_async_callback(self._monitor.aclose)

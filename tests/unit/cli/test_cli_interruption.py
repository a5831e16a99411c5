"""Signals as cancellation."""

from __future__ import annotations

import signal

import anyio
import pytest

from junetts.cli.interruption import interruptible

SIGNALS = (signal.SIGINT, signal.SIGTERM)


@pytest.mark.anyio
@pytest.mark.parametrize("signum", SIGNALS)
async def test_signal_cancels(signum: signal.Signals) -> None:
    """A signal ends the work inside, and is told as an exit status."""
    with interruptible() as interruption:
        signal.raise_signal(signum)
        await anyio.sleep_forever()
    assert interruption.exit_status == 128 + signum


@pytest.mark.anyio
async def test_second_signal_acts_as_before() -> None:
    """Who presses Ctrl-C twice does not want to wait for the end of the cleanup."""
    times = iter([0.0, 1.0])
    with interruptible(clock=lambda: next(times)):
        signal.raise_signal(signal.SIGTERM)
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)


@pytest.mark.anyio
async def test_an_echo_is_no_second_signal() -> None:
    """A signal that comes twice at once, as from ``timeout``, leaves time to end in order."""
    with interruptible(clock=lambda: 0.0) as interruption:
        signal.raise_signal(signal.SIGTERM)
        signal.raise_signal(signal.SIGTERM)
        await anyio.sleep_forever()
    assert interruption.exit_status == 128 + signal.SIGTERM


@pytest.mark.anyio
async def test_nothing_is_left() -> None:
    """After the work, quiet or failed, signals mean what they meant before."""
    before = [signal.getsignal(signum) for signum in SIGNALS]
    with interruptible() as interruption:
        pass
    assert interruption.exit_status is None
    with pytest.raises(KeyError), interruptible():
        raise KeyError
    assert [signal.getsignal(signum) for signum in SIGNALS] == before

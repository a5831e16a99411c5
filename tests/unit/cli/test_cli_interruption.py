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
    before = signal.getsignal(signal.SIGTERM)
    with interruptible():
        assert signal.getsignal(signal.SIGTERM) is not before
        signal.raise_signal(signal.SIGTERM)
        assert signal.getsignal(signal.SIGTERM) is before


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

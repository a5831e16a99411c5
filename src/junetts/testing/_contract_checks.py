"""The promises of a backend, one check each; a broken one is a `ContractError` that says which."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from junetts._audio import BYTES_PER_SAMPLE, PCM
from junetts._backend import BackendAudio, Capabilities, Health, TtsBackend
from junetts._errors import JuneTtsError, UnknownVoiceError
from junetts._report import WordTime
from junetts._utterance import Sampling, Segment, Utterance, Voice

SENTENCES = ("Hello from June. ", "This is the second. ", "And a third.")
ALIKE = 0.05  # how much lengths may differ: a synthesiser may carry something over
ROUNDING = 0.01  # of the level: what may differ where samples were computed in another order
N_STEPS = 12
N_AT_ONCE = 50
WRITING_S = 0.01
N_SETTLING_ROUNDS = 30


class ContractError(AssertionError):
    """A backend breaks a promise."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """A backend under test.

    Attributes:
        backend: newly made.
        unknown_voice: a voice that it does not know.
    """

    backend: TtsBackend
    unknown_voice: Voice


Check = Callable[[Subject], Awaitable[None]]


async def it_is_a_backend(subject: Subject) -> None:
    """It has the protocol's members, and says what it can do."""
    backend = subject.backend
    _require(isinstance(backend, TtsBackend), f"{backend!r} lacks members of `TtsBackend`")
    name, capabilities = backend.name, backend.capabilities
    _require(isinstance(name, str) and bool(name), f"its name is {name!r}")
    _require(isinstance(capabilities, Capabilities), f"its capabilities are {capabilities!r}")
    rate_hz = capabilities.sample_rate
    _require(rate_hz >= 8000, f"its sample rate is {rate_hz} Hz")


async def segments_come_in_order_and_each_is_closed(subject: Subject) -> None:
    """Audio of one segment is consecutive, ends with `end`, and is never mixed."""
    items = await _heard(subject.backend, *SENTENCES)
    order = [item.segment for item in items]
    _require(order == sorted(order), f"items of segments came in this order: {order}")
    ends = [item.segment for item in items if item.end]
    _require(ends == [0, 1, 2], f"of segments 0, 1, 2 these were closed: {ends}")
    last = {item.segment: item for item in items}
    late = [index for index, item in last.items() if item.end is None]
    _require(not late, f"audio came after the end of segments {late}")
    mute = [index for index, n_bytes in _lengths(items).items() if not n_bytes]
    _require(not mute, f"no audio came for segments {mute}")


async def no_text_is_no_audio(subject: Subject) -> None:
    """Nothing to say is success."""
    items = await _heard(subject.backend)
    _require(items == [], f"without any text there were {len(items)} items")


async def utterances_at_once_do_not_mix(subject: Subject) -> None:
    """Several at once each get what they would get alone."""
    alone = [_lengths(await _heard(subject.backend, text)) for text in SENTENCES]
    at_once = await asyncio.gather(*(_heard(subject.backend, text) for text in SENTENCES))
    for text, expected, items in zip(SENTENCES, alone, at_once, strict=True):
        _require_alike(_lengths(items), expected, f"spoken beside others, {text!r}")


async def text_may_come_late(subject: Subject) -> None:
    """Audio of the first segment is handed out while the second is still being written."""
    written = asyncio.Event()

    async def writing() -> AsyncIterator[Segment]:
        yield Segment(index=0, text=SENTENCES[0])
        await written.wait()
        yield Segment(index=1, text=SENTENCES[1])

    ends: list[int] = []
    async with subject.backend.speak(Utterance(), writing()) as audio:
        async for item in audio:
            if item.end is not None:
                ends.append(item.segment)
                asyncio.get_running_loop().call_later(WRITING_S, written.set)
    _require(ends == [0, 1], f"of segments 0 and 1 these were closed: {ends}")


async def leaving_early_is_barge_in(subject: Subject) -> None:
    """Left at any point, it reads no more text and speaks the next utterance whole."""
    whole = _lengths(await _heard(subject.backend, SENTENCES[1]))
    for n_items in (0, 1, 3):
        text = _Endless()
        async with subject.backend.speak(Utterance(), text) as audio:
            for _ in range(n_items):
                await anext(audio)
        n_read = text.n_read
        await _settled()
        _require(text.n_read == n_read, "it went on reading text after it was left")
        what = f"spoken after leaving another after {n_items} items, {SENTENCES[1]!r}"
        _require_alike(_lengths(await _heard(subject.backend, SENTENCES[1])), whole, what)


async def being_cancelled_is_barge_in(subject: Subject) -> None:
    """Cancellation at each of the first steps of the event loop leaves it usable."""
    whole = _lengths(await _heard(subject.backend, SENTENCES[0]))
    for n_steps in range(N_STEPS):
        task = asyncio.create_task(_heard(subject.backend, *SENTENCES))
        await _settled(n_steps)
        was_under_way = task.cancel()
        await asyncio.wait([task])
        what = f"at step {n_steps} cancellation was swallowed"
        _require(task.cancelled() or not was_under_way, what)
    what = f"spoken after others were cancelled, {SENTENCES[0]!r}"
    _require_alike(_lengths(await _heard(subject.backend, SENTENCES[0])), whole, what)


async def failing_text_is_survived(subject: Subject) -> None:
    """A text source that raises ends the utterance with an error, and nothing else."""
    whole = _lengths(await _heard(subject.backend, SENTENCES[0]))

    async def failing() -> AsyncIterator[Segment]:
        yield Segment(index=0, text=SENTENCES[0])
        raise RuntimeError("the text source failed")

    is_told = False
    try:
        async with subject.backend.speak(Utterance(), failing()) as audio:
            async for _ in audio:
                pass
    except Exception:  # noqa: BLE001  (noqa: reviewed) whatever it makes of that
        is_told = True
    _require(is_told, "the text source failed, but it claimed success")
    what = f"spoken after a text source failed, {SENTENCES[0]!r}"
    _require_alike(_lengths(await _heard(subject.backend, SENTENCES[0])), whole, what)


async def unspeakable_text_is_no_failure(subject: Subject) -> None:
    """A segment without a letter or digit is closed like any other, with or without audio."""
    items = await _heard(subject.backend, SENTENCES[0], "... ", SENTENCES[2])
    ends = [item.segment for item in items if item.end]
    _require(ends == [0, 1, 2], f"of segments 0, 1, 2 these were closed: {ends}")


async def an_unknown_voice_is_refused(subject: Subject) -> None:
    """A voice that is nothing to this backend is never replaced by another.

    One that takes no voices at all need not look: what a client wraps it in refuses for it.
    """
    able = subject.backend.capabilities
    if not (able.voice_ids or able.cloning):
        return
    utterance = Utterance(voice=subject.unknown_voice)
    with suppress(UnknownVoiceError):
        async with subject.backend.speak(utterance, given(SENTENCES[0])) as audio:
            await anext(audio, None)
            raise ContractError(f"it took the unknown voice {subject.unknown_voice!r}")


async def a_probe_finds_it_well(subject: Subject) -> None:
    """Health is found out, and is good: what is checked is able to speak."""
    health: object = await subject.backend.probe()
    is_well = isinstance(health, Health) and health.status == "ok"
    _require(is_well, f"the probe found {health!r}")


async def warming_up_is_optional_and_harmless(subject: Subject) -> None:
    """It speaks the same before and after."""
    cold = _lengths(await _heard(subject.backend, SENTENCES[0]))
    await subject.backend.warmup()
    await subject.backend.warmup()
    warm = _lengths(await _heard(subject.backend, SENTENCES[0]))
    _require_alike(warm, cold, f"spoken after warming up, {SENTENCES[0]!r}")


async def closing_is_final_and_may_be_repeated(subject: Subject) -> None:
    """A closed backend refuses with an error of ours."""
    await _heard(subject.backend, SENTENCES[0])
    await subject.backend.aclose()
    await subject.backend.aclose()
    try:
        await _heard(subject.backend, SENTENCES[0])
    except JuneTtsError:
        return
    except Exception as error:
        raise ContractError(f"closed, it raised a foreign {type(error).__name__}") from error
    raise ContractError("it speaks after it was closed")


async def a_seed_is_honoured(subject: Subject) -> None:
    """If it says that it can, the same seed gives the same speech, but for rounding."""
    if not subject.backend.capabilities.seed:
        return
    first, second = [await _heard(subject.backend, *SENTENCES) for _ in range(2)]
    _require_alike(_lengths(second), _lengths(first), "the same seed")
    if all(item.format.media_type == PCM for item in first):
        one, other = _samples(first), _samples(second)
        n_shared = min(len(one), len(other))
        difference = np.abs(one[:n_shared] - other[:n_shared]).mean()
        _require(difference <= ROUNDING * np.abs(one).mean(), "the same seed gave other audio")


async def word_times_are_told(subject: Subject) -> None:
    """If it says that it can, words come in order, within their segment's audio."""
    if not subject.backend.capabilities.word_times:
        return
    items = await _heard(subject.backend, SENTENCES[0])
    words: tuple[WordTime, ...] = ()
    for item in items:
        words = item.words or words
    _require(bool(words), "it claims to tell word times, but told none")
    times = [time_s for word in words for time_s in (word.start_s, word.end_s)]
    _require(times == sorted(times) and times[0] >= 0, f"its words have the times {times}")
    audio = next(item.format for item in items if item.data)
    if audio.media_type == PCM:
        duration_s = _lengths(items)[0] / (BYTES_PER_SAMPLE * audio.sample_rate * audio.channels)
        what = f"a word ends at {times[-1]:.2f} s of {duration_s:.2f} s"
        _require(times[-1] <= duration_s * (1 + ALIKE), what)


CHECKS: tuple[Check, ...] = (
    it_is_a_backend,
    segments_come_in_order_and_each_is_closed,
    no_text_is_no_audio,
    utterances_at_once_do_not_mix,
    text_may_come_late,
    leaving_early_is_barge_in,
    being_cancelled_is_barge_in,
    failing_text_is_survived,
    unspeakable_text_is_no_failure,
    an_unknown_voice_is_refused,
    a_probe_finds_it_well,
    warming_up_is_optional_and_harmless,
    closing_is_final_and_may_be_repeated,
    a_seed_is_honoured,
    word_times_are_told,
)


async def given(*texts: str) -> AsyncIterator[Segment]:
    """Segments that are all there."""
    for index, text in enumerate(texts):
        yield Segment(index=index, text=text)


class _Endless:
    """Text that never ends, if slowly after a while; counts what was read of it."""

    def __init__(self) -> None:
        self.n_read = 0

    def __aiter__(self) -> _Endless:
        return self

    async def __anext__(self) -> Segment:
        index = self.n_read
        self.n_read += 1
        if index >= N_AT_ONCE:  # or one that collects it all would never come to rest
            await asyncio.Event().wait()
        return Segment(index=index, text=SENTENCES[index % len(SENTENCES)])


async def _heard(backend: TtsBackend, *texts: str) -> list[BackendAudio]:
    """Everything that the backend yields for those segments, the same each time."""
    utterance = Utterance()
    if backend.capabilities.seed:
        utterance = replace(utterance, sampling=Sampling(seed=1))
    async with backend.speak(utterance, given(*texts)) as audio:
        return [item async for item in audio]


async def _settled(n_rounds: int = N_SETTLING_ROUNDS) -> None:
    """Let everything happen that needs no time."""
    for _ in range(n_rounds):
        await asyncio.sleep(0)


def _lengths(items: list[BackendAudio]) -> dict[int, int]:
    """Bytes of audio by segment."""
    totals: dict[int, int] = {}
    for item in items:
        totals[item.segment] = totals.get(item.segment, 0) + len(item.data)
    return totals


def _samples(items: list[BackendAudio]) -> npt.NDArray[np.float64]:
    """Raw PCM as one array, ``[n_samples]``."""
    return np.frombuffer(b"".join(item.data for item in items), "<i2").astype(np.float64)


def _require_alike(found: dict[int, int], expected: dict[int, int], what: str) -> None:
    pairs = [(found.get(index, 0), n_bytes) for index, n_bytes in expected.items()]
    is_alike = found.keys() == expected.keys() and all(
        abs(n_found - n_bytes) <= ALIKE * n_bytes for n_found, n_bytes in pairs
    )
    _require(is_alike, f"{what} has other audio: bytes by segment are {found}, not {expected}")


def _require(is_kept: bool, message: str) -> None:
    if not is_kept:
        raise ContractError(message)

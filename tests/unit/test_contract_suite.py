"""The contract suite lets a good backend pass and catches each kind of bad one."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator
from contextlib import AbstractAsyncContextManager, aclosing, asynccontextmanager
from dataclasses import replace

import numpy as np
import pytest

from junetts._backend import BackendAudio, Capabilities, Health, TtsBackend
from junetts._report import WordTime
from junetts._utterance import Segment, Utterance, Voice
from junetts.testing import (
    BackendContract,
    ContractError,
    ToneBackend,
    ToneVoice,
    check_backend,
    virtual_time,
)
from junetts.testing._contract_checks import CHECKS

LIMIT_S = 10.0
VOICE = ToneVoice(sample_rate=8_000)
Audio = AsyncIterator[BackendAudio]


class Good(ToneBackend):
    """A backend without a fault, to be given one; its pieces take a moment each."""

    def __init__(self, *, word_times: bool = True) -> None:
        super().__init__(VOICE, chunk_s=0.5, pace=lambda _: asyncio.sleep(0), word_times=word_times)


class Relaying(Good):
    """Speaks as a good one does, after `segments` and before `audio` have had their say."""

    @asynccontextmanager
    async def speak(
        self, utterance: Utterance, segments: AsyncIterable[Segment]
    ) -> AsyncIterator[Audio]:
        """Speak, with whatever a subclass gets wrong."""
        async with (
            super().speak(utterance, self.segments(segments)) as audio,
            aclosing(self.audio(audio)) as changed,
        ):
            yield changed

    async def segments(self, given: AsyncIterable[Segment]) -> AsyncGenerator[Segment, None]:
        """The text that is spoken."""
        async for segment in given:
            yield segment

    async def audio(self, made: Audio) -> AsyncGenerator[BackendAudio, None]:
        """The audio that is yielded."""
        async for item in made:
            yield item


class WithoutProbe:
    """Lacks a member of the protocol."""

    def __init__(self) -> None:
        self._good = Good()
        self.name, self.capabilities = "partial", self._good.capabilities
        self.warmup, self.speak, self.aclose = (
            self._good.warmup,
            self._good.speak,
            self._good.aclose,
        )


class Nameless(Good):
    """Has no name."""

    def __init__(self) -> None:
        super().__init__()
        self.name = ""


class Hoarse(Good):
    """Claims a rate at which there is no speech."""

    @property
    def capabilities(self) -> Capabilities:
        """Wrong."""
        return replace(super().capabilities, sample_rate=800)


class Backwards(Relaying):
    """Yields the last segment first."""

    async def audio(self, made: Audio) -> AsyncGenerator[BackendAudio, None]:
        """All of it, sorted the wrong way."""
        items = [item async for item in made]
        for item in sorted(items, key=lambda item: -item.segment):
            yield item


class Unending(Relaying):
    """Does not close its segments."""

    async def audio(self, made: Audio) -> AsyncGenerator[BackendAudio, None]:
        """All but the ends."""
        async for item in made:
            if item.end is None:
                yield item


class Postscript(Relaying):
    """Goes on with a segment that it has closed."""

    async def audio(self, made: Audio) -> AsyncGenerator[BackendAudio, None]:
        """Each end, followed by more."""
        async for item in made:
            yield item
            if item.end is not None:
                yield replace(item, data=b"\x01\x00", end=None)


class Mute(Relaying):
    """Closes its segments without any audio."""

    async def audio(self, made: Audio) -> AsyncGenerator[BackendAudio, None]:
        """The ends alone."""
        async for item in made:
            if item.end is not None:
                yield item


class Forgetful(Relaying):
    """Leaves out what comes last."""

    async def segments(self, given: AsyncIterable[Segment]) -> AsyncGenerator[Segment, None]:
        """All but the third."""
        async for segment in given:
            if segment.index < 2:
                yield segment


class Talkative(Relaying):
    """Says something when there is nothing to say."""

    async def segments(self, given: AsyncIterable[Segment]) -> AsyncGenerator[Segment, None]:
        """A greeting for everyone who says nothing."""
        is_empty = True
        async for segment in given:
            is_empty = False
            yield segment
        if is_empty:
            yield Segment(index=0, text="Hello?")


class Mixing(Relaying):
    """Keeps the text of all utterances in one place."""

    def __init__(self) -> None:
        super().__init__()
        self._text = ""

    async def segments(self, given: AsyncIterable[Segment]) -> AsyncGenerator[Segment, None]:
        """Whatever was written there last."""
        async for segment in given:
            self._text = segment.text
            await asyncio.sleep(0)
            yield replace(segment, text=self._text)


class Collecting(Relaying):
    """Waits for all text before it speaks."""

    async def segments(self, given: AsyncIterable[Segment]) -> AsyncGenerator[Segment, None]:
        """All of it, then each."""
        segments = []
        async for segment in given:
            segments.append(segment)
            if len(segments) > 5:  # endless text is another promise
                break
        for segment in segments:
            yield segment


class Sticky(Relaying):
    """Never lets go of what was left early."""

    def __init__(self) -> None:
        super().__init__()
        self._lock = asyncio.Lock()

    async def audio(self, made: Audio) -> AsyncGenerator[BackendAudio, None]:
        """One at a time, and released only at the end."""
        await self._lock.acquire()
        async for item in made:
            yield item
        self._lock.release()


class Leftover(Relaying):
    """Hands the rest of what was left early to whoever comes next."""

    def __init__(self) -> None:
        super().__init__()
        self._left: list[BackendAudio] = []

    async def audio(self, made: Audio) -> AsyncGenerator[BackendAudio, None]:
        """What others did not take, then what was asked for."""
        for item in self._left:
            yield item
        self._left = [replace(item, end=None) async for item in _first(made)]
        async for item in _joined(self._left, made):
            yield item
        self._left = []


async def _first(made: Audio) -> Audio:
    async for item in made:
        yield item
        return


async def _joined(first: list[BackendAudio], rest: Audio) -> Audio:
    for item in first:
        yield item
    async for item in rest:
        yield item


class Greedy(Relaying):
    """Goes on reading text after it was left."""

    def __init__(self) -> None:
        super().__init__()
        self._readers: list[asyncio.Task[None]] = []

    async def segments(self, given: AsyncIterable[Segment]) -> AsyncGenerator[Segment, None]:
        """Read by a task that nobody stops before the backend is closed."""
        read: asyncio.Queue[Segment | None] = asyncio.Queue()

        async def reading() -> None:
            async for segment in given:
                read.put_nowait(segment)
                await asyncio.sleep(0)
            read.put_nowait(None)

        self._readers.append(asyncio.create_task(reading()))
        while (segment := await read.get()) is not None:
            yield segment

    async def aclose(self) -> None:
        """Stop reading at last."""
        await super().aclose()
        for reader in self._readers:
            reader.cancel()
        await asyncio.gather(*self._readers, return_exceptions=True)


class Deaf(Relaying):
    """Has to be cancelled twice."""

    async def audio(self, made: Audio) -> AsyncGenerator[BackendAudio, None]:
        """Until the end, if nobody insists."""
        items: list[BackendAudio] = []
        task = asyncio.create_task(_collect(made, items))
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.wait([task])
        await asyncio.wait([task])
        for item in items:
            yield item


async def _collect(made: Audio, items: list[BackendAudio]) -> None:
    async for item in made:
        items.append(item)
        if len(items) > 20:
            return


class Glib(Relaying):
    """Claims success when the text source failed."""

    async def segments(self, given: AsyncIterable[Segment]) -> AsyncGenerator[Segment, None]:
        """What there is."""
        with contextlib.suppress(RuntimeError):
            async for segment in given:
                yield segment


class Brittle(Relaying):
    """Is broken for good once a text source failed."""

    async def segments(self, given: AsyncIterable[Segment]) -> AsyncGenerator[Segment, None]:
        """Text, as long as it goes well."""
        try:
            async for segment in given:
                yield segment
        except RuntimeError:
            self.refuses = None
            self._voice = ToneVoice(capacity=1)
            raise


class Skipping(Relaying):
    """Passes over a segment that cannot be spoken, without closing it."""

    async def segments(self, given: AsyncIterable[Segment]) -> AsyncGenerator[Segment, None]:
        """What has a letter."""
        async for segment in given:
            if any(map(str.isalpha, segment.text)):
                yield segment


class AnyVoice(Good):
    """Speaks in its own voice, whatever voice is asked for."""

    @asynccontextmanager
    async def speak(
        self, utterance: Utterance, segments: AsyncIterable[Segment]
    ) -> AsyncIterator[Audio]:
        """Forget the voice."""
        async with super().speak(replace(utterance, voice=None), segments) as audio:
            yield audio


class LateRefusal(Relaying):
    """Looks at the voice after it has begun to speak."""

    @asynccontextmanager
    async def speak(
        self, utterance: Utterance, segments: AsyncIterable[Segment]
    ) -> AsyncIterator[Audio]:
        """Begin, then look."""
        async with super().speak(replace(utterance, voice=None), segments) as audio:
            yield self._checked(utterance.voice, audio)

    async def _checked(self, voice: Voice | None, audio: Audio) -> Audio:
        async for item in audio:
            yield item
            self._refuse_unknown(voice)


class Sick(Good):
    """Is never found well."""

    async def probe(self) -> Health:
        """Wrong."""
        return Health(status="unavailable", detail="always")


class Unprobeable(Good):
    """Raises where it should tell."""

    async def probe(self) -> Health:
        """Wrong."""
        raise OSError("no route")


class WarmedTwice(Good):
    """Can be warmed up but once."""

    async def warmup(self) -> None:
        """Count, and complain."""
        if self.n_warmups:
            raise RuntimeError("warm already")
        self.n_warmups += 1


class Different(Good):
    """Speaks otherwise once it is warm."""

    async def warmup(self) -> None:
        """Change the format."""
        self._format = replace(self._format, sample_rate=16_000)


class ClosedOnce(Good):
    """Can be closed but once."""

    async def aclose(self) -> None:
        """Count, and complain."""
        if self.n_closed:
            raise RuntimeError("closed already")
        self.n_closed += 1


class Immortal(Good):
    """Speaks after it was closed."""

    async def aclose(self) -> None:
        """Nothing."""


class Foreign(Good):
    """Closed, it raises what is no error of ours."""

    def _refuse(self) -> None:
        if self.n_closed:
            raise OSError("bad file descriptor")


class Leaking(Good):
    """Leaves a task behind."""

    async def warmup(self) -> None:
        """Something in the background."""
        self._task = asyncio.create_task(asyncio.sleep(100))


class Unseeded(Relaying):
    """Claims to honour a seed."""

    def __init__(self) -> None:
        super().__init__()
        self._n = 0

    @property
    def capabilities(self) -> Capabilities:
        """Wrong."""
        return replace(super().capabilities, seed=True)

    async def audio(self, made: Audio) -> AsyncGenerator[BackendAudio, None]:
        """Each time louder, or quieter, than the last time."""
        self._n += 1
        async for item in made:
            samples = np.frombuffer(item.data, "<i2") // (1 + self._n % 2)
            yield replace(item, data=samples.astype("<i2").tobytes())


class Rounding(Unseeded):
    """Honours a seed, but for the last bit."""

    async def audio(self, made: Audio) -> AsyncGenerator[BackendAudio, None]:
        """Each time a little different."""
        self._n += 1
        async for item in made:
            samples = np.frombuffer(item.data, "<i2") ^ (self._n % 2)
            yield replace(item, data=samples.astype("<i2").tobytes())


class Untimed(Good):
    """Claims to tell word times."""

    def __init__(self) -> None:
        super().__init__(word_times=False)

    @property
    def capabilities(self) -> Capabilities:
        """Wrong."""
        return replace(super().capabilities, word_times=True)


class Mistimed(Relaying):
    """Tells times that lie elsewhere than the audio."""

    shift_s = 60.0

    async def audio(self, made: Audio) -> AsyncGenerator[BackendAudio, None]:
        """Words that are somewhere else."""
        async for item in made:
            words = None if item.words is None else self._moved(item.words)
            yield replace(item, words=words)

    def _moved(self, words: tuple[WordTime, ...]) -> tuple[WordTime, ...]:
        return tuple(
            replace(word, start_s=word.start_s + self.shift_s, end_s=word.end_s + self.shift_s)
            for word in words
        )


class TooEarly(Mistimed):
    """Words are heard before there is any audio."""

    shift_s = -10.0


class Unsorted(Mistimed):
    """Words are told in the wrong order."""

    def _moved(self, words: tuple[WordTime, ...]) -> tuple[WordTime, ...]:
        return words[::-1]


class Vague(Good):
    """Says what it can do in its own way."""

    capabilities = {"sample_rate": 8_000}  # type: ignore[assignment]  # noqa: RUF012


class Impatient(Relaying):
    """Takes a pause in the text for its end."""

    async def segments(self, given: AsyncIterable[Segment]) -> AsyncGenerator[Segment, None]:
        """What comes without delay."""
        source = aiter(given)
        while True:
            coming = asyncio.ensure_future(anext(source, None))
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            if not coming.done():
                coming.cancel()
                return
            segment = coming.result()
            if segment is None:
                return
            yield segment


class Shaken(Relaying):
    """Speaks otherwise once it was cancelled."""

    async def audio(self, made: Audio) -> AsyncGenerator[BackendAudio, None]:
        """Change the format on the way out."""
        try:
            async for item in made:
                yield item
        except asyncio.CancelledError:
            self._format = replace(self._format, sample_rate=16_000)
            raise


async def names_of_broken_promises(make: type[TtsBackend]) -> set[str]:
    """The checks that a backend fails."""
    try:
        await check_backend(make, limit_s=LIMIT_S)
    except ContractError as error:
        return {line.split(":")[0].strip() for line in str(error).splitlines()[1:]}
    return set()


@pytest.mark.parametrize(
    ("bad", "promise", "words"),
    [
        (WithoutProbe, "it is a backend", "lacks members"),
        (Nameless, "it is a backend", "its name is ''"),
        (Hoarse, "it is a backend", "800 Hz"),
        (Backwards, "segments come in order and each is closed", "in this order: [2"),
        (Unending, "segments come in order and each is closed", "closed: []"),
        (Postscript, "segments come in order and each is closed", "after the end"),
        (Mute, "segments come in order and each is closed", "no audio came for segments [0, 1, 2]"),
        (Forgetful, "segments come in order and each is closed", "closed: [0, 1]"),
        (Talkative, "no text is no audio", "without any text"),
        (Mixing, "utterances at once do not mix", "spoken beside others"),
        (Collecting, "text may come late", "more than 10 s"),
        (Sticky, "leaving early is barge in", "more than 10 s"),
        (Leftover, "leaving early is barge in", "has other audio"),
        (Greedy, "leaving early is barge in", "reading text after it was left"),
        (Deaf, "being cancelled is barge in", "swallowed"),
        (Glib, "failing text is survived", "claimed success"),
        (Brittle, "failing text is survived", "room for"),
        (Skipping, "unspeakable text is no failure", "closed: [0, 2]"),
        (AnyVoice, "an unknown voice is refused", "took the unknown voice"),
        (LateRefusal, "an unknown voice is refused", "took the unknown voice"),
        (Sick, "a probe finds it well", "unavailable"),
        (Unprobeable, "a probe finds it well", "OSError: no route"),
        (WarmedTwice, "warming up is optional and harmless", "warm already"),
        (Different, "warming up is optional and harmless", "has other audio"),
        (ClosedOnce, "closing is final and may be repeated", "closed already"),
        (Immortal, "closing is final and may be repeated", "speaks after it was closed"),
        (Foreign, "closing is final and may be repeated", "foreign OSError"),
        (Leaking, "warming up is optional and harmless", "left tasks behind"),
        (Unseeded, "a seed is honoured", "other audio"),
        (Untimed, "word times are told", "told none"),
        (Mistimed, "word times are told", "a word ends at 61"),
        (TooEarly, "word times are told", "the times"),
        (Unsorted, "word times are told", "the times"),
        (Vague, "it is a backend", "its capabilities are {"),
        (Impatient, "text may come late", "closed: [0]"),
        (Shaken, "being cancelled is barge in", "has other audio"),
    ],
)
def test_a_bad_backend_is_caught(bad: type[TtsBackend], promise: str, words: str) -> None:
    """The promise that it breaks is named, with what was found instead."""

    async def caught() -> str:
        with pytest.raises(ContractError) as error:
            await check_backend(bad, limit_s=LIMIT_S)
        return str(error.value)

    lines = virtual_time.run(caught(), limit_s=1_000.0).splitlines()
    assert f"of {len(CHECKS)} promises are broken" in lines[0]
    line = next((line for line in lines[1:] if line.startswith(f"  {promise}: ")), "")
    assert words in line, "\n".join(lines)


def test_a_good_backend_passes() -> None:
    """Nothing is found where nothing is wrong."""
    virtual_time.run(check_backend(Good, limit_s=LIMIT_S), limit_s=1_000.0)
    virtual_time.run(check_backend(Relaying, limit_s=LIMIT_S), limit_s=1_000.0)
    virtual_time.run(check_backend(Rounding, limit_s=LIMIT_S), limit_s=1_000.0)


def test_each_backend_is_closed_and_made_anew() -> None:
    """Checks do not share a backend, and leave none open."""
    made: list[Good] = []

    def make() -> Good:
        made.append(Good())
        return made[-1]

    virtual_time.run(check_backend(make, limit_s=LIMIT_S), limit_s=1_000.0)
    assert len(made) == len(CHECKS)
    assert all(backend.n_closed for backend in made)


def test_what_is_not_claimed_is_not_asked() -> None:
    """Word times, seeds and voices are optional."""

    class Plain(AnyVoice):
        @property
        def capabilities(self) -> Capabilities:
            return Capabilities(sample_rate=8_000)

    virtual_time.run(check_backend(Plain, limit_s=LIMIT_S), limit_s=1_000.0)


def test_a_bad_backend_breaks_only_what_it_breaks() -> None:
    """Promises are looked at one by one."""
    broken = virtual_time.run(names_of_broken_promises(Skipping), limit_s=1_000.0)
    assert broken == {"unspeakable text is no failure"}
    broken = virtual_time.run(names_of_broken_promises(Sick), limit_s=1_000.0)
    assert broken == {"a probe finds it well"}


class TestGood(BackendContract):
    """As the documentation says, with a backend that is simply made."""

    def backend(self) -> TtsBackend:
        """A new one."""
        return Good()


class TestGoodInContext(BackendContract):
    """As the documentation says, with something around the backend, in virtual time."""

    limit_s = 5.0

    def backend(self) -> AbstractAsyncContextManager[TtsBackend]:
        """A new one."""
        return self._made()

    @asynccontextmanager
    async def _made(self) -> AsyncIterator[TtsBackend]:
        await asyncio.sleep(1)
        good = Good()
        yield good
        assert good.n_closed >= 1
        await asyncio.sleep(1)

    def event_loop(self) -> asyncio.AbstractEventLoop:
        """No waiting."""
        return virtual_time.VirtualTimeLoop()


def test_a_test_class_has_a_test_for_each_check() -> None:
    """None is forgotten, and each runs the one that it is named after."""
    tests = {name for name in dir(BackendContract) if name.startswith("test_")}
    assert tests == {f"test_{check.__name__}" for check in CHECKS}  # type: ignore[attr-defined]

    class Recording(BackendContract):
        def check(self, check: object) -> None:
            ran.append(f"test_{check.__name__}")  # type: ignore[attr-defined]

    for name in sorted(tests):
        ran: list[str] = []
        getattr(Recording(), name)()
        assert ran == [name]


def test_a_test_class_without_a_backend_says_so() -> None:
    """The message tells what to write."""
    with pytest.raises(ContractError, match="must define `backend`"):
        BackendContract().test_it_is_a_backend()


def test_a_test_class_fails_with_the_promise() -> None:
    """What pytest shows is the promise and what was found."""

    class Tested(BackendContract):
        def backend(self) -> TtsBackend:
            return Sick()

    with pytest.raises(ContractError, match=r"^a probe finds it well: the probe found Health"):
        Tested().test_a_probe_finds_it_well()

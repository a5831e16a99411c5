"""Values of sound: what a backend's bytes are, and the chunks handed to a listener."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from junetts._errors import RemoteProtocolError

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

BYTES_PER_SAMPLE = 2  # signed 16 bit little endian, one channel: the one canonical format
PCM = "audio/pcm"

SampleEncoding = Literal["u8", "s16", "s24", "s32", "f32", "f64"]
SAMPLE_BYTES: dict[SampleEncoding, int] = {
    "u8": 1,
    "s16": 2,
    "s24": 3,
    "s32": 4,
    "f32": 4,
    "f64": 8,
}
MIN_RATE_HZ, MAX_RATE_HZ = 1_000, 768_000
MAX_CHANNELS = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class AudioFormat:
    """How a backend describes its bytes, as far as it knows.

    Raw PCM is believed as described. Bytes that start with a RIFF, FLAC, Ogg or ID3 signature
    are read as that container whatever ``media_type`` says; MP3 without a tag is recognised
    only under ``audio/mpeg``, because its two-byte signature is also plausible PCM.
    """

    sample_rate: int
    channels: int = 1
    media_type: str = PCM


@dataclass(frozen=True, slots=True, kw_only=True)
class PcmFormat:
    """How samples lie in bytes: little endian, channels interleaved.

    Raises:
        RemoteProtocolError: for a rate or channel count that is no sound; whoever described
            the bytes so is a peer.
    """

    sample_rate: int
    channels: int = 1
    encoding: SampleEncoding = "s16"

    def __post_init__(self) -> None:
        if not MIN_RATE_HZ <= self.sample_rate <= MAX_RATE_HZ:
            raise RemoteProtocolError(
                f"the audio's sample rate must be {MIN_RATE_HZ} to {MAX_RATE_HZ} Hz, "
                f"not {self.sample_rate}"
            )
        if not 1 <= self.channels <= MAX_CHANNELS:
            raise RemoteProtocolError(
                f"the audio must have 1 to {MAX_CHANNELS} channels, not {self.channels}"
            )

    @property
    def frame_bytes(self) -> int:
        """Length of one sample of every channel."""
        return self.channels * SAMPLE_BYTES[self.encoding]


@dataclass(frozen=True, slots=True, kw_only=True)
class AudioChunk:
    """Some consecutive audio of one segment, ready to be played.

    Attributes:
        pcm: signed 16 bit little-endian mono samples.
        sample_rate: samples per second.
        start_s: where the chunk begins, in seconds of audio from the start of the utterance.
        segment: index of the segment that it belongs to.
    """

    pcm: bytes
    sample_rate: int
    start_s: float
    segment: int

    def __repr__(self) -> str:
        what = f"{self.duration_s:.2f} s at {self.sample_rate} Hz"
        return f"<AudioChunk: {what}, segment {self.segment}, from {self.start_s:.2f} s>"

    @property
    def duration_s(self) -> float:
        """Length in seconds."""
        return len(self.pcm) / (BYTES_PER_SAMPLE * self.sample_rate)

    @property
    def samples(self) -> npt.NDArray[np.float32]:
        """The chunk as float32 in [-1, 1), shape ``[n_samples]``."""
        import numpy as np

        return np.frombuffer(self.pcm, dtype="<i2").astype(np.float32) / np.float32(32768)

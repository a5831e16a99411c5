"""Samples of any layout to s16le mono at one rate: decoding, down-mix, resampling, gain."""

from __future__ import annotations

from typing import TYPE_CHECKING

from junetts._audio import PcmFormat, SampleEncoding

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import soxr

    Samples = npt.NDArray[np.float32] | npt.NDArray[np.float64]  # 1.0 is one step of s16

_SANE = 2.0**31  # float samples beyond are cut, so that float32 cannot overflow further on


class PcmConverter:
    """Turns runs of samples into s16le mono at one rate.

    Guarantees: what comes out does not depend on how the input was cut; incomplete frames are
    carried to the next push; values out of range are clipped, never wrapped; input that is
    canonical already is handed through untouched.
    """

    def __init__(self, *, sample_rate: int, gain_db: float = 0.0) -> None:
        self._sample_rate = sample_rate
        self._gain = 10.0 ** (gain_db / 20.0)
        self._format: PcmFormat | None = None
        self._frame_bytes = 1
        self._is_canonical = False  # the current format is the one that comes out
        self._carry = b""
        self._resampler: soxr.ResampleStream | None = None
        self._resampler_rate = 0
        self._is_resampling = False  # the resampler holds samples

    def push(self, data: bytes, pcm_format: PcmFormat) -> bytes:
        """Convert some bytes of the given format; give what is finished, in whole samples."""
        flushed = b"" if pcm_format is self._format else self._change_format(pcm_format)
        if not (self._carry or len(data) % self._frame_bytes):
            converted = self._convert(data, pcm_format)
            return flushed + converted if flushed else converted
        data = self._carry + data
        n_whole = len(data) - len(data) % self._frame_bytes
        self._carry = data[n_whole:]
        return flushed + self._convert(data[:n_whole], pcm_format)

    def realign(self) -> None:
        """Drop an incomplete frame: the next byte begins a frame."""
        self._carry = b""

    def end(self) -> bytes:
        """Finish: drop an incomplete frame, give what the resampler held back, start anew."""
        self._carry = b""
        return self._flush()

    def _change_format(self, pcm_format: PcmFormat) -> bytes:
        """Take up another format; give the end of the audio before it, if the rate changes."""
        if pcm_format == self._format:
            self._format = pcm_format
            return b""
        flushed = b"" if pcm_format.sample_rate == self._resampler_rate else self._flush()
        self._carry = b""
        self._format = pcm_format
        self._frame_bytes = pcm_format.frame_bytes
        self._is_canonical = self._gain == 1.0 and pcm_format == PcmFormat(
            sample_rate=self._sample_rate
        )
        return flushed

    def _convert(self, data: bytes, pcm_format: PcmFormat) -> bytes:
        """Whole frames to canonical samples."""
        if self._is_canonical or not data:
            return data
        samples = _downmix(_decode(data, pcm_format.encoding), pcm_format.channels)
        if pcm_format.sample_rate != self._sample_rate:
            samples = self._resample(samples, pcm_format.sample_rate)
        return _encode(samples, self._gain)

    def _resample(self, samples: Samples, rate: int) -> Samples:
        import numpy as np
        import soxr

        if self._resampler is None or rate != self._resampler_rate:
            self._resampler = soxr.ResampleStream(
                rate, self._sample_rate, 1, dtype="float32", quality="HQ"
            )
            self._resampler_rate = rate
        self._is_resampling = True
        resampled: npt.NDArray[np.float32] = self._resampler.resample_chunk(
            samples.astype(np.float32, copy=False)
        )
        return resampled

    def _flush(self) -> bytes:
        """What the resampler held back; it is then ready for other audio of its rate."""
        if self._resampler is None or not self._is_resampling:
            return b""
        import numpy as np

        rest = self._resampler.resample_chunk(np.empty(0, dtype=np.float32), last=True)
        self._resampler.clear()
        self._is_resampling = False
        return _encode(rest, self._gain)


def resample_pcm(pcm: bytes, *, source_rate: int, target_rate: int) -> bytes:
    """S16le mono at another rate."""
    converter = PcmConverter(sample_rate=target_rate)
    return converter.push(pcm, PcmFormat(sample_rate=source_rate)) + converter.end()


def _decode(data: bytes, encoding: SampleEncoding) -> Samples:
    """Bytes to floats in which 1.0 is one step of s16, shape ``[n]``; exact but for floats."""
    import numpy as np

    match encoding:
        case "u8":
            return (np.frombuffer(data, np.uint8).astype(np.float32) - 128) * 256
        case "s16":
            return np.frombuffer(data, "<i2").astype(np.float32)
        case "s24":
            widened = np.zeros((len(data) // 3, 4), np.uint8)
            widened[:, 1:] = np.frombuffer(data, np.uint8).reshape(-1, 3)
            return widened.view("<i4")[:, 0] / 65536.0
        case "s32":
            return np.frombuffer(data, "<i4") / 65536.0
        case "f32":
            return _sane(np.frombuffer(data, "<f4").astype(np.float64))
        case "f64":
            return _sane(np.frombuffer(data, "<f8"))


def _sane(values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Full scale 1.0 to s16 steps; not-a-number is silence, and infinity is merely loud."""
    import numpy as np

    limit = _SANE / 32768.0
    return np.nan_to_num(np.clip(values, -limit, limit), nan=0.0) * 32768.0


def _downmix(samples: Samples, channels: int) -> Samples:
    """The mean of the channels, shape ``[n_frames]``."""
    if channels == 1:
        return samples
    import numpy as np

    frames = samples.reshape(-1, channels)  # [frame, channel]
    total = frames[:, 0].astype(np.float64)
    for channel in range(1, channels):  # in this order, so that no cut changes the rounding
        total += frames[:, channel]
    return total / channels


def _encode(samples: Samples, gain: float) -> bytes:
    """Floats in s16 steps to s16le, clipped."""
    import numpy as np

    loud = samples if gain == 1.0 else samples * gain
    return np.clip(np.rint(loud), -32768, 32767).astype("<i2").tobytes()

"""Whatever bytes a backend sends, as one canonical PCM stream."""

from __future__ import annotations

from typing import Protocol

from junetts._audio import AudioFormat, PcmFormat
from junetts._errors import RemoteProtocolError
from junetts._mp3 import with_length
from junetts._pcm import PcmConverter
from junetts._wav import RIFF_SIGNATURES, WavReader

MAX_COMPRESSED_BYTES = 64 * 2**20  # over an hour of MP3; nothing that speaks sends more at once
MAX_DECODED_SAMPLES = 2**27  # 50 minutes at 44.1 kHz: silence compresses without limit

_SIGNATURE_BYTES = 4
_COMPRESSED_SIGNATURES = (b"fLaC", b"OggS", b"ID3")
_SIGNATURES = (*RIFF_SIGNATURES, *_COMPRESSED_SIGNATURES)
_COMPRESSED_TYPES = frozenset(
    f"audio/{name}" for name in ("mpeg", "mp3", "x-mp3", "ogg", "opus", "flac", "x-flac")
)
_TOLERATED_S = 0.1  # encoders differ in how they count their padding


class _Container(Protocol):
    """How the bytes of the segment at hand are wrapped."""

    def push(self, data: bytes, audio_format: AudioFormat) -> bytes:
        """Take bytes; give canonical samples."""

    def end(self) -> bytes:
        """Give the samples held back, those in the converter excepted."""


class CanonicalPcm:
    """One utterance's audio as s16le mono at one rate, whatever arrives.

    Guarantees: samples do not depend on how the bytes were cut; whole samples only are given;
    a finished segment's audio is out completely; only `RemoteProtocolError` is raised, and the
    next segment may follow it; memory is bounded.

    Args:
        sample_rate: of what comes out, in Hz.
        gain_db: change of loudness, with clipping.
    """

    def __init__(self, *, sample_rate: int, gain_db: float = 0.0) -> None:
        self._converter = PcmConverter(sample_rate=sample_rate, gain_db=gain_db)
        self._container: _Container | None = None  # not known at the start of a segment
        self._beginning = b""  # of a segment, while it may yet become a signature
        self._format: AudioFormat | None = None

    @property
    def is_buffering(self) -> bool:
        """A compressed file is being collected, so that ``end_segment`` will take its time."""
        return isinstance(self._container, _Compressed)

    def push(self, data: bytes, audio_format: AudioFormat) -> bytes:
        """Take some bytes of the segment; give samples that can be handed out now.

        Raises:
            RemoteProtocolError: if the bytes contradict their container.
        """
        if self._container is not None:
            return self._container.push(data, audio_format)
        data = self._beginning + data
        if _may_become_signature(data):
            self._beginning, self._format = data, audio_format
            return b""
        self._beginning = b""
        self._container = self._recognise(data, audio_format)
        return self._container.push(data, audio_format)

    def end_segment(self) -> bytes:
        """Finish the segment and give the rest of it; the next push begins another.

        Raises:
            RemoteProtocolError: if announced audio is missing, or the file cannot be decoded.
        """
        container, beginning = self._container, self._beginning
        self._container, self._beginning = None, b""
        rest = b""
        try:
            if container is None and beginning and self._format is not None:
                container = self._recognise(beginning, self._format)
                rest = container.push(beginning, self._format)
            if container is not None:
                rest += container.end()
        finally:
            flushed = self._converter.end()
        return rest + flushed

    def break_segment(self) -> bytes:
        """Drop a segment that broke off; give what the resampler still held of its sound.

        Unlike ``end_segment`` it never complains of missing audio, and decodes nothing.
        """
        self._container, self._beginning = None, b""
        return self._converter.end()

    def _recognise(self, data: bytes, audio_format: AudioFormat) -> _Container:
        """What the segment is, by its first bytes or, failing that, its media type."""
        if data.startswith(RIFF_SIGNATURES):
            return _Wav(self._converter)
        media_type = audio_format.media_type.partition(";")[0].strip().lower()
        if data.startswith(_COMPRESSED_SIGNATURES) or media_type in _COMPRESSED_TYPES:
            return _Compressed(self._converter)
        return _Raw(self._converter)


def _may_become_signature(data: bytes) -> bool:
    """Whether more bytes are needed to tell a container from samples."""
    return len(data) < _SIGNATURE_BYTES and any(
        signature.startswith(data) for signature in _SIGNATURES
    )


class _Raw:
    """Samples without any container, believed to be s16le as described."""

    def __init__(self, converter: PcmConverter) -> None:
        self._converter = converter
        self._described: AudioFormat | None = None

    def push(self, data: bytes, audio_format: AudioFormat) -> bytes:
        if audio_format is not self._described:
            self._described = audio_format
            self._format = PcmFormat(
                sample_rate=audio_format.sample_rate, channels=audio_format.channels
            )
        return self._converter.push(data, self._format)

    def end(self) -> bytes:
        return b""


class _Wav:
    """Samples behind one or more WAV headers, which are believed over any description."""

    def __init__(self, converter: PcmConverter) -> None:
        self._converter = converter
        self._reader = WavReader()

    def push(self, data: bytes, audio_format: AudioFormat) -> bytes:
        parts = self._reader.push(data)
        if len(parts) == 1:
            return self._convert(parts[0])
        return b"".join([self._convert(part) for part in parts])

    def end(self) -> bytes:
        rest = self._reader.end()
        return self._convert(rest) if rest else b""

    def _convert(self, part: PcmFormat | bytes) -> bytes:
        if isinstance(part, PcmFormat):
            self._format = part
            self._converter.realign()
            return b""
        return self._converter.push(part, self._format)


class _Compressed:
    """A compressed file, collected whole and decoded at its end."""

    def __init__(self, converter: PcmConverter) -> None:
        self._converter = converter
        self._file = bytearray()

    def push(self, data: bytes, audio_format: AudioFormat) -> bytes:
        if len(self._file) + len(data) > MAX_COMPRESSED_BYTES:
            raise RemoteProtocolError(
                f"a segment's compressed audio exceeds {MAX_COMPRESSED_BYTES // 2**20} MiB"
            )
        self._file += data
        return b""

    def end(self) -> bytes:
        import soundfile

        try:
            return self._decode()
        except soundfile.SoundFileError as error:
            reason = getattr(error, "error_string", "") or "it is broken or of an unknown kind"
            raise RemoteProtocolError(f"compressed audio cannot be decoded: {reason}") from error

    def _decode(self) -> bytes:
        import io

        import soundfile

        with soundfile.SoundFile(io.BytesIO(with_length(bytes(self._file)))) as file:
            _require_bounded(file.frames * file.channels)
            # All at once: between reads soundfile seeks, which disturbs MP3.
            samples = file.read(dtype="float32", always_2d=True)  # [frame, channel]
            _require_all(file.frames - len(samples), file.samplerate)
            decoded = PcmFormat(sample_rate=file.samplerate, channels=file.channels, encoding="f32")
        return self._converter.push(samples.astype("<f4", copy=False).tobytes(), decoded)


def _require_bounded(n_samples: int) -> None:
    if n_samples > MAX_DECODED_SAMPLES:
        raise RemoteProtocolError(
            f"a segment's compressed audio is longer than {MAX_DECODED_SAMPLES} samples"
        )


def _require_all(n_missing: int, sample_rate: int) -> None:
    """Refuse audio that ends before the length that it announced itself."""
    missing_s = n_missing / sample_rate
    if missing_s > _TOLERATED_S:
        raise RemoteProtocolError(
            f"compressed audio ended {missing_s:.2f} s before the length in its header"
        )

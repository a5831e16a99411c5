"""The neural audio codec, streaming to the sample."""

from junetts._runtime.codec.codec import Codec
from junetts._runtime.codec.pcm import to_pcm16
from junetts._runtime.codec.stream import CodecStream

__all__ = ["Codec", "CodecStream", "to_pcm16"]

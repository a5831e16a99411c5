"""The in-process engine: Fish Speech in torch, synchronous, streamed frame by frame."""

"""Fish Audio's and fish-speech's wire formats, without sockets, clocks or event loops."""

"""The command line: say, doctor, config."""

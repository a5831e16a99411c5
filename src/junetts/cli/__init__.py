"""The command line: say, doctor, download, config."""

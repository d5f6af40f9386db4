"""Text, read and written: durations, globs, versions, positions, problems, words. Pure."""

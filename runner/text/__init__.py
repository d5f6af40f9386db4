"""Text, read and written: durations, globs, versions, positions, problems, tables, words. Pure."""

"""Text, read and written: durations, globs, versions, positions, problems. Pure; imports nothing of ours."""

"""A scripted model on loopback: the real Codex CLI runs without tokens, login or network."""

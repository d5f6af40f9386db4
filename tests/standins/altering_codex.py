"""A program in front of the real Codex that changes single words of its command line, as a wrapper might."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from pathlib import Path

__all__ = ["install_altering_codex"]


def install_altering_codex(
    directory: Path, real: Path, words: Mapping[str, str], name: str = "codex"
) -> Path:
    """Whoever runs `codex` here gets the real one, with each word that is a key of `words` replaced.

    It becomes the real one by exec, so that nothing but the command line tells them apart.
    """
    cases = "".join(f"    {shlex.quote(old)}) word={shlex.quote(new)} ;;\n" for old, new in words.items())
    path = directory / name
    path.write_text(
        "#!/bin/bash\nwords=()\n"
        f'for word in "$@"; do\n  case "$word" in\n{cases}    *) ;;\n  esac\n  words+=("$word")\ndone\n'
        f'exec {shlex.quote(str(real))} "${{words[@]}}"\n',
        encoding="utf-8",
    )
    path.chmod(0o755)
    return path

"""The change of a file as calls of a script: a patch, or commands that put it in place whole. Pure.

Agents have tools of their own for edits, and not all of them keep every byte: some take blanks off at the end
of a line, or read escapes. So only a plain text becomes a patch.
"""

from __future__ import annotations

import base64
import difflib
import re
from collections.abc import Mapping

_LARGEST_PATCH = 100_000
_AT_ONCE = 60_000
"""Bytes in one command: the kernel takes 128 KiB in a word, and base64 makes them a third longer."""
_END = "END_OF_FILE"
_QUOTE = "q=\\'\n"
"""Claude Code puts a command into the quotes of four shells, which make 161 of each `'`. So there is one at
most; and no `$( )`, which Gemini CLI refuses.
"""
LINK = 0o120000


def patched(path: str, before: bytes | None, after: bytes | None, mode: int) -> str | None:
    """The section of a patch; None where an agent might make something else of it. `mode` is that of git,
    before as well.
    """
    if mode != 0o100644 or not _is_plain(path) or path != path.strip():
        return None
    if after is None:
        return f"*** Delete File: {path}\n"
    if not all(_is_text(data) for data in (before or b"\n", after)):
        return None
    new = after.decode().splitlines(keepends=True)
    if before is None:
        return "".join((f"*** Add File: {path}\n", *(f"+{line}" for line in new)))
    text = before.decode()
    old, made = text.splitlines(keepends=True), [f"*** Update File: {path}\n"]
    for group in difflib.SequenceMatcher(None, old, new, autojunk=False).get_grouped_opcodes(3):
        place = "".join(old[group[0][1] : group[-1][2]])
        if not place or text.count(place.removesuffix("\n")) != 1 or group[0][3] == group[-1][4]:
            return None  # not the only such place, or nothing is left of it
        made.append("@@\n")
        for kind, first, last, begin, end in group:
            made += [f" {line}" for line in old[first:last]] if kind == "equal" else []
            made += [f"-{line}" for line in old[first:last]] if kind in ("replace", "delete") else []
            made += [f"+{line}" for line in new[begin:end]] if kind in ("replace", "insert") else []
    return "".join(made)


def put(files: Mapping[str, tuple[bytes | None, int]]) -> list[str]:
    """The commands, one after the other, that put these contents with these modes in their places, whatever
    stands there. Nothing is removed or written through a link. Contents are base64, so that they count as
    much in every agent.
    """
    made: list[str] = []
    above = {path for path, (after, _) in files.items() if after is not None}
    goes = {path for path in files if above.isdisjoint(_parents(path))}
    for path in sorted(goes, key=lambda path: (files[path][0] is not None, path)):
        for text in _put(path, *files[path]):
            if made and len(made[-1]) + len(text) < _AT_ONCE:
                made[-1] += f"\n{text}"
            else:
                made.append(text)
    return [f"{_QUOTE}{text}" if "${q}" in text else text for text in made]


def _put(path: str, after: bytes | None, mode: int) -> list[str]:
    """Without `rm -f`, which Codex does not run where nobody can be asked."""
    name, parents = _quoted(f"./{path}"), [_quoted(f"./{one}") for one in _parents(path)]
    if after is None:
        ways = "".join(f"[ ! -L {one} ] && " for one in parents)
        return [f"if {ways}{{ [ -f {name} ] || [ -L {name} ]; }}; then rm -- {name}; fi"]
    folder = parents[-1] if parents else "."
    clear = "".join(f"if [ -L {one} ] || [ -f {one} ]; then rm -- {one}; fi; " for one in parents)
    clear += f"if [ -L {name} ] || [ -d {name} ]; then rm -r -- {name}; fi; mkdir -p {folder} && "
    if mode == LINK:
        return [f"{clear}ln -sfn -- {_quoted(after.decode(errors='surrogateescape'))} {name}"]
    made = []
    for at in range(0, len(after) or 1, _AT_ONCE):
        text = base64.encodebytes(after[at : at + _AT_ONCE]).decode()
        made.append(f"base64 -d {'>>' if at else '>'} {name} <<{_END}\n{text}{_END}")
    made[0] = clear + made[0]
    made[-1] += f"\nchmod {'755' if mode & 0o100 else '644'} {name}"
    return made


def _quoted(text: str) -> str:
    """As one word of a shell, without a `'`."""
    if re.fullmatch(r"[\w@%+=:,./-]+", text, re.ASCII):
        return text
    return '"' + re.sub(r'(["$`\\])', r"\\\1", text).replace("'", "${q}") + '"'


def _parents(path: str) -> list[str]:
    return [path[:n] for n, letter in enumerate(path) if letter == "/"]


def _is_text(data: bytes) -> bool:
    """Whether its lines come to a file as they are, whoever writes them."""
    try:
        text = data.decode()
    except UnicodeDecodeError:
        return False
    lines = text.split("\n")
    return lines.pop() == "" and len(data) < _LARGEST_PATCH and bool(lines) and all(map(_is_plain, lines))


def _is_plain(line: str) -> bool:
    return line.replace("\t", "").isprintable() and line == line.rstrip() and "\\" not in line

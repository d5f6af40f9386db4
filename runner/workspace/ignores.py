"""The ignore rules of one moment, as one list, so that an edit of `.gitignore` hides nothing. Pure.

Otherwise a run could hide its files by ignoring them, or make a rollback delete what the user had ignored.
`.gitignore` files of folders are rewritten for the root (gitignore(5)); in one list the last match wins, so
the order is that of git: the user's file, `info/exclude`, then folder by folder downwards.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

_GLOB = b"\\*?["


def one_list(general: list[bytes], by_folder: Mapping[bytes, bytes]) -> bytes:
    """`general` are whole files, the weakest first; `by_folder` has the `.gitignore` of each folder, the
    root's under b"". Names are relative, without a slash at the end.
    """
    texts = [*general]
    for folder in sorted(by_folder, key=lambda name: (name.count(b"/") + bool(name), name)):
        texts.append(_for_root(folder, by_folder[folder]))
    return b"\n".join(_without_mark(text) for text in texts) + b"\n"


def _for_root(folder: bytes, text: bytes) -> bytes:
    if not folder:
        return text
    # A rule ends at a line's end, so a line's end in a name can only be matched as any character.
    base = b"/" + b"".join(b"\\%c" % char if char in _GLOB else b"%c" % char for char in folder)
    base = base.replace(b"\n", b"?")
    return b"\n".join(_rule(base, line.removesuffix(b"\r")) for line in _without_mark(text).split(b"\n"))


def _rule(base: bytes, line: bytes) -> bytes:
    if not line.strip(b" ") or line.startswith(b"#"):
        return b""
    sign, rule = (b"!", line[1:]) if line.startswith(b"!") else (b"", line)
    if rule.startswith((b"\\#", b"\\!")):
        rule = rule[1:]  # it no longer stands at the beginning
    body = rule.rstrip(b" ").removesuffix(b"/")
    if b"/" in body:
        return sign + base + b"/" + rule.removeprefix(b"/")
    return sign + base + b"/**/" + rule


def _without_mark(text: bytes) -> bytes:
    return text.removeprefix(b"\xef\xbb\xbf")

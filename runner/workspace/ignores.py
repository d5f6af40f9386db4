"""The ignore rules of one moment, as one list, so that an edit of `.gitignore` hides nothing. Pure.

Otherwise a run could hide its files by ignoring them, or make a rollback delete what the user had ignored.
`.gitignore` files of folders are rewritten for the root (gitignore(5)); in one list the last match wins, so
the order is that of git: the user's file, `info/exclude`, then folder by folder downwards.
"""

from __future__ import annotations

from runner.value import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

_GLOB = b"\\*?["


class Untracked(Value):
    """What stands beside the files that git tracks: `files` that it could track, and `repositories` inside.
    `ignored` are folders that are ignored as a whole, `ignored_files` single files.
    """

    files: tuple[str, ...] = ()
    repositories: tuple[str, ...] = ()
    ignored: tuple[str, ...] = ()
    ignored_files: tuple[str, ...] = ()

    def without(self, is_meant: Callable[[str], bool]) -> Untracked:
        """Without the names that are meant."""
        kept = (tuple(name for name in names if not is_meant(name)) for names in self.__dict__.values())
        return Untracked(*kept)


def untracked(listed: Iterable[str], ignored: Iterable[str]) -> Untracked:
    """Of the names that git lists; that of a folder ends with a slash."""
    (files, repositories), (single, whole) = _divided(listed), _divided(ignored)
    return Untracked(files, repositories, whole, single)


def _divided(names: Iterable[str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    known = [*names]
    folders = tuple(name.removesuffix("/") for name in known if name.endswith("/"))
    return tuple(name for name in known if not name.endswith("/")), folders


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

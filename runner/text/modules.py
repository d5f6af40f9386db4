"""The files that interpreters take for a module or a folder that a command names. Pure."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

MAIN = ("__main__.py", "index.js")
"""What they run where a folder is named."""
_WITH_VALUE = ("-W", "-X", "-r", "--require", "--import", "--loader")


def files_of_modules(words: Sequence[str]) -> Iterator[str]:
    """Those of `python -m NAME` and `pytest -p NAME`, as far as they lie in the folder where that is run, and
    those of the packages above, which are executed first.
    """
    for before, word in zip(("", *words), words, strict=False):
        is_named = before[:1] == "-" != before[1:2] and before[-1] in "mp"
        letter = "p" if word[:2] == "-p" else "m"
        name = word.partition(letter)[2] if word[:1] == "-" != word[1:2] else word if is_named else ""
        if name.replace(".", "").replace("_", "").isalnum():
            parts = name.split(".")
            for count in range(1, len(parts) + 1):
                path = "/".join(parts[:count])
                yield from (f"{path}.py", f"{path}.pyc", f"{path}/__init__.py", f"{path}/__init__.pyc")
            yield from (f"{path}/__main__.py", f"{path}/__main__.pyc")


def files_of_folders(words: Sequence[str]) -> Iterator[str]:
    """Those of `python FOLDER` and `node FOLDER`, and of a name that node is given without its `.js`."""
    is_run, is_node, before = False, False, ""
    for word in words:
        is_value = word[:1] == "-" or before in _WITH_VALUE
        if is_run and not is_value:
            yield from (f"{word}/{name}" for name in MAIN)
            if is_node and "." not in word.rpartition("/")[2]:
                yield f"{word}.js"
        name = word.rpartition("/")[2].rstrip("0123456789.")
        is_program, is_node = name in ("python", "pypy", "node"), is_node or name == "node"
        is_run, before = is_program or (is_run and is_value), word

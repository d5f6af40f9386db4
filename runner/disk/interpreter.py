"""How programs of our own are started: from this package, by this interpreter, and by nothing else. Pure.

`site` executes what `.pth` files say and imports `sitecustomize` from wherever they point to, which may be a
folder where an agent works: that of a project that is installed in editable mode. So our programs are started
without it (`-S`) and are told where the packages of others are. `-I` alone leaves it on
(https://docs.python.org/3/using/cmdline.html#cmdoption-S).
"""

from __future__ import annotations

import os
import sys

_OPTION = "runner_packages"


def command(main: str, *words: str) -> tuple[str, ...]:
    """The argv of the program whose file is `main`, which calls `find_packages` before it imports any."""
    folders = [entry for entry in sys.path if os.path.isabs(entry) and entry.endswith("-packages")]
    return (sys.executable, "-I", "-S", "-X", f"{_OPTION}={os.pathsep.join(folders)}", main, *words)


def find_packages() -> None:
    """In a program that `command` has started: where it finds the packages of others."""
    told = str(sys._xoptions.get(_OPTION, "")).split(os.pathsep)
    sys.path += [folder for folder in told if os.path.isabs(folder) and folder not in sys.path]


def customized() -> tuple[str, ...]:
    """What a Python with `site` would execute at its start, if it were there, but for packages of others."""
    names = ("sitecustomize.py", "usercustomize.py")
    folders = [entry for entry in sys.path if os.path.isabs(entry) and not entry.endswith("-packages")]
    return tuple(os.path.join(folder, name) for folder in folders for name in names)


def environment() -> str | None:
    """The virtual environment that we run from, also without `site`; None for none."""
    above = os.path.dirname(os.path.dirname(sys.executable))
    return above if os.path.exists(f"{above}/pyvenv.cfg") else None

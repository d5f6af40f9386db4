"""Record `docs/picture/run.svg`: real commands in a pseudo-terminal, in a temporary repository.

Run by `make picture`. Only the model is scripted (`--rehearse`). Run id, folder and duration differ each
time, so fixed ones replace them: the picture changes only when the output of the commands changes.
"""

from __future__ import annotations

import io
import os
import pty
import re
import subprocess
import sys
import tempfile
from pathlib import Path

from rich.console import CONSOLE_SVG_FORMAT, Console
from rich.text import Text

from runner.state import trust

PICTURE = Path(__file__).with_name("run.svg")
COLUMNS = 94
COMMANDS = (
    "runner init",
    "git add --all && git commit --quiet --message 'Delegate from here'",
    "cat delegate.local.toml",
    "runner start --task round --rehearse careless.toml --wait",
    "runner diff @latest --stat",
    "git status",
)
FILES = {
    "price.py": "def total(prices):\n    return sum(prices)\n",
    "check.py": """\
from price import total

if total([2, 3]) != 5:
    exit(f"2 + 3 makes {total([2, 3])}")
""",
    "delegate.local.toml": """\
[tasks.round]
prompt = "Round every total to whole cents."
sandbox = "workspace-write"
verify = [["python3", "-B", "check.py"]]      # must pass, whatever the agent says
""",
    "careless.toml": """\
schema_version = 1
[[turns]]
patch = '''
*** Begin Patch
*** Update File: price.py
@@
-    return sum(prices)
+    return round(sum(prices) - 1, 2)
*** End Patch
'''
[[turns]]
message = "Done: totals are rounded, and check.py passes."
""",
}
IDS = ("20260302T090131875Z-932d7df8",)
_ID = re.compile(r"\d{8}T\d{9}Z-[0-9a-f]{8}")
_CURSOR = re.compile(r"\x1b\[\?25[lh]")


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        env = _environment(folder)
        repo = _repository(Path(folder) / "shop", env)
        lines = []
        for command in COMMANDS:
            typed = f"\x1b[1;32m$\x1b[0m \x1b[1m{command}\x1b[0m"
            lines += [typed, *_screen(_output(command, repo, env)), ""]
    text = _fixed("\n".join(lines[:-1])).replace(folder, "/home/me")
    PICTURE.write_text(_drawn(text), encoding="utf-8")


def _repository(path: Path, env: dict[str, str]) -> Path:
    path.mkdir()
    for name, content in FILES.items():
        (path / name).write_text(content, encoding="utf-8")
    for words in ("init -q -b main", "add . :!delegate.local.toml", "commit -q -m Begin"):
        subprocess.run(["git", *words.split()], cwd=path, env=env, check=True)
    trust.give(str(path), env, "", None, ())  # as `runner trust --folder` in a folder of one's own
    return path


def _environment(folder: str) -> dict[str, str]:
    """Nothing from the caller: no login, no settings."""
    return {
        "PATH": os.pathsep.join([os.path.dirname(sys.executable), "/usr/local/bin", "/usr/bin", "/bin"]),
        "HOME": folder,
        "LANG": "C.UTF-8",
        "TERM": "xterm-256color",
        "COLUMNS": str(COLUMNS),
        "GIT_AUTHOR_NAME": "me",
        "GIT_AUTHOR_EMAIL": "me@example.com",
        "GIT_COMMITTER_NAME": "me",
        "GIT_COMMITTER_EMAIL": "me@example.com",
    }


def _output(command: str, cwd: Path, env: dict[str, str]) -> str:
    """All that the command writes to its terminal."""
    pid, terminal = pty.fork()
    if pid == 0:
        os.chdir(cwd)
        os.execvpe("sh", ["sh", "-c", f"stty cols {COLUMNS} rows 50; {command}"], env)
    pieces = []
    while True:
        try:
            piece = os.read(terminal, 65536)
        except OSError:  # EIO: the last process has closed its side
            break
        if not piece:
            break
        pieces.append(piece)
    os.close(terminal)
    os.waitpid(pid, 0)
    return b"".join(pieces).decode()


def _screen(output: str) -> list[str]:
    """The lines on the screen at the end, so of a progress line only its last state."""
    lines = [""]
    at = 0
    for part in re.split(r"(\r?\n|\r|\x1b\[2K|\x1b\[1A)", _CURSOR.sub("", output)):
        if part == "\x1b[2K":
            lines[at] = ""
        elif part == "\x1b[1A":
            at = max(at - 1, 0)
        elif part.endswith("\n"):
            at += 1
            if at == len(lines):
                lines.append("")
        elif part != "\r":
            lines[at] += part
    while lines and not lines[-1].strip():
        lines.pop()
    return lines


def _fixed(text: str) -> str:
    seen = list(dict.fromkeys(_ID.findall(text)))
    for run_id, fixed in zip(seen, IDS, strict=True):
        text = text.replace(run_id, fixed).replace(run_id[20:24], fixed[20:24])
    return re.sub(r"\d+\.\ds(?=, 0 tokens)", "0.9s", text)


def _drawn(text: str) -> str:
    console = Console(record=True, width=COLUMNS, file=io.StringIO(), force_terminal=True)
    console.print(Text.from_ansi(text))
    # An image in a web page cannot load fonts, so the picture uses those of the reader's machine.
    style = re.sub(r"@font-face \{\{.*?\}\}", "", CONSOLE_SVG_FORMAT, flags=re.DOTALL)
    style = style.replace("Fira Code", "ui-monospace, Menlo, DejaVu Sans Mono")
    return console.export_svg(title="", code_format=style, unique_id="runner")


if __name__ == "__main__":
    main()

"""A patch on a terminal: its colours, and who shows it where it is too long."""

from __future__ import annotations

import fcntl
import os
import struct
import subprocess
import sys
import termios
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from support.hostile import HOSTILE, harm
from support.waiting import wait_until

SHORT = "diff --git a/a b/a\n--- a/a\n+++ b/a\n@@ -1 +1 @@\n-old\n+new\n"
LONG = "diff --git a/a b/a\n--- a/a\n+++ b/a\n@@ -0,0 +1,90 @@\n" + "".join(f"+line {n}\n" for n in range(90))
ROWS = 24


class Shown:
    """`show` in a process with a terminal of its own."""

    def __init__(self, patch: str, paged: bool, env: dict[str, str], cwd: Path) -> None:
        self.fd, theirs = os.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, 80, 0, 0))
        code = "import sys; from runner.cli.pager import show; show(sys.argv[1], paged=sys.argv[2] == 'True')"
        self.process = subprocess.Popen(
            [sys.executable, "-c", code, patch, str(paged)],
            cwd=cwd,
            env=env,
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
        )
        os.close(theirs)
        os.set_blocking(self.fd, False)
        self.text = ""

    def has_ended(self) -> bool:
        try:
            while data := os.read(self.fd, 65536):
                self.text += data.decode(errors="replace").replace("\r\n", "\n")
        except OSError:
            pass  # nothing more now, or the other side is closed
        return self.process.poll() is not None

    def end(self) -> str:
        wait_until(self.has_ended, within=20, what="the end of it")
        self.has_ended()
        assert self.process.returncode == 0, self.text
        return self.text


Show = Callable[..., Shown]


@pytest.fixture
def show(tmp_path: Path) -> Iterator[Show]:
    started: list[Shown] = []
    (tmp_path / "home").mkdir()

    def start(patch: str, *, paged: bool = True, **env: str) -> Shown:
        usual = {"PATH": "/usr/bin:/bin", "TERM": "xterm", "HOME": str(tmp_path / "home"), "LANG": "C.UTF-8"}
        started.append(Shown(patch, paged, {**usual, **env}, tmp_path))
        return started[-1]

    yield start
    for one in started:
        if one.process.poll() is None:
            one.process.kill()
        one.process.wait()
        os.close(one.fd)


def a_pager(
    folder: Path, body: str = 'printf "%s|" "$@" "$PWD" "$LESS" > "$HOME/told"; cat > "$HOME/seen"'
) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "show-it"
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(0o755)
    return path


def test_what_fits_is_shown_in_colour_without_a_pager(show: Show, tmp_path: Path) -> None:
    text = show(SHORT, PAGER=str(a_pager(tmp_path / "bin"))).end()
    assert "\x1b[31m-old\x1b[0m\n\x1b[32m+new\x1b[0m\n" in text and "\x1b[36m@@ -1 +1 @@\x1b[0m" in text
    assert show(SHORT, NO_COLOR="1").end() == SHORT
    assert not (tmp_path / "home" / "seen").exists()


def test_what_does_not_fit_goes_to_the_pager_with_its_options(show: Show, tmp_path: Path) -> None:
    pager, home = a_pager(tmp_path / "bin"), tmp_path / "home"
    assert show(LONG, PAGER=f"{pager} -a 'b c'", NO_COLOR="1").end() == ""
    assert (home / "seen").read_text() == LONG
    assert (home / "told").read_text() == f"-a|b c|{home}|FRX|", "not in the repository"
    show(LONG, PAGER="show-it", PATH=f"{tmp_path}/bin:/usr/bin:/bin", LESS="R").end()
    assert "\x1b[32m+line 89\x1b[0m" in (home / "seen").read_text()
    assert (home / "told").read_text().endswith("|R|")
    wide = "diff --git a/a b/a\n" + "日" * 40 * ROWS
    assert show(wide, PAGER=str(pager)).end() == "", "a line takes as many rows as it needs"


@pytest.mark.parametrize(
    "env", [{"PAGER": "cat"}, {"PAGER": ""}, {"RUNNER_PAGER": "", "PAGER": "less"}, {"TERM": "dumb"}], ids=str
)
def test_no_pager_is_used_where_none_is_wanted(env: dict[str, str], show: Show) -> None:
    assert show(LONG, **{"NO_COLOR": "1", **env}).end() == LONG
    assert show(LONG, paged=False, NO_COLOR="1", PAGER="/bin/false").end() == LONG


@pytest.mark.parametrize("way", ["by path", "on PATH", "by a link", "from here", "of a work tree"])
def test_no_pager_is_used_that_an_agent_may_have_written(way: str, show: Show, tmp_path: Path) -> None:
    (tmp_path / "repo").mkdir()
    if way == "of a work tree":
        (tmp_path / "repo" / ".git").write_text("gitdir: /x\n")
    else:
        (tmp_path / "repo" / ".git").mkdir()
        (tmp_path / "repo" / ".git" / "HEAD").touch()
    pager = a_pager(tmp_path / "repo" / "bin")
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "show-it").symlink_to(pager)
    named = {"by path": str(pager), "from here": "repo/bin/show-it"}.get(way, "show-it")
    folder = tmp_path / "bin" if way == "by a link" else pager.parent
    text = show(LONG, PAGER=named, PATH=f"{folder}:.:/usr/bin:/bin", NO_COLOR="1").end()
    assert text.startswith("note: the pager") and text.endswith(LONG)
    assert not (tmp_path / "home" / "seen").exists()


@pytest.mark.parametrize("body", ["head -n 1 > /dev/null", "exec < /dev/null; exit 0"])
def test_a_pager_that_ends_early_does_no_harm(body: str, show: Show, tmp_path: Path) -> None:
    assert show(LONG * 100, PAGER=str(a_pager(tmp_path / "bin", body))).end() == ""


@pytest.mark.parametrize(
    ("body", "how"), [("exit 1", "1"), ("cat > /dev/null; exit 3", "3"), ("kill $$", "-15")]
)
def test_of_a_pager_that_fails_the_patch_is_not_lost(body: str, how: str, show: Show, tmp_path: Path) -> None:
    pager = a_pager(tmp_path / "bin", body)
    text = show(LONG, PAGER=str(pager), NO_COLOR="1").end()
    note = f"note: the pager `{pager}` ended with {how}: here is the whole patch"
    assert text.endswith(LONG) and text.removesuffix(LONG).split() == note.split()


@pytest.mark.parametrize("env", [{}, {"LESS": "-i"}, {"PAGER": "less -S", "LESS": ""}], ids=str)
def test_less_shows_colours_whatever_options_the_user_gives_it(
    env: dict[str, str], show: Show, tmp_path: Path
) -> None:
    a_pager(tmp_path / "bin").rename(tmp_path / "bin" / "less")
    show(LONG, PATH=f"{tmp_path}/bin:/usr/bin:/bin", **env).end()
    *options, _, less, _ = (tmp_path / "home" / "told").read_text().split("|")
    assert options[-1] == "-R" and less == env.get("LESS", "FRX")


@pytest.mark.parametrize("named", ["no-such-pager", "un'closed", "{bad}"])
def test_without_the_pager_that_is_named_all_is_shown(named: str, show: Show, tmp_path: Path) -> None:
    bad = tmp_path / "bad"
    bad.write_text("#!/no/such/interpreter\n")
    bad.chmod(0o755)
    text = show(LONG, PAGER=named.format(bad=bad), NO_COLOR="1").end()
    assert text.startswith("note: the pager") and text.endswith(LONG)


def test_ctrl_c_is_for_the_pager(show: Show, tmp_path: Path) -> None:
    home = tmp_path / "home"
    pager = a_pager(
        tmp_path / "bin", 'trap "touch $HOME/got; exit 0" INT; touch $HOME/up; while :; do sleep 0.05; done'
    )
    shown = show(LONG, PAGER=str(pager))
    wait_until((home / "up").exists, within=20, what="the pager")
    os.write(shown.fd, b"\x03")
    assert "Traceback" not in shown.end() and (home / "got").exists()


def test_nothing_of_a_file_moves_the_terminal_or_forges_a_line(show: Show, tmp_path: Path) -> None:
    hostile = HOSTILE.split("\n")[0].replace("::error::no", "diff --git a/x b/x")
    patch = f"diff --git a/a b/a\n@@ -0,0 +1 @@\n+{hostile}\n"
    for text in (show(patch).end(), show(patch, NO_COLOR="1").end()):
        assert harm(text, painted=True) == []
        assert text.count("\n") == 3 and "^Mdiff --git a/x b/x" in text
    show(patch * ROWS, PAGER=str(a_pager(tmp_path / "bin"))).end()
    assert harm((tmp_path / "home" / "seen").read_text(), painted=True) == []

"""Whatever a tree looks like and whatever is done to it: the state before is the state after a roll-back."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.work import Work

from runner.workspace.changes import changed
from runner.workspace.ignores import one_list
from runner.workspace.rollback import roll_back

NAMES = st.sampled_from(
    [
        b"a",
        b"-rf",
        b"s p",
        b"n\nl",
        b"\xff\xfe",
        b"d",
        b"d/x",
        b"d/e/y",
        b"d/e",
        b"f/--all",
        b"\xc3\xa9/*",
        b"z.txt",
    ]
)
CONTENTS = st.sampled_from([b"", b"1\n", b"2\r\n", b"\0\xff", b"long\n" * 50])
MODES = st.sampled_from([0o644, 0o755, 0o600, 0o444])
KINDS = st.sampled_from(["write", "link", "remove", "mkdir", "mode", "move", "stage", "unstage"])
ACTS = st.tuples(KINDS, NAMES, NAMES, CONTENTS, MODES)


def act(work: Work, kind: str, name: bytes, other: bytes, content: bytes, mode: int) -> None:
    """One edit, if the tree allows it: whoever edits at random hits files where folders are."""
    path = work.path(name)
    try:
        if kind == "write":
            work.write(name, content, mode)
        elif kind == "link":
            os.symlink(other, path)
        elif kind == "remove":
            shutil.rmtree(path) if os.path.isdir(path) and not os.path.islink(path) else os.unlink(path)
        elif kind == "mkdir":
            os.makedirs(path, 0o750)
        elif kind == "mode" and not os.path.islink(path):
            os.chmod(path, 0o700 if os.path.isdir(path) else mode)
        elif kind == "move":
            os.rename(path, work.path(other))
    except OSError:
        pass
    if kind == "stage":
        work.git("add", "-A", "--", ".")
    elif kind == "unstage":
        work.git("rm", "-rqf", "--cached", "--ignore-unmatch", "--", ".")


SETTINGS = st.sampled_from(
    [
        None,
        ("index.version", "4"),
        ("core.splitIndex", "true"),
        ("core.fileMode", "false"),
        ("core.autocrlf", "input"),
    ]
)


@settings(max_examples=20, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
@given(
    committed=st.lists(st.tuples(NAMES, CONTENTS, MODES), max_size=5),
    mine=st.lists(ACTS, max_size=5),
    run=st.lists(ACTS, min_size=1, max_size=8),
    setting=SETTINGS,
    is_old=st.booleans(),
)
def test_a_rollback_restores_any_tree_after_any_edits(
    committed: list[tuple[bytes, bytes, int]],
    mine: list,
    run: list,
    setting: tuple[str, str] | None,
    is_old: bool,
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        work = Work(Path(folder))
        if setting is not None:
            work.git("config", *setting)
        for name, content, mode in committed:
            act(work, "write", name, b"", content, mode)
        work.write(".gitignore", "*.o\n/ignored/\n")
        if is_old:  # what was written long ago is not read again
            for path in work.state():
                os.utime(work.path(path), (10**9, 10**9), follow_symlinks=False)
        work.commit()
        work.write("k.o", "ignored\n")
        work.write("ignored/k", "ignored\n")
        for one in mine:
            act(work, *one)
        before, staged = work.state(), work.staged()
        taken = work.take()
        for one in run:
            act(work, *one)
        rolled = roll_back(taken)
        assert (rolled.left, rolled.unequal, rolled.kept) == (
            (),
            (),
            tuple(n for n in rolled.kept if "git-index" in n),
        )
        assert work.state() == before
        assert work.staged() == staged
        assert not changed(taken).paths


RULES = st.lists(
    st.sampled_from(
        [
            "*.o",
            "!k.o",
            "/a",
            "d/",
            "d/e",
            "**/x",
            "x/**",
            "*",
            "!*/",
            "#c",
            "\\#c",
            "\\!b",
            "b\\ ",
            "b ",
            "[ab]",
            "",
            "!d/e/y",
        ]
    ),
    max_size=5,
).map(lambda lines: "\n".join(lines).encode())
FILES = (
    *(b"a", b"b", b"b ", b"#c", b"!b", b"k.o", b"d/a", b"d/k.o", b"d/e/y", b"d/e/x/b", b"d/x/a", b"x/d/a"),
    *(b"w*d/a", b"w*d/#c", b"wyd/a"),
)


@settings(max_examples=25, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
@given(rules=st.dictionaries(st.sampled_from([b"", b"d", b"d/e", b"w*d", b"x"]), RULES), general=RULES)
def test_the_one_list_of_rules_ignores_what_git_ignores(rules: dict[bytes, bytes], general: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        work = Work(Path(folder))
        for name in FILES:
            work.write(name)
        (work.root / ".git" / "info" / "exclude").write_bytes(general)
        for where, text in rules.items():
            work.write(os.path.join(where, b".gitignore"), text)
        work.remove(".runs")
        (Path(folder) / "list").write_bytes(one_list([general], rules))
        truth = work.git("ls-files", "-o", "-z", "--exclude-standard")
        assert work.git("ls-files", "-o", "-z", f"--exclude-from={folder}/list") == truth

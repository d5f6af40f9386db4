"""Commits of named files, and branches moved to them: nothing of the user's is touched but what is named."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.work import Work

from runner.errors import Conflict
from runner.workspace.commit import NotHeld, advance, differing, has_name, make, tip
from runner.workspace.git import GitFailed
from runner.workspace.repository import find

AT = "2026-01-02T03:04:05.678Z"
ZERO = "0" * 40


@pytest.fixture
def work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Work:
    monkeypatch.setenv("GIT_CONFIG_NOSYSTEM", "1")
    made = Work(tmp_path)
    made.git("config", "user.name", "The User")
    made.git("config", "user.email", "user@example.org")
    made.write("a", "a\n")
    made.write("b", "b\n")
    made.write("d/c", "c\n")
    made.commit()
    return made


def commit(work: Work, *paths: str, parent: str | None = None) -> str:
    return make(str(work.root), parent or work.head(), paths, "subject\n\nbody", AT)


def untouched(work: Work) -> tuple[object, ...]:
    """The user's side, byte for byte."""
    index = work.root / ".git" / "index"
    refs = work.git("for-each-ref"), (work.root / ".git" / "HEAD").read_bytes()
    names = sorted(path.name for path in (work.root / ".git").iterdir())
    return index.read_bytes() if index.exists() else None, refs, names, work.state()


def tree(work: Work, of: str) -> dict[bytes, tuple[bytes, bytes]]:
    """Path -> mode and content."""
    lines = work.git("ls-tree", "-r", "-z", of).split(b"\0")[:-1]
    parts = [(line.partition(b"\t")[2], line.split(b"\t")[0].split(b" ")) for line in lines]
    return {name: (head[0], work.git("cat-file", "blob", head[2])) for name, head in parts}


def overlay(
    work: Work, before: dict[bytes, tuple[bytes, bytes]], names: Iterable[bytes]
) -> dict[bytes, tuple[bytes, bytes]]:
    """What the tree shall be: a file of the disk takes the place of whatever is in its way."""
    after, disk = dict(before), work.state()
    files = {
        name: (
            b"120000" if mode & 0o170000 == 0o120000 else b"100755" if mode & 0o100 else b"100644",
            content,
        )
        for name, (mode, content) in disk.items()
        if mode & 0o170000 != 0o040000
    }
    for name in names:
        after.pop(name, None)
    for name in names:
        if name in files:
            for other in [*after]:
                if other.startswith(name + b"/") or name.startswith(other + b"/"):
                    del after[other]
            after[name] = files[name]
    return after


# -- a commit --------------------------------------------------------------------------------------


def test_a_commit_has_the_named_files_as_they_stand_and_nothing_else(work: Work) -> None:
    work.write("a", "changed\n")
    work.write("b", "not named\n")
    work.write("new/file", "new\n", 0o755)
    work.write("untracked", "not named\n")
    work.link("link", "a")
    work.remove("d/c")
    before, head = untouched(work), work.head()
    made = commit(work, "a", "new/file", "link", "d/c")
    assert tree(work, made) == {
        b"a": (b"100644", b"changed\n"),
        b"b": (b"100644", b"b\n"),
        b"new/file": (b"100755", b"new\n"),
        b"link": (b"120000", b"a"),
    }
    assert untouched(work) == before
    said = work.git("log", "-1", "--format=%P|%an <%ae>|%cn <%ce>|%at %ct|%B", made).decode().split("|")
    assert said[0] == head and said[1] == said[2] == "The User <user@example.org>"
    assert said[3] == "1767323045 1767323045" and said[4].strip() == "subject\n\nbody"


def test_the_same_again_is_the_same_commit_and_nothing_new_is_none(work: Work) -> None:
    assert commit(work) == commit(work, "a", "absent") == work.head()
    work.write("a", "changed\n")
    made = commit(work, "a")
    assert made == commit(work, "a", "b") != work.head()
    assert commit(work, "a", parent=made) == made


def test_the_executable_bit_alone_is_a_change(work: Work) -> None:
    os.chmod(work.path("a"), 0o755)
    made = commit(work, "a")
    assert tree(work, made)[b"a"] == (b"100755", b"a\n")
    assert differing(str(work.root), work.head(), ["a", "b"]) == ("a",)


@pytest.mark.parametrize("name", [b"n\nl", b" s p ", b"\xff\xfe", b"-rf", b"*", b":(top)x", b'q"\\', b"t\tt"])
def test_a_file_may_be_called_anything(work: Work, name: bytes) -> None:
    work.write(name, "content\n")
    made = commit(work, os.fsdecode(name))
    assert tree(work, made)[name] == (b"100644", b"content\n")
    advance(str(work.root), None, made, work.head(), [os.fsdecode(name)])
    assert work.git("status", "--porcelain") == b""
    assert differing(str(work.root), made, None) == ()
    work.remove(name)
    assert differing(str(work.root), made, None) == (os.fsdecode(name),)
    assert name not in tree(work, commit(work, os.fsdecode(name)))


def test_a_folder_in_the_place_of_a_file_and_the_reverse(work: Work) -> None:
    work.remove("a")
    work.write("a/inner", "inner\n")
    work.remove("d")
    work.write("d", "a file\n")
    names = ("a", "a/inner", "d", "d/c")
    for named in (names, tuple(reversed(names)), ("a/inner", "d")):
        assert tree(work, commit(work, *named)) == {
            b"a/inner": (b"100644", b"inner\n"),
            b"b": (b"100644", b"b\n"),
            b"d": (b"100644", b"a file\n"),
        }
    made, head = commit(work, *names), work.head()
    assert differing(str(work.root), head, names) == ("a", "a/inner", "d", "d/c")
    advance(str(work.root), None, made, head, names)
    assert work.git("status", "--porcelain") == b""


def test_what_is_behind_a_link_is_gone(work: Work, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "c").write_text("not of the tree\n")
    work.remove("d")
    work.link("d", str(tmp_path / "elsewhere"))
    assert set(tree(work, commit(work, "d/c"))) == {b"a", b"b"}
    assert tree(work, commit(work, "d/c", "d"))[b"d"] == (b"120000", os.fsencode(tmp_path / "elsewhere"))
    assert differing(str(work.root), work.head(), ["d/c", "d"]) == ("d", "d/c")


def test_conversions_are_those_of_git_add(work: Work) -> None:
    work.write(".gitattributes", "*.txt text eol=crlf\n*.up filter=up\n*.bin -text\n")
    work.git("config", "filter.up.clean", "tr a-z A-Z")
    work.git("config", "filter.up.smudge", "tr A-Z a-z")
    work.git("config", "core.autocrlf", "true")
    names = [".gitattributes", "x.txt", "y.up", "z.bin", "plain"]
    for name in names[1:]:
        work.write(name, "one\r\ntwo\r\n")
    before, head = untouched(work), work.head()
    made = commit(work, *names)
    assert untouched(work) == before
    work.git("add", "-A")
    assert (
        work.git("write-tree").decode().strip() == work.git("rev-parse", f"{made}^{{tree}}").decode().strip()
    )
    assert {name: tree(work, made)[name.encode()][1] for name in names[1:]} == {
        "x.txt": b"one\ntwo\n",
        "y.up": b"ONE\nTWO\n",
        "z.bin": b"one\r\ntwo\r\n",
        "plain": b"one\ntwo\n",
    }
    assert differing(str(work.root), made, None) == () != differing(str(work.root), head, None)


def test_ignored_files_are_taken_where_they_are_named(work: Work) -> None:
    work.write(".gitignore", "*.o\n")
    work.write("k.o", "k\n")
    assert b"k.o" in tree(work, commit(work, "k.o"))
    assert differing(str(work.root), work.head(), None) == ()
    assert differing(str(work.root), work.head(), ["k.o"]) == ("k.o",)


def test_nobody_configured_is_runner_and_half_a_name_is_none(
    work: Work, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    work.git("config", "--unset", "user.name")
    work.write("a", "changed\n")
    half = commit(work, "a")
    work.git("config", "--unset", "user.email")
    monkeypatch.setenv("HOME", str(tmp_path / "nowhere"))
    made = commit(work, "a")
    assert made == half
    who = work.git("log", "-1", "--format=%an <%ae> %cn <%ce>", made)
    assert who == b"runner <runner@localhost> runner <runner@localhost>\n"


def test_the_name_that_a_caller_gives_is_that_of_the_commit(
    work: Work, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "nowhere"))
    work.git("config", "--unset", "user.name")
    work.git("config", "--unset", "user.email")
    assert not has_name(str(work.root))
    for role in ("AUTHOR", "COMMITTER"):
        monkeypatch.setenv(f"GIT_{role}_NAME", f"The {role.lower()}")
        monkeypatch.setenv(f"GIT_{role}_EMAIL", f"{role.lower()}@example.org")
    monkeypatch.setenv("GIT_AUTHOR_DATE", "1999-01-01T00:00:00Z")
    assert has_name(str(work.root))
    work.write("a", "changed\n")
    who = work.git("log", "-1", "--format=%an <%ae> %cn <%ce> %ad", "--date=format:%Y", commit(work, "a"))
    assert who == b"The author <author@example.org> The committer <committer@example.org> 2026\n"


def test_no_hook_no_signature_and_no_encoding_of_the_users_has_a_part_in_it(work: Work) -> None:
    for hook in ("pre-commit", "commit-msg", "post-commit", "reference-transaction", "post-index-change"):
        work.write(f".git/hooks/{hook}", f"#!/bin/sh\ntouch {work.root}/hook-ran\nexit 1\n", 0o755)
    work.git("config", "commit.gpgSign", "true")
    work.git("config", "gpg.program", "/bin/false")
    work.git("config", "i18n.commitEncoding", "latin1")
    work.write("a", "changed\n")
    head = work.head()
    made = make(str(work.root), head, ["a"], "Größe", AT)
    advance(str(work.root), None, made, head, ["a"])
    assert not (work.root / "hook-ran").exists() and work.head() == made
    raw = work.git("cat-file", "commit", made)
    assert b"encoding" not in raw and raw.endswith("\n\nGröße\n".encode())


def test_a_private_index_leaves_no_shared_one_in_the_users_repository(work: Work) -> None:
    work.git("config", "core.splitIndex", "true")
    work.write("a", "changed\n")
    before = untouched(work)
    made = commit(work, "a")
    assert differing(str(work.root), made, None) == () and untouched(work) == before


@pytest.mark.parametrize(
    "path", ["/etc/passwd", "../x", "d/../a", "./a", "", "d/", "d//c", ".git/x", "d/.GIT/x"]
)
def test_a_path_that_is_not_below_the_root_is_refused(work: Work, path: str) -> None:
    for call in (
        lambda: commit(work, path),
        lambda: advance(str(work.root), None, work.head(), work.head(), [path]),
        lambda: differing(str(work.root), work.head(), [path]),
    ):
        with pytest.raises(Conflict) as error:
            call()
        assert error.value.problems == (path,)


def test_folders_repositories_and_what_git_cannot_hold_are_refused_by_name(
    work: Work, tmp_path: Path
) -> None:
    other = Work(tmp_path, "other")
    other.write("x")
    other.commit()
    work.git("-c", "protocol.file.allow=always", "submodule", "add", "-q", str(other.root), "sub")
    work.commit()
    work.git("init", "-q", "nested")
    work.write("nested/x")
    work.remove("b")
    work.git("init", "-q", "b")
    work.write("folder/x")
    os.mkfifo(work.path("pipe"))
    names = ["sub", "sub/x", "nested", "nested/x", "b", "folder", "pipe", "a", "d"]
    before = untouched(work)
    with pytest.raises(Conflict) as error:
        commit(work, *names)
    assert {problem.rpartition(": ")[2] for problem in error.value.problems} == {*names} - {"a"}
    assert untouched(work) == before


def test_a_parent_that_is_no_commit_is_refused(work: Work, tmp_path: Path) -> None:
    for parent in ("f" * 40, "HEAD^{tree}", "--all", "nothing"):
        with pytest.raises(Conflict, match="is no commit"):
            commit(work, "a", parent=parent)
        with pytest.raises(Conflict, match="is no commit"):
            advance(str(work.root), None, parent, work.head(), [])
        with pytest.raises(Conflict, match="is no commit"):
            differing(str(work.root), parent, None)
    (tmp_path / "plain").mkdir()
    with pytest.raises(Conflict, match="no git repository"):
        tip(str(tmp_path / "plain"), None)


def test_ten_thousand_files_are_one_commit(work: Work) -> None:
    names = [f"many/{number % 100}/{number}" for number in range(10_000)]
    for name in names:
        work.write(name, name)
    made, head = commit(work, *names), work.head()
    assert len(tree_names(work, made)) == 10_003
    advance(str(work.root), None, made, head, names)
    assert work.git("status", "--porcelain") == b"" and differing(str(work.root), made, names) == ()


def tree_names(work: Work, of: str) -> list[bytes]:
    return work.git("ls-tree", "-r", "-z", "--name-only", of).split(b"\0")[:-1]


@pytest.fixture
def meddled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A git that does what stands in this file, with the index at hand, right before a tree is made of it."""
    real, script = shutil.which("git"), tmp_path / "meddle"
    folder = tmp_path / "bin"
    folder.mkdir()
    body = f'case " $* " in *" write-tree "*) git={real} . {script};; esac; exec {real} "$@"'
    (folder / "git").write_text(f"#!/bin/sh\n{body}\n")
    (folder / "git").chmod(0o755)
    script.touch()
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    return script


@pytest.mark.parametrize(
    "meddling",
    [
        "$git -C $2 update-index --add --cacheinfo 100644,$($git -C $2 rev-parse HEAD:b),evil.txt",
        "$git -C $2 update-index --cacheinfo 100644,$($git -C $2 rev-parse HEAD:b),a",
        "$git -C $2 update-index --cacheinfo 120000,$($git -C $2 hash-object a),a",
        "$git -C $2 update-index --force-remove a",
        "$git -C $2 update-index --force-remove b",
        "$git -C $2 read-tree HEAD",
        "$git -C $2 update-index --add --cacheinfo 100644,$($git -C $2 rev-parse HEAD:b),gone",
    ],
)
def test_a_tree_that_is_not_what_was_asked_for_becomes_no_commit(
    work: Work, meddled: Path, meddling: str
) -> None:
    work.write("gone")
    work.commit()
    work.remove("gone")
    work.write("a", "edited\n")
    names = ["a", "gone"]
    assert tree(work, commit(work, *names))[b"a"] == (b"100644", b"edited\n")
    meddled.write_text(f"{meddling} || echo failed > {meddled}.failed\n")
    before = untouched(work)
    with pytest.raises(Conflict, match="changed while they were committed"):
        commit(work, *names)
    assert untouched(work) == before and not Path(f"{meddled}.failed").exists()


def test_an_index_of_ours_lies_in_the_state_folder_and_nothing_is_left_there(
    work: Work, meddled: Path, own_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TMPDIR", "/nonexistent")
    meddled.write_text(
        f'echo "$GIT_INDEX_FILE" > {meddled}.said; ls -ld "${{GIT_INDEX_FILE%/*}}" >> {meddled}.said'
    )
    work.write("a", "edited\n")
    commit(work, "a")
    where, mode = Path(f"{meddled}.said").read_text().splitlines()
    scratch = own_home / ".local/state/runner/scratch"
    assert where.startswith(f"{scratch}/") and mode.startswith("drwx------")
    assert list(scratch.iterdir()) == []


def test_what_conversions_make_of_a_file_is_committed(work: Work) -> None:
    work.write("crlf", "1\r\n2\r\n")
    work.commit()
    work.write(".gitattributes", "*.t text\n*.up filter=up\n")
    work.git("config", "filter.up.clean", "tr a-z A-Z")
    work.git("config", "core.autocrlf", "true")
    names = {"n\n.t": b"1\n", '"q"\\.up': b"LOUD", "crlf": b"1\r\n2\r\n3\r\n", "new": b"1\n"}
    work.write("n\n.t", "1\r\n")
    work.write('"q"\\.up', "loud")
    work.write("crlf", "1\r\n2\r\n3\r\n")
    work.write("new", "1\r\n")
    found = tree(work, commit(work, *names))
    assert {name: found[os.fsencode(name)][1] for name in names} == names


# -- any tree --------------------------------------------------------------------------------------

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
        b"z",
    ]
)
CONTENTS = st.sampled_from([b"", b"1\n", b"2\r\n", b"\0\xff", b"long\n" * 50])
KINDS = st.sampled_from(["write", "write", "link", "remove", "mode", "stage", "unstage", "intent"])
ACTS = st.lists(st.tuples(KINDS, NAMES, CONTENTS, st.sampled_from([0o644, 0o755])), max_size=8)


def act(work: Work, kind: str, name: bytes, content: bytes, mode: int) -> None:
    """One edit, if the tree allows it."""
    path = work.path(name)
    try:
        if kind == "write":
            if os.path.isdir(path) and not os.path.islink(path):
                shutil.rmtree(path)
            work.write(name, content, mode)
        elif kind == "link":
            os.symlink(b"d" if mode & 0o100 else b"nowhere", path)
        elif kind == "remove":
            work.remove(name)
        elif kind == "mode" and os.path.isfile(path):
            os.chmod(path, mode)
    except OSError:
        pass
    if kind == "stage":
        work.git("add", "-A", "--", ".")
    elif kind == "unstage":
        work.git("rm", "-qf", "--cached", "--ignore-unmatch", "--", name, ok=False)
    elif kind == "intent":
        work.git("add", "-N", "--", name, ok=False)


@settings(max_examples=12, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
@given(committed=ACTS, edits=ACTS, named=st.sets(NAMES))
def test_of_any_edits_the_commit_is_the_overlay_and_what_was_staged_beside_stays(
    committed: list, edits: list, named: set[bytes]
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        work = Work(Path(folder))
        for one in committed:
            act(work, *one)
        head = work.commit()
        for one in edits:
            act(work, *one)
        held = tree(work, head)
        named = {name for name in named if name in held or not is_folder(work, name)}
        names = [os.fsdecode(name) for name in sorted(named)]
        before, staged = untouched(work), entries(work)
        made = make(str(work.root), head, names, "x", AT)
        assert tree(work, made) == overlay(work, held, named)
        assert made == make(str(work.root), head, names[::-1], "x", AT)
        assert differing(str(work.root), made, names) == ()
        assert untouched(work) == before
        expected = [name for name in names if overlay(work, held, [os.fsencode(name)]) != held]
        assert [*differing(str(work.root), head, names)] == expected
        advance(str(work.root), None, made, head, names)
        assert work.head() == made and work.state() == before[-1]
        after, goal = entries(work), entries_of(work, made)
        assert {name: after.get(name) for name in named} == {name: goal.get(name) for name in named}
        in_the_way = {one for one in staged if any(clash(one, name) for name in named & goal.keys())}
        assert rest(after, named) == rest(staged, named | in_the_way)
        told = work.git("status", "--porcelain", "-z", "-uall", "--no-renames").split(b"\0")[:-1]
        assert {line[3:] for line in told} & named == set()


def is_folder(work: Work, name: bytes) -> bool:
    return os.path.isdir(work.path(name)) and not os.path.islink(work.path(name))


def clash(one: bytes, other: bytes) -> bool:
    return one.startswith(other + b"/") or other.startswith(one + b"/")


def entries(work: Work) -> dict[bytes, list[bytes]]:
    found: dict[bytes, list[bytes]] = {}
    for line in work.git("ls-files", "-s", "-z").split(b"\0")[:-1]:
        head, _, name = line.partition(b"\t")
        found.setdefault(name, []).append(head)
    return found


def entries_of(work: Work, of: str) -> dict[bytes, list[bytes]]:
    lines = work.git("ls-tree", "-r", "-z", of).split(b"\0")[:-1]
    parts = [(line.partition(b"\t")[2], line.split(b"\t")[0].split(b" ")) for line in lines]
    return {name: [head[0] + b" " + head[2] + b" 0"] for name, head in parts}


def rest(of: dict[bytes, list[bytes]], but: set[bytes]) -> dict[bytes, list[bytes]]:
    return {name: head for name, head in of.items() if name not in but}


# -- what differs ----------------------------------------------------------------------------------


def test_all_that_is_tracked_is_compared_by_content_and_not_by_time(work: Work) -> None:
    head, root = work.head(), str(work.root)
    work.write("untracked")
    for name in ("a", "b", "d/c"):
        os.utime(work.path(name), (1, 1))
    before = untouched(work)
    assert differing(root, head, None) == ()
    work.write("a", "A\n")
    os.utime(work.path("a"), (1, 1))
    work.remove("d/c")
    work.write("staged", "s\n")
    work.git("add", "staged")
    work.git("rm", "-q", "--cached", "b")
    assert differing(root, head, None) == ("a", "d/c", "staged")
    assert differing(root, head, ["a", "b", "untracked", "absent"]) == ("a", "untracked")
    work.remove("staged")
    assert differing(root, head, None) == ("a", "d/c") and untouched(work)[1] == before[1]


def test_a_file_that_git_was_told_to_assume_unchanged_is_looked_at(work: Work) -> None:
    work.git("update-index", "--assume-unchanged", "a")
    work.write("a", "changed, and longer\n")
    assert differing(str(work.root), work.head(), None) == ("a",)


@pytest.mark.parametrize("bit", ["skip-worktree", "assume-unchanged"])
def test_what_git_is_told_not_to_look_at_is_the_users(work: Work, bit: str) -> None:
    """A private line in a tracked file, which `git status` does not tell of, is in no commit."""
    repository = find(str(work.root))
    assert repository is not None
    work.git("update-index", f"--{bit}", "a", "b", "d/c")
    work.write("a", "password\n")
    marks = work.says("ls-files", "-v")
    assert work.says("status", "--porcelain", "--untracked-files=no") == ""
    assert repository.uncommitted()[0] == ("a",)
    assert differing(str(work.root), work.head(), None) == ("a",)
    for name in ("a", "b"):  # whoever changed it since
        with pytest.raises(NotHeld, match="not all of these files") as caught:
            commit(work, name)
        assert name in caught.value.problems[0] and "skip-worktree" in caught.value.problems[0]
    work.remove("d/c")
    with pytest.raises(NotHeld):
        commit(work, "d/c")
    work.write("new")
    head = work.head()
    advance(str(work.root), None, commit(work, "new"), head, ["new"])
    assert work.says("ls-files", "-v") == marks + "H new\n" and work.says("show", "--stat").count("|") == 1


def test_a_mark_that_git_sets_itself_is_nobodys(work: Work) -> None:
    work.git("config", "core.ignoreStat", "true")
    work.write("a", "changed\n")
    work.git("commit", "-qam", "x")
    assert b"h a" in work.git("ls-files", "-v")
    work.write("a", "again\n")
    assert differing(str(work.root), work.head(), None) == ("a",)
    assert tree(work, commit(work, "a"))[b"a"][1] == b"again\n"


def test_what_a_sparse_checkout_leaves_out_does_not_differ(work: Work) -> None:
    work.git("sparse-checkout", "set", "--cone", "--sparse-index", "e")
    assert not (work.root / "d").exists()
    work.write("e/new", "new\n")
    before, head = untouched(work), work.head()
    made = commit(work, "e/new", "a")
    assert set(tree(work, made)) == {b"a", b"b", b"d/c", b"e/new"}
    assert differing(str(work.root), made, None) == () and untouched(work) == before
    advance(str(work.root), None, made, head, ["e/new", "a"])
    assert work.git("status", "--porcelain") == b""


def test_a_conflicted_index_is_no_hindrance(work: Work) -> None:
    work.git("checkout", "-qb", "other")
    work.write("a", "other\n")
    work.commit()
    work.git("checkout", "-q", "main")
    work.write("a", "main\n")
    head = work.commit()
    work.git("merge", "-q", "other", ok=False)
    before = untouched(work)
    assert differing(str(work.root), head, None) == ("a",)
    made = commit(work, "a")
    assert tree(work, made)[b"a"][1].startswith(b"<<<<<<<") and untouched(work) == before


# -- a branch --------------------------------------------------------------------------------------


def test_the_branch_that_is_checked_out_moves_and_the_index_goes_with_it(work: Work) -> None:
    work.write("a", "changed\n")
    work.write("new", "new\n")
    work.remove("d/c")
    work.write("mine", "staged\n")
    work.write("b", "staged\n")
    work.git("add", "mine", "b")
    work.write("b", "edited again\n")
    names = ("a", "new", "d/c")
    head, made, state = work.head(), commit(work, *names), work.state()
    assert tip(str(work.root), None) == ("refs/heads/main", head)
    advance(str(work.root), None, made, head, names)
    assert tip(str(work.root), None) == tip(str(work.root), "main") == ("refs/heads/main", made)
    assert work.git("status", "--porcelain") == b"MM b\nA  mine\n" and work.state() == state
    assert work.git("show", ":b") == b"staged\n"
    assert work.git("reflog", "-2", "--format=%gs").startswith(b"runner: ")
    index = (work.root / ".git" / "index").read_bytes()
    advance(str(work.root), None, made, head, names)
    advance(str(work.root), "main", made, None, names)
    assert (work.root / ".git" / "index").read_bytes() == index


def test_what_was_edited_since_the_commit_is_not_staged(work: Work) -> None:
    work.write("a", "changed\n")
    head, made = work.head(), commit(work, "a")
    work.write("a", "edited since\n")
    advance(str(work.root), None, made, head, ["a"])
    assert work.git("status", "--porcelain") == b" M a\n" and work.git("show", ":a") == b"changed\n"


def test_a_call_that_was_killed_before_the_index_is_finished_by_the_next(work: Work) -> None:
    work.write("a", "changed\n")
    work.write("new", "new\n")
    head, made = work.head(), commit(work, "a", "new")
    work.git("update-ref", "refs/heads/main", made, head)
    assert work.git("status", "--porcelain") == b"MM a\nD  new\n?? new\n"
    advance(str(work.root), None, made, head, ["a", "new"])
    assert work.git("status", "--porcelain") == b"" and work.head() == made


def test_a_branch_that_moved_meanwhile_stays_where_it_is(work: Work) -> None:
    work.write("a", "changed\n")
    head, made = work.head(), commit(work, "a")
    work.git("commit", "-q", "--allow-empty", "-m", "the user's")
    moved, before = work.head(), untouched(work)
    for branch, expected in ((None, head), ("main", head), ("main", None), ("absent", head)):
        with pytest.raises(Conflict, match=r"and not at"):
            advance(str(work.root), branch, made, expected, ["a"])
    assert untouched(work) == before and work.head() == moved


def test_another_branch_is_made_and_moved_and_the_index_stays(work: Work) -> None:
    work.write("a", "changed\n")
    head, made, before = work.head(), commit(work, "a"), untouched(work)
    assert tip(str(work.root), "runner/plan") == ("refs/heads/runner/plan", None)
    advance(str(work.root), "runner/plan", head, None, ["a"])
    advance(str(work.root), "runner/plan", made, head, ["a"])
    advance(str(work.root), "runner/plan", made, head, ["a"])
    assert tip(str(work.root), "runner/plan") == ("refs/heads/runner/plan", made)
    after = untouched(work)
    assert (after[0], after[2:]) == (before[0], before[2:]) and work.head() == head
    with pytest.raises(GitFailed):
        advance(str(work.root), "runner", made, None, [])
    with pytest.raises(GitFailed):
        advance(str(work.root), "a..b", made, None, [])


def test_a_branch_may_be_called_anything_that_git_allows(work: Work) -> None:
    name = os.fsdecode(b"\xff-\xc3\xa4")
    advance(str(work.root), name, work.head(), None, [])
    assert tip(str(work.root), name)[1] == work.head()


def test_a_branch_that_another_work_tree_has_checked_out_stays(work: Work, tmp_path: Path) -> None:
    work.git("worktree", "add", "-q", "-b", "side", str(tmp_path / "s\nide"))
    work.write("a", "changed\n")
    head, made, before = work.head(), commit(work, "a"), untouched(work)
    with pytest.raises(Conflict, match="another work tree"):
        advance(str(work.root), "side", made, head, ["a"])
    assert untouched(work) == before
    with pytest.raises(Conflict, match="another work tree"):
        advance(str(tmp_path / "s\nide"), "main", made, head, ["a"])
    (tmp_path / "s\nide" / "a").write_text("changed\n")
    advance(str(tmp_path / "s\nide"), None, made, head, ["a"])
    assert work.git("status", "--porcelain", cwd=tmp_path / "s\nide") == b""
    assert untouched(work)[0] == before[0] and work.head() == head


def test_a_repository_whose_git_directory_is_elsewhere_is_its_own_work_tree(
    work: Work, tmp_path: Path
) -> None:
    shutil.move(work.root / ".git", tmp_path / "apart")
    (work.root / ".git").write_text(f"gitdir: {tmp_path / 'apart'}\n")
    work.write("a", "changed\n")
    head, made = work.head(), commit(work, "a")
    advance(str(work.root / "d"), "main", made, head, ["a"])
    assert work.git("status", "--porcelain") == b"" and work.head() == made


def test_a_detached_head_moves_itself_and_no_branch(work: Work) -> None:
    work.git("checkout", "-q", "--detach")
    work.write("a", "changed\n")
    head, made = work.head(), commit(work, "a")
    assert tip(str(work.root), None) == (None, head)
    with pytest.raises(Conflict, match="HEAD is at"):
        advance(str(work.root), None, made, ZERO, ["a"])
    advance(str(work.root), None, made, head, ["a"])
    assert tip(str(work.root), None) == (None, made) and tip(str(work.root), "main")[1] == head
    assert work.git("status", "--porcelain") == b""


def test_a_branch_without_a_commit_gets_its_first(tmp_path: Path) -> None:
    work = Work(tmp_path)
    assert tip(str(work.root), None) == ("refs/heads/main", None)
    work.write("a", "a\n")
    other = work.git("commit-tree", work.git("mktree").decode().strip(), "-m", "root").decode().strip()
    made = commit(work, "a", parent=other)
    assert differing(str(work.root), other, ["a"]) == ("a",)
    advance(str(work.root), None, made, None, ["a"])
    assert work.head() == made and work.git("status", "--porcelain") == b""


def test_while_git_holds_the_index_nothing_moves(work: Work) -> None:
    work.write("a", "changed\n")
    head, made, lock = work.head(), commit(work, "a"), work.root / ".git" / "index.lock"
    lock.touch()
    before = untouched(work)
    assert commit(work, "a") == made and differing(str(work.root), head, None) == ("a",)
    with pytest.raises(Conflict, match=r"index\.lock"):
        advance(str(work.root), None, made, head, ["a"])
    assert untouched(work) == before and work.head() == head
    advance(str(work.root), "other", made, None, ["a"])  # which needs no index
    lock.unlink()
    advance(str(work.root), None, made, head, ["a"])
    assert work.git("status", "--porcelain") == b""


def test_while_git_holds_the_branch_nothing_moves(work: Work) -> None:
    work.write("a", "changed\n")
    head, made, lock = work.head(), commit(work, "a"), work.root / ".git" / "refs" / "heads" / "main.lock"
    lock.touch()
    before = untouched(work)
    with pytest.raises(GitFailed, match=r"main\.lock"):
        advance(str(work.root), None, made, head, ["a"])
    assert untouched(work) == before
    lock.unlink()
    advance(str(work.root), None, made, head, ["a"])
    assert work.head() == made


def test_an_entry_that_was_only_announced_becomes_a_real_one(work: Work) -> None:
    work.write("empty", "")
    work.git("add", "-N", "empty")
    head, made = work.head(), commit(work, "empty")
    advance(str(work.root), None, made, head, ["empty"])
    assert work.git("status", "--porcelain") == b""
    assert work.git("diff", "--cached", "--name-only") == b""


def test_a_repository_of_sha256_has_such_commits(tmp_path: Path) -> None:
    work = Work(tmp_path)
    shutil.rmtree(work.root / ".git")
    done = subprocess.run(
        ["git", "init", "-qb", "main", "--object-format=sha256"], cwd=work.root, check=False
    )
    if done.returncode != 0:
        pytest.skip("this git knows no SHA-256")
    work.write("a", "a\n")
    work.write("b", "b\n")
    head = work.commit()
    work.write("a", "changed\n")
    work.remove("b")
    made = commit(work, "a", "b")
    advance(str(work.root), None, made, head, ["a", "b"])
    advance(str(work.root), "new", made, None, [])
    assert len(made) == 64 and set(tree(work, made)) == {b"a"} and work.git("status", "--porcelain") == b""

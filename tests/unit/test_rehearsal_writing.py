"""Scripts that are written: read again they are the same, and the edits in them keep every byte."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path
from string import printable
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from runner.rehearsal import edits, patches, script
from runner.rehearsal.patches import Replace, Write
from runner.rehearsal.texts import Texts
from runner.rehearsal.turns import Failure, PatchCall, Script, ShellCall, ToolCall, Turn, TurnUsage
from runner.rehearsal.writing import written

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=30) | st.sampled_from(
    ["{task}", "a\r\nb\n", '"""\n\\', "\n\n'''", "\x00\x1b[2J\x7f", "l1\nl2 \n", "\t", "{last_output}\r"]
)
SAID = TEXT.filter(str.strip)
VALUE = st.recursive(
    st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | TEXT,
    lambda one: st.lists(one, max_size=3) | st.dictionaries(TEXT, one, max_size=3),
    max_leaves=6,
)
SHELL = SAID.map(ShellCall)
TOOL = st.tuples(SAID, SAID, st.dictionaries(TEXT, VALUE, max_size=3)).map(lambda of: ToolCall(*of))
PATCH = TEXT.map(lambda text: PatchCall(f"*** Begin Patch\n{text}\n*** End Patch\n"))
CALLS = st.tuples(*(st.lists(one, max_size=2) for one in (SHELL, TOOL, PATCH))).map(
    lambda of: tuple(call for calls in of for call in calls)
)
USAGE = st.tuples(*[st.integers(0, 2**40)] * 4).map(lambda of: TurnUsage(*of))
DELAY = st.integers(0, 600).map(lambda tenths: tenths / 10)
ERROR = st.tuples(SAID, st.integers(400, 599), st.none() | SAID, st.none() | st.integers(0, 2**40))
TURN = (
    st.tuples(SAID, CALLS, DELAY, USAGE).map(lambda of: Turn(of[0], 1, of[1], delay_s=of[2], usage=of[3]))
    | CALLS.filter(bool).map(lambda calls: Turn(calls=calls, times=2))
    | ERROR.map(lambda of: Turn(failure=Failure(*of)))
    | st.tuples(st.none() | SAID, DELAY).map(lambda of: Turn(of[0], delay_s=of[1], ending="cut"))
    | st.just(Turn(ending="hang"))
)


def loaded(folder: Path, text: str) -> Script:
    (folder / "play.toml").write_bytes(text.encode())
    return script.load(folder / "play.toml")


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    turns=st.lists(TURN, min_size=1, max_size=4),
    comment=st.text(printable, max_size=20),
    files=st.dictionaries(
        TEXT.filter(lambda name: name[:1] != "/" and ".." not in name),
        st.sampled_from(["", "0123456789abcdef" * 4]),
        max_size=3,
    ),
)
def test_what_is_written_is_read_as_the_same_script(
    tmp_path: Path, turns: list[Turn], comment: str, files: dict[str, str]
) -> None:
    begins = tuple(files.items())
    text = written(Script(tuple(turns), begins_with=begins), [" ".join(comment.split())])
    wanted = [one._replace(calls=tuple(map(stripped, one.calls))) for one in turns]
    assert loaded(tmp_path, text) == Script(tuple(wanted), literal=True, begins_with=begins)


def stripped(call: Any) -> Any:
    return PatchCall(f"{call.text.strip()}\n") if isinstance(call, PatchCall) else call


def test_a_text_of_several_lines_is_readable_and_one_with_two_kinds_of_line_ends_is_exact(
    tmp_path: Path,
) -> None:
    text = written(Script((Turn("one\ntwo"), Turn("one\r\ntwo"))))
    assert 'message = """one\ntwo"""' in text
    assert [one.message for one in loaded(tmp_path, text).turns] == ["one\ntwo", "one\r\ntwo"]


def test_texts_that_are_literal_stand_for_nothing_else() -> None:
    turn = Turn("{task} {last_output}", calls=(ShellCall("echo {task}"),))
    request: Any = None
    assert Texts("hello", (), request, literal=True).turn(turn) == turn


LINE = st.text("ab \t{}'\"\\\r$é*@+-", max_size=6) | st.sampled_from(["@@", "*** End Patch", "END_OF_FILE"])
CONTENT = (
    st.lists(LINE, max_size=8).map(lambda lines: "".join(f"{line}\n" for line in lines).encode())
    | st.lists(st.sampled_from("abc"), max_size=12).map(
        lambda lines: "".join(f"{x}\n" for x in lines).encode()
    )
    | st.binary(max_size=20)
)


def agents_edit(before: bytes | None, section: str) -> bytes | None:
    """What an agent without a tool for patches makes of it; each text has to be there once."""
    now = None if before is None else before.decode(errors="replace")
    for step in patches.steps(PatchCall(f"*** Begin Patch\n{section}*** End Patch\n")):
        if isinstance(step, Write):
            now = step.text
        elif isinstance(step, Replace):
            assert now is not None and now.count(step.old) == 1
            now = now.replace(step.old, step.new)
        else:
            assert step == ShellCall("rm -- dir/a.txt")
            now = None
    return None if now is None else now.encode()


@given(before=st.none() | CONTENT, after=st.none() | CONTENT)
@example(b"a\nb\nc\na\nb\nc\n", b"a\nb\nc\na\nb\nd\n")
@example(b"a\n", b"")
@example(None, b"")
def test_an_edit_that_is_a_patch_makes_the_very_bytes(before: bytes | None, after: bytes | None) -> None:
    section = edits.patched("dir/a.txt", before, after, 0o100644)
    if section is not None and before != after and (before is not None or after is not None):
        assert agents_edit(before, section) == after
        assert not re.search(r"[ \t]$", re.sub(r"(?m)^[ +-]", "", section), re.M)


def test_a_plain_edit_is_a_patch_and_another_one_is_not() -> None:
    plain = b"one\ntwo\nthree\n"
    assert edits.patched("a b.txt", plain, b"one\nzwei\nthree\n", 0o100644) is not None
    for other in (b"one\ntwo\nthree", b"one \n", b"a\\n\n", b"a\r\n", b"\xff\n", b""):
        assert edits.patched("a", plain, other, 0o100644) is None, other
    assert edits.patched("a", None, plain, 0o100755) is None
    assert edits.patched("a\nb", None, plain, 0o100644) is None


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=25)
@given(
    files=st.dictionaries(
        st.sampled_from(["a", "dir/b c", "-x", "dir/d'e", "f\ng", 'h"i', "$j`k`\\ !", "it's/${q}"]),
        st.tuples(
            st.none() | CONTENT | st.just(b"it's \\x\n" * 40_000), st.sampled_from([0o100644, 0o100755])
        ),
        min_size=1,
    ),
    was_there=st.booleans(),
)
def test_a_file_is_put_in_place_with_its_very_bytes_and_its_mode(
    tmp_path_factory: Any, files: dict[str, tuple[bytes | None, int]], was_there: bool
) -> None:
    folder = tmp_path_factory.mktemp("put")
    if was_there:
        (folder / "dir").mkdir()
        (folder / "it's").mkdir()
        for name in files:
            (folder / name).write_bytes(b"before")
    for command in edits.put(files):
        assert len(command) < 120_000 and command.count("'") < 2  # Claude makes 161 of each
        subprocess.run(["bash", "-c", command], cwd=folder, check=True)
    for name, (data, mode) in files.items():
        path = folder / name
        assert (path.read_bytes() if path.exists() else None) == data
        assert data is None or path.stat().st_mode & 0o777 == mode & 0o777


def test_a_link_is_put_in_place_as_one(tmp_path: Path) -> None:
    (tmp_path / "a").symlink_to("elsewhere")
    links = {"l": b"some where", "it's": b"-it's\n$x"}
    files = {name: (target, 0o120000) for name, target in links.items()}
    for command in edits.put({**files, "a": (b"now\n", 0o100644)}):
        subprocess.run(["bash", "-c", command], cwd=tmp_path, check=True)
    for name, target in links.items():
        assert (tmp_path / name).readlink() == Path(target.decode())
    assert not (tmp_path / "a").is_symlink() and (tmp_path / "a").read_text() == "now\n"


@pytest.mark.parametrize("is_there", [True, False])
def test_nothing_is_removed_or_written_through_a_link(tmp_path: Path, is_there: bool) -> None:
    for folder in ("e", "f", "d"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "x").write_text("kept\n")
    if is_there:
        shutil.rmtree(tmp_path / "d")
        (tmp_path / "d").symlink_to("e")
    (tmp_path / "g").symlink_to("f")
    files = {"d": (b"e", 0o120000), "d/x": (None, 0o100644), "g/x": (None, 0o100644)}
    for command in edits.put({**files, "h/x": (b"new\n", 0o100644)}):
        subprocess.run(["bash", "-c", command], cwd=tmp_path, check=True)
    assert (tmp_path / "d").readlink() == Path("e") and (tmp_path / "h/x").read_text() == "new\n"
    (tmp_path / "h/x").unlink()
    (tmp_path / "h").rmdir()
    (tmp_path / "h").symlink_to("f")
    for command in edits.put({"h/x": (b"new\n", 0o100644)}):
        subprocess.run(["bash", "-c", command], cwd=tmp_path, check=True)
    assert not (tmp_path / "h").is_symlink()
    assert [(tmp_path / f"{name}/x").read_text() for name in "efh"] == ["kept\n", "kept\n", "new\n"]

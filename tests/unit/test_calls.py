"""A host's call of a tool, read: the files that it edits, the text that it gives to a shell."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner.hosts.calls import Edits, OtherTool, ShellText, Unreadable, read_call


def patched(*lines: str) -> Any:
    text = "\n".join(("*** Begin Patch", *lines, "*** End Patch", ""))
    return read_call("apply_patch", {"command": text}, "/w")


@pytest.mark.parametrize(
    ("tool", "key"),
    [
        ("Write", "file_path"),
        ("Edit", "file_path"),
        ("MultiEdit", "file_path"),
        ("NotebookEdit", "notebook_path"),
    ],
)
def test_each_tool_that_edits_names_its_file(tool: str, key: str) -> None:
    assert read_call(tool, {key: "/w/a b"}, "/w") == Edits(("/w/a b",))
    assert read_call(tool, {key: "ä/b"}, "/w") == Edits(("/w/ä/b",))
    for path in (None, 7, [], ["/w/a"], "", " /etc/x", "/w/a ", "~/x", "a\nb", "a\x1fb", "a\0b", "a\u202eb"):
        assert isinstance(read_call(tool, {key: path}, "/w"), Unreadable), path
    assert isinstance(read_call(tool, {}, "/w"), Unreadable)
    assert isinstance(read_call(tool, {key: "a"}, "w"), Unreadable)


def test_every_path_of_a_patch_counts() -> None:
    found = patched(
        *(
            "*** Add File: a/new.txt",
            "+*** Add File: no-head",
            "*** Update File: b.txt",
            "*** Move to: ../c.txt",
        ),
        *("@@", " one", "-two", "*** End of File", "  *** Delete File: /abs/d.txt\r"),
    )
    assert found == Edits(("/w/a/new.txt", "/w/b.txt", "/w/../c.txt", "/abs/d.txt"))


def test_a_patch_that_is_not_understood_is_unreadable() -> None:
    assert isinstance(patched(), Unreadable)
    assert isinstance(patched("*** Add File: docs/a", "*** Copy File: src/b"), Unreadable)
    assert isinstance(patched("*** Environment ID: x", "*** Add File: docs/a"), Unreadable)
    assert isinstance(patched("*** Add File:  docs/a"), Unreadable)
    assert isinstance(patched("*** Add File: "), Unreadable)
    assert isinstance(patched("*** Add File: docs/a\x1c"), Unreadable)  # a blank for Python, not for Codex
    for given_command in (None, 3, ["*** Begin Patch"]):
        assert isinstance(read_call("apply_patch", {"command": given_command}, "/w"), Unreadable)


def test_a_shell_is_told_a_text_and_all_else_is_named() -> None:
    assert read_call("Bash", {"command": "ls"}, "/w") == ShellText("ls")
    assert read_call("Monitor", {"command": "tail -f x"}, "/w") == ShellText("tail -f x")
    assert isinstance(read_call("Bash", {"command": ["ls"]}, "/w"), Unreadable)
    assert read_call("Read", {"file_path": "/w/a"}, "/w") == OtherTool("Read")
    assert read_call("write", {"file_path": "/w/a"}, "/w") == OtherTool("write")


@given(st.text(), st.lists(st.sampled_from(["*** Add File: src/x", " *** Move to: src/x", "*** Up", "+x"])))
def test_no_line_around_a_head_hides_it(noise: str, more: list[str]) -> None:
    found = patched(noise, *more, "*** Update File: src/y")
    assert isinstance(found, Unreadable) or "/w/src/y" in found.paths

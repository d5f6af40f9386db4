"""What the lines of a patch are."""

from __future__ import annotations

from pathlib import Path

from support.repo import Repo

from runner.text.patch import lines

PATCH = """\
diff --git a/a b/a
index 1..2 100644
--- a/a
+++ b/a
@@ -1,3 +1,2 @@ def f():
 one
--- a/forged
-@@ -1 +1 @@
+++ b/forged
\\ No newline at end of file
@@ -9 +8,0 @@
-nine
diff --git a/b b/b
new file mode 100755
Binary files differ
"""


def test_each_line_is_what_git_means_by_it_and_no_content_is_a_head() -> None:
    assert [kind for kind, _ in lines(PATCH)] == [
        *("head", "head", "head", "head", "hunk", " ", "-", "-", "+", " "),
        *("hunk", "-", "head", "head", "head"),
    ]
    assert "".join(f"{line}\n" for _, line in lines(PATCH)) == PATCH
    assert list(lines("")) == []


def test_a_hunk_that_is_cut_off_or_wrong_is_read_as_far_as_it_goes() -> None:
    assert [kind for kind, _ in lines("@@ -1,9 +1,9 @@\n-a")] == ["hunk", "-"]
    assert [kind for kind, _ in lines("@@ -1,x +1 @@\n-a")] == ["head", " "]
    assert [kind for kind, _ in lines(f"@@ -1,{'9' * 5000} +1 @@\n-a b")] == ["head", "head"]


def test_the_patch_of_git_itself_is_read_whole(tmp_path: Path) -> None:
    repo = Repo(tmp_path)
    (repo.root / "bin").write_bytes(bytes(range(256)) * 9)
    (repo.root / "a").write_text("-- x\n++ y\n@@ -1 +1 @@\n\nlast without a break")
    repo.git("add", "-A")
    repo.git("commit", "-qm", "x")
    (repo.root / "bin").write_bytes(bytes(reversed(range(256))) * 9)
    (repo.root / "a").write_text("-- y\n++ y\n@@ -1 +2 @@\n\nlast\n")
    text = repo.git("diff", "--binary").decode()
    counted = [kind for kind, _ in lines(text)]
    assert (counted.count("+"), counted.count("-")) == (3, 3)
    assert counted.count("hunk") == 1 and " " in counted

"""What a plan says that is not to be done: it is never carried out without a word."""

from __future__ import annotations

import pytest
from support.waiting import ends_within

from runner.plan import load
from runner.plan.markdown import parse


def lines_of(text: str) -> list[int]:
    """The lines that are not clear, each once."""
    found = load.examined(text, "plan.md").unclear
    return sorted({int(one.split(":")[1]) for one in found})


DROPPED = [
    *("CANCELLED - x", "Cancelled: x", "cancelled", "(cancelled) x", "[cancelled] x", "**Cancelled** x"),
    *("WONTFIX", "WONTFIX x", "Won't fix: x", "won\u2019t do", "DROPPED: x", "Dropped - x", "x - dropped"),
    *(
        "x \u2014 deferred to v2",
        "x CANCELLED",
        "x: WONTFIX",
        "x **(dropped)**",
        "x *cancelled*",
        "On hold: x",
    ),
    *(
        "Superseded by U1",
        "Deferred to the next release",
        "Not needed.",
        "DONE x",
        "Done: x",
        "x - done in #12",
    ),
    *(
        "SKIPPED x",
        "skip: x",
        "x (skip)",
        "\u274c x",
        "x \U0001f6ab",
        "~~x~~",
        "~x~",
        "<del>x</del>",
        "<S>x</S>",
    ),
    *("x (no longer needed)", "Abandoned because of the vendor", "obsolete", "c\u0336x\u0336", "~~`x`~~"),
]
WANTED = [
    *("Handle cancelled orders", "Remove dropped packets", "Cancel button", "Skip to the next page"),
    *("Complete the form", "Merged cells: read them", "Completed orders - a list", "Show a done state"),
    *("Dropped-packet counter", "Removed in-memory cache", "Mark tasks as done", "Orders: open, cancelled"),
    *("Deferred loading of images", "Drop obsolete tables", "SKIP LOCKED in the queue", "Done column"),
    *("Retry - deferred jobs first", "Read `~~x~~`", "Show `CANCELLED`", "Skip (and log) what is dropped"),
    *("Wait ~5 minutes, not ~10", "Read `~/x` and ~/y", "Use `<del>` and `<s>`", "Undo: deferred deletes"),
    *(
        "Not needed imports are removed",
        "Dropped assets are listed",
        "A field (not required)",
        "Return Map<String, List<S>> from it",
        "Use <kbd>Ctrl</kbd>",
        "Removed seeds are sown",
        "Skipped, failed and passed tests are counted",
        "Merge `done` (a list)",
    ),
]


@pytest.mark.parametrize("start", ["### {}U1. {}", "- {}**Unit 1: {}**", "- {}U1: {}"])
def test_a_unit_whose_name_says_that_it_is_dropped_is_told(start: str) -> None:
    for name in DROPPED:
        if "*" not in name or "**" not in start:
            told = [lines_of(f"{start.format(box, name)}\n") for box in ("", "[ ] ", "[x] ")]
            assert told == [[1], [1], []], name
    for name in WANTED:
        assert not any(lines_of(f"{start.format(box, name)}\n") for box in ("", "[ ] ")), name


@pytest.mark.parametrize(
    ("hidden", "told"),
    [
        ("~~### U4. D~~\n**Files:** `d.py`\n", [3]),
        ("### ~~U4. D~~\n", [3]),
        ("~~U4. D~~\n", [3]),
        ("<del>U4. D</del>\n", [3]),
        ("<del>\n### U4. D\n</del>\n", [4]),
        ("### Cancelled: U4. D\n", [3]),
        ("### [DROPPED] U4. D\n", [3]),
        ("### U4 (cancelled): D\n", [3]),
        ("- [ ] (cancelled) U4: D\n", [3]),
        ("- ~~U4: D~~\n", [3]),
        ("~~\n### U4. D\n~~\n", [3, 5]),
        ("~~### U4. D\n**Files:** `d.py`~~\n", [3, 4]),
    ],
)
def test_a_unit_that_is_struck_out_as_a_whole_is_told(hidden: str, told: list[int]) -> None:
    """Its fields would go to the unit before."""
    assert lines_of(f"### U1. A\n\n{hidden}") == told


@pytest.mark.parametrize(
    ("above", "below"),
    [
        ("<del>", "</del>"),
        ("<S>", "</S>"),
        ('<strike class="old"\nid="x">', "</strike>"),
        ("Prose\n<del>", "and </del> prose"),
        ("<s>\n\n<del>\n\n</del>", "</s>"),
        ("<details>\n<summary>Old units</summary>", "</details>"),
        ("<details open>\n<summary><b>Dropped</b> in May</summary>", "</details>"),
        ("<DETAILS>\n\n<SUMMARY>\nArchive\n</SUMMARY>", "</DETAILS>"),
        ("<details><summary>Cancelled</summary>\n\n<details><summary>More</summary>", "</details></details>"),
    ],
)
def test_a_unit_in_an_element_that_drops_it_is_told(above: str, below: str) -> None:
    page = f"# P\n\n{above}\n\n### U1. A\n\n### U2. B\n\n{below}\n\n### U3. C\n"
    first = page.split("\n").index("### U1. A") + 1
    assert lines_of(page) == [first, first + 2]
    assert lines_of(page.replace("U1", "[x] U1").replace("### U2. B", "- [x] a step")) == []


@pytest.mark.parametrize(
    "above",
    [
        "<details>\n<summary>More units</summary>",
        "`<del>`",
        "```\n<del>\n```",
        "    <del>",
        "<!-- <del> -->",
        "\\<del>",
        "<del>one line</del>",
        "<delta>",
        "A Vec<S> of T",
        "<details><summary>Old</summary>\n</details>",
    ],
)
def test_a_unit_below_another_element_is_read(above: str) -> None:
    assert not lines_of(f"# P\n\n{above}\n\n### U1. A\n**Files:** `a.py`\n")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("<del>\n\n**Files:**\n- `a.py`\n\n</del>\n", [5]),
        ("**Verify:**\n\n<s>\n\n```bash\nmake\n```\n\n</s>\n", [6]),
        ("<details><summary>Dropped</summary>\n\n- Depends on: None\n</details>\n", [4]),
        ("<del>**Verify:** `make`</del>\n", [2]),
        ("~~**Files:** `a.py`~~\n", [2]),
        ("<b>Files:</b> `a.py`\n", [2]),
        ("<details>\n<summary>Files</summary>\n\n- `a.py`\n</details>\n", [3]),
        ("<h4>Verification</h4>\n", [2]),
        ("**Files:** <del>`a.py`</del> `b.py`\n", [2]),
        ("**Files:** ~`a.py`~, `b.py`\n", [2]),
        ("**Verify:** <s>`make a`</s> `b`\n", [2]),
        ("**Depends on:** ~~U2~~\n", [2]),
        ("**Verify:**\n~~\n- `make`\n~~\n", [3, 4, 5]),
        ("**Cancelled** - see U2\n", [2]),
        ("> Deferred to v2.\n", [2]),
        ("#### Superseded by U2\n", [2]),
        ("#### <del>Files</del>\n- `a.py`\n", [2]),
        ("#### ~~Files~~\n- `a.py`\n", [2]),
        ("> [!NOTE]\n> **Cancelled**: see U2\n", [3]),
        ("<table>\n<tr><td>Files</td><td>a.py</td></tr>\n</table>\n", [3]),
        ("Deferred: caching.\n\n- Dropped: `x`\n", []),
        ("Cancelled orders are hidden.\n\n- Skipped: none\n\nUse ~~that~~ this.\n", []),
        ("**Verify:** `make`\n\n<details>\n<summary>Why</summary>\n\n- `x` is slow\n\n</details>\n", []),
    ],
)
def test_what_is_dropped_of_a_unit_is_told(text: str, told: list[int]) -> None:
    assert lines_of(f"### U1. A\n{text}\n### U2. B\n") == told


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("- ~~U1: A~~\n- U2: B\n", [1]),
        ("| ~~U1~~ | A |\n", [1]),
        ("Cancelled: U1 and U2.\n", [1]),
        ("**Done:** Units 1-2\n", [1]),
        ("**Cancelled tasks:** U1\n", [1]),
        ("- U1 was dropped after the review.\n", [1]),
        ("U1 drops a table that is deferred.\n", []),
        ("| U1 is not needed by all | open |\n", []),
        ("- ~~U2: B~~\n", []),
        ("Removed: see U1.\n\nSkipped: 1\n\n~~Old~~ U1 was moved.\n", []),
    ],
)
def test_a_unit_that_another_part_of_the_plan_drops_is_told(text: str, told: list[int]) -> None:
    assert lines_of(f"{text}\n### U1. A\n\n### [x] U2. B\n") == told


def test_no_text_about_what_is_dropped_or_spared_takes_for_ever() -> None:
    many = "".join(f"- `x/**/{n}*b.py`\n- don't touch `x/{n}bb.js`\n" for n in range(2000))
    with ends_within(20, "the comparison of many files"):
        assert parse(f"### U1. A\n**Files:**\n{many}").unclear
    for line in ("<summary>", "<del ", "~a ", "(done ", " - done!", "`a``", "<s>", "done, ", ":_*"):
        with ends_within(20, f"the reading of many {line}"):
            assert parse(f"### U1. A\n\n{line * 30_000}x\n\n### U2. done{line * 30_000}x\n").units


@pytest.mark.parametrize(
    ("heading", "told"),
    [
        *(("## Cancelled", [6]), ("## Completed tasks", [6]), ("## Old plan (superseded)", [6])),
        *(
            ("## Cancelled orders", []),
            ("## Old browsers", []),
            ("## Phase 2 (cancelled)", [6]),
            ("## ~~Phase 2~~", [6]),
            ("# Phase 1: Base - DONE", [6]),
            ("# Done", [6]),
            ("## Later-stage checks", []),
            ("## Done when?", []),
        ),
    ],
)
def test_a_unit_below_a_heading_that_drops_it_is_told_unless_it_is_done(
    heading: str, told: list[int]
) -> None:
    page = f"# P\n\n### U1. A\n\n{heading}\n### U2. B\n"
    assert lines_of(page) == told
    for done in ("- [x] a step", "**Status:** done", "- [x] one\n- [X] two"):
        assert not lines_of(f"{page}{done}\n")

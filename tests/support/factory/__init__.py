"""The pipeline `factory` in rehearsal, as a whole: a small shop, and what each agent of it says and does."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from shlex import quote
from typing import Any

from runner.plan import load
from runner.plan.batch import decide

__all__ = ["BUILT", "INJECTED", "INPUT", "PLACE", "REPAIRED", "prepare"]

HERE = Path(__file__).parent
BUILT = HERE / "built"
INPUT = {"name": "csv-export", "question": "How does a customer get their orders as a CSV file?"}
PRD, PLAN = f"docs/prds/{INPUT['name']}.md", f"docs/plans/{INPUT['name']}.md"
_SEARCH = (BUILT / "shop/search.py").read_text().splitlines()
PLACE = ("shop/search.py", 1 + next(n for n, line in enumerate(_SEARCH) if "{customer}" in line))
"""File and line of the planted injection."""
INJECTED = tuple(_SEARCH[PLACE[1] - 1 : PLACE[1] + 1])
REPAIRED = (
    '    query = f"SELECT id, customer, cents FROM orders WHERE customer = ? ORDER BY id LIMIT {MOST}"',
    "    return db.execute(query, (customer,)).fetchall()",
)
_SHARED = "Amounts are divided as floating point numbers"
_OF_CODEX = "The export is cut at 10,000 orders without a word"
_OF_CLAUDE = "A name that begins with = becomes a formula in a spreadsheet"


def prepare(folder: Path) -> Path:
    """Writes the project into `folder`, and beside it the folder with the scripts, which is the answer."""
    shutil.copytree(HERE / "project", folder, dirs_exist_ok=True)
    scripts = folder.parent / "factory-scripts"
    scripts.mkdir()
    for name, text in _scripts().items():
        (scripts / f"{name}.toml").write_text(f"schema_version = 1\n{text}")
    return scripts


def _scripts() -> dict[str, str]:
    return {
        "research.research-flow": _reads("shop/orders.py") + _says("Orders are read in shop/orders.py:17."),
        "research.research-rules": _reads("shop/orders.py") + _says("Values go to SQL as `?` (line 13)."),
        "research.research-risks": _reads("tests/test_orders.py") + _says("No test covers two customers."),
        "synthesis.weigh-research": _says(_SYNTHESIS),
        "draft.draft-prd": _writes(PRD, PLAN) + _says("The PRD and a plan of 7 units are written."),
        **_batches(),
        "review.review-security": _reads(PLACE[0]) + _finds(_INJECTION),
        "review.review-errors": _finds(_SIGN),
        "review.review-data": _finds(
            _finding("important", "shop/limits.py", "MOST", "Nobody sees the limit")
        ),
        "review.repair-1-1": _repairs() + _says("The name is a parameter of the query now."),
        "review.review-security.2": _reads(PLACE[0]) + _finds(),
        "review.review-errors.2": _finds(_SIGN),
        "review.review-data.2": _finds(_LIMIT),
        "second-opinion.a": _finds(
            _finding("important", "shop/money.py", "return", _SHARED),
            _finding("minor", "shop/search.py", "LIMIT", _OF_CODEX),
        ),
        "second-opinion.b": _finds(
            _finding("minor", "shop/money.py", "return", _SHARED),
            _finding("important", "shop/rows.py", "return", _OF_CLAUDE),
        ),
        "second-opinion.synthesis": _synthesises(),
        "testing.write-tests": _writes("tests/test_export.py") + _says("Both cases are tested."),
    }


_SYNTHESIS = """\
STATUS: SUCCESS
FILES_CHANGED: []
TESTS_RUN: []
NOTES: One function that exports the orders of one customer, in the way of shop/orders.py.
ASSUMPTIONS: []
PATTERNS_DISCOVERED: [values go to SQL as parameters]

The three agree: orders are read in shop/orders.py, and values go to SQL as `?` there (lines 13 and 19).
No contradiction is left. A new module for each step, joined by `shop.export`.
"""


def _batches() -> dict[str, str]:
    """One script for each batch that the plan becomes."""
    plan = load.load(str(BUILT / PLAN))
    files = {unit.id: unit.files.create for unit in plan.units}
    found = {}
    for batch in decide(plan).batches:
        paths = [path for unit in batch.units for path in files[unit]]
        claim = {"status": "completed", "files_modified": paths, "issues": []}
        told = {**claim, "summary": f"{len(paths)} modules.", "verification_summary": "All can be imported."}
        found[f"implement.batch-{batch.n}"] = _writes(*paths) + _says(json.dumps(told))
    return found


# -- findings ------------------------------------------------------------------------------------------


def _finding(severity: str, file: str, word: str, title: str, detail: str = "") -> dict[str, Any]:
    """At the line of a file that is built in which this word stands."""
    lines = (BUILT / file).read_text().splitlines()
    line = next(n for n, text in enumerate(lines, 1) if word in text)
    detail = detail or f"{title}, and nothing else in the shop prevents it."
    evidence = lines[line - 1].strip()
    named = {"severity": severity, "file": file, "line": line, "title": title}
    return {**named, "detail": detail, "evidence": evidence}


_INJECTION = _finding(
    "critical",
    PLACE[0],
    "{customer}",
    "SQL injection by the name of a customer",
    "The name is put into the query as text, so `x' OR '1'='1` exports the orders of everybody.",
)

_SIGN = _finding("minor", "shop/money.py", "return", "No amount below zero is tested")
_LIMIT = _finding("important", "shop/limits.py", "MOST", "Nobody sees that the export was cut")


def _finds(*findings: dict[str, Any]) -> str:
    summary = f"{len(findings)} found." if findings else "Nothing found."
    return _says(json.dumps({"status": "completed", "summary": summary, "findings": findings}))


def _synthesises() -> str:
    """Which of the two is Alpha is drawn by lot, so the script looks into its file and says what fits."""
    texts = [json.dumps(_synthesis(codex, claude), ensure_ascii=True) for codex, claude in ("AB", "BA")]
    look = f"if grep -qF {quote(_OF_CODEX)} \"{{alpha}}\"; then printf '%s' {quote(texts[0])}; "
    look += f"else printf '%s' {quote(texts[1])}; fi"
    return f"[captures]\nalpha = 'Analysis Alpha: (.+)'\n{_calls(look)}{_says('{last_output}')}"


def _synthesis(codex: str, claude: str) -> dict[str, Any]:
    """Each of the four findings is kept: one that both have, and one of each. `codex` is its letter."""
    kept = [
        {**_finding("important", "shop/money.py", "return", _SHARED), "sources": ["A1", "B1"]},
        {**_finding("minor", "shop/search.py", "LIMIT", _OF_CODEX), "sources": [f"{codex}2"]},
        {**_finding("important", "shop/rows.py", "return", _OF_CLAUDE), "sources": [f"{claude}2"]},
    ]
    said = {codex: f"says: {_OF_CODEX}", claude: f"says: {_OF_CLAUDE}"}
    return {
        "off_topic": [],
        "differences": [{"alpha": said["A"], "beta": said["B"], "findings": ["A2", "B2"]}],
        "steelman": [
            {"finding": sources[0], "argument": f"{one['title']}: it happens with ordinary orders."}
            | {"file": one["file"], "line": one["line"]}
            for one in kept
            if len(sources := one["sources"]) == 1
        ],
        "rebuttals": [],
        "findings": kept,
        "summary": "Three findings, of which two are those of one analysis alone. None could be rebutted.",
    }


# -- turns ---------------------------------------------------------------------------------------------


def _says(text: str) -> str:
    return f"[[turns]]\nmessage = {json.dumps(text)}\n"


def _calls(command: str) -> str:
    return f"[[turns]]\nshell = {json.dumps(command)}\n"


def _reads(path: str) -> str:
    return _calls(f"cat {path}")


def _writes(*paths: str) -> str:
    """Adds files as they are in `built`."""
    return _patches("\n".join(_added(path) for path in paths))


def _added(path: str) -> str:
    lines = (BUILT / path).read_text().splitlines()
    return "\n".join((f"*** Add File: {path}", *(f"+{line}" for line in lines)))


def _repairs() -> str:
    lines = [*(f"-{line}" for line in INJECTED), *(f"+{line}" for line in REPAIRED)]
    return _patches("\n".join((f"*** Update File: {PLACE[0]}", "@@", *lines)))


def _patches(body: str) -> str:
    return (
        f"[[turns]]\npatch = {json.dumps(f'*** Begin Patch{chr(10)}{body}{chr(10)}*** End Patch{chr(10)}')}\n"
    )

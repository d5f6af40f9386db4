"""Of a value that was cut before it was looked for, next to nothing is left at the edges of a text."""

from __future__ import annotations

import base64
import json
import shlex
import time
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner.redact.redactor import Redactor

MARK = "[redacted]"
SECRET = "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456"
MARKS = ["", "...", " [...]", "…", " ... ", "\ufffd"]
SPELLINGS: dict[str, Callable[[str], str]] = {
    "plain": str,
    "json": lambda text: json.dumps(text)[1:-1],
    "json in json": lambda text: json.dumps(json.dumps(text))[3:-3],
    "unicode json": lambda text: json.dumps(text, ensure_ascii=False)[1:-1],
    "base64": lambda text: base64.b64encode(text.encode()).decode(),
    "base64 behind another": lambda text: base64.b64encode(f"me:{text}".encode()).decode()[4:],
    "base64url": lambda text: base64.urlsafe_b64encode(text.encode()).decode(),
    "hex": lambda text: text.encode().hex(),
    "HEX": lambda text: text.encode().hex().upper(),
    "shell": lambda text: shlex.quote(text)[1:-1] if "'" in text else text,
}

values = st.text(alphabet="abcXYZ019_-+/=\"'\\ é😀%&", min_size=12, max_size=40).filter(
    lambda text: len(set(text)) > 6 and len(text.strip()) == len(text)
)
spelt = st.sampled_from([*SPELLINGS.values()])


def runs(text: str, size: int = 8) -> set[str]:
    return {text[at : at + size] for at in range(len(text) - size + 1)}


@given(values, spelt, st.lists(values, max_size=2), st.integers(47, 400), st.sampled_from(MARKS))
def test_no_eight_characters_of_a_value_are_left_where_a_text_was_cut(
    value: str, spell: Callable[[str], str], others: list[str], most: int, mark: str
) -> None:
    redactor, said = Redactor([*others, value]), spell(value)
    known, long = runs(said.rstrip("=")), said * (400 // len(said) + 2)
    cut = redactor.redact_text(f"{'. ' * 20}{long}"[:most] + mark)
    assert cut.removesuffix(mark).rstrip()[-8:] not in known
    left = redactor.redact_text(f"{mark}{long[-most:]}ZZZZ")
    assert left.removeprefix(mark).lstrip()[:8] not in known
    assert (redactor.redact_text(cut), redactor.redact_text(left)) == (cut, left)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (f"{'t' * 175}{SECRET[:22]}...", f"{'t' * 175}{MARK}..."),
        (f"{SECRET[8:]} ... {SECRET[:8]}", f"{MARK} ... {MARK}"),
        (f"\ufffd\ufffd{SECRET[1:]}zz", f"\ufffd\ufffd{MARK}zz"),
        (f"said: {SECRET[:30]}... (status 500)", f"said: {MARK}... (status 500)"),
        (f"{SECRET[:9]}\n[runner: 12 bytes were cut out here]\n{SECRET[9:]}", None),
        (f"[...]{SECRET[5:]}x", f"[...]{MARK}x"),
        (SECRET[4:28], MARK),
        (f"a {SECRET[:5]}", f"a {SECRET[:5]}"),
        (f"a {SECRET[:12]} b", f"a {SECRET[:12]} b"),
    ],
)
def test_what_stands_beside_a_cut_and_is_a_part_of_a_value_is_hidden(text: str, shown: str | None) -> None:
    shown = shown or f"{MARK}\n[runner: 12 bytes were cut out here]\n{MARK}"
    assert Redactor([SECRET]).redact_text(text) == shown


def test_of_values_that_overlap_nothing_is_left_where_they_were_cut() -> None:
    redactor = Redactor(["first-Word-42", "Word-42-second-Word", "other-Value-7"])
    assert redactor.redact_text("x first-Word-42-second") == f"x {MARK}"
    assert redactor.redact_text("ther-Value-7 and Word-42-second-Wo...") == f"{MARK} and {MARK}..."


def test_a_word_of_ours_that_a_value_begins_with_stays_what_it_is() -> None:
    assert Redactor(["succeeded-By-1234"]).redact_text("succeeded") == "succeeded"


def test_what_a_shell_makes_of_a_value_is_found() -> None:
    value = "it's-a'Long-Value"
    told = Redactor([value]).redact_text(shlex.join(["sh", "-c", f"echo {value}; exit 1"]))
    assert "Long" not in told and told.startswith("sh -c 'echo [redacted]") and told.endswith("; exit 1'")


@pytest.mark.parametrize("text", [" " * 60_000, "... " * 15_000, f"{SECRET[:9]}..." * 5_000, "ab" * 30_000])
def test_a_text_of_nothing_but_marks_takes_no_time(text: str) -> None:
    redactor = Redactor([SECRET, "ab" * 4000 + "c"])
    begun = time.monotonic()
    redactor.redact_text(text)
    assert time.monotonic() - begun < 5

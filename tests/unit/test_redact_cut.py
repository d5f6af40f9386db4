"""Of a value that was cut before it was looked for, next to nothing is left at the edges of a text."""

from __future__ import annotations

import base64
import json
import re
import shlex
import sys
from collections.abc import Callable
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner.redact.exact import MOST_CUTS, Spellings, find_edges
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
    "hex with colons": lambda text: text.encode().hex(":"),
    "\\x hex": lambda text: "".join(f"\\x{byte:02x}" for byte in text.encode()),
    "shell": lambda text: shlex.quote(text)[1:-1] if "'" in text else text,
}
ESCAPED: dict[str, Callable[[str], str]] = {
    "percent": lambda text: quote(text, safe=""),
    "percent but slashes": lambda text: quote(text),
    "percent in small letters": lambda text: re.sub("%..", lambda one: one[0].lower(), quote(text, safe="")),
    "percent for all": lambda text: "".join(f"%{byte:02x}" for byte in text.encode()),
    "percent for all in capitals": lambda text: "".join(f"%{byte:02X}" for byte in text.encode()),
    "encodeURI": lambda text: quote(text, safe=";/?:@&=+$,#-_.!~*'()"),
    "encodeURIComponent": lambda text: quote(text, safe="-_.!~*'()"),
    "form": lambda text: quote_plus(text, safe="*"),
    "form in Java": lambda text: quote_plus(text, safe="*").replace("~", "%7E"),
    "JSON in PHP": lambda text: json.dumps(text)[1:-1].replace("/", "\\/"),
    "JSON in capitals": lambda text: re.sub(r"(?<=\\u)....", lambda d: d[0].upper(), json.dumps(text)[1:-1]),
    "JSON in HTML": lambda text: re.sub("[&'=+]", lambda c: f"\\u{ord(c[0]):04x}", json.dumps(text)[1:-1]),
}
LEFT = ("", " ", "+", "%20", "%2B", "%2b", '"', "\\n")
"""What may be left beside a cut: white space, and a quote that may be one of the JSON around."""

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
    assert left.replace(f"\\x{MARK}", MARK).removeprefix(mark).lstrip()[:8] not in known
    assert (redactor.redact_text(cut), redactor.redact_text(left)) == (cut, left)


@pytest.mark.parametrize("mark", ["", "...", "\ufffd"])
@pytest.mark.parametrize("name", ESCAPED)
@pytest.mark.parametrize("value", ["p@ss!W0rd(x)/Zk 9~qw=r'T", 'Ä/é😀+&%41 "\\n"<xß-1🂡2345678'])
def test_no_eight_characters_of_a_value_are_left_whoever_escaped_it(value: str, name: str, mark: str) -> None:
    """However many characters an escape takes, and where it is cut in two itself."""
    redactor, spell = Redactor([value]), ESCAPED[name]
    said, eight = spell(value), value[-8:]
    for cut in range(len(spell(value[:8])), len(said)):
        left = redactor.redact_text(f"x {said[:cut]}{mark}").removesuffix(mark)
        assert left.removeprefix(f"x {MARK}") in LEFT, said[:cut]
    for cut in range(1, len(said) - len(spell(eight))):
        left = redactor.redact_text(f"{mark}{said[cut:]} ZZ").removeprefix(mark)
        assert left.removesuffix(f"{MARK} ZZ") in LEFT, said[cut:]


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
        (f"{SECRET[4:18]}\n{SECRET[18:]} rest", f"{MARK} rest"),
        (f"x {SECRET[:10]}\x1b[31m{SECRET[10:30]}...", f"x {MARK}..."),
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


def test_base64_with_line_ends_is_hidden_where_it_was_cut() -> None:
    told, redact = base64.encodebytes((SECRET * 4).encode()).decode(), Redactor([SECRET * 4]).redact_text
    assert redact(f"{told[:-20]}...") == f"{MARK}..." and redact(f"{told[20:]}rest")[:10] == MARK


def test_base64_that_was_cut_within_the_escape_of_a_line_end_is_hidden() -> None:
    told = json.dumps(base64.encodebytes((SECRET * 4).encode()).decode())[1:-1]
    at, redact = told.index("\\n"), Redactor([SECRET * 4]).redact_text
    for begin in range(at - 1, at + 3):
        assert not runs(redact(f"...{told[begin:]} end")) & runs(told)


@pytest.mark.parametrize("size", [500, 7000, 1 << 20])
def test_of_a_long_text_too_the_parts_of_values_beside_its_cuts_are_hidden(size: int) -> None:
    data = f"{'y ' * 40_000}{SECRET[:30]}... and ...{SECRET[3:]} end ... x".encode()
    stream = Redactor([SECRET]).stream()
    clean = b"".join(stream.feed(data[at : at + size]) for at in range(0, len(data), size))
    assert (clean + stream.finish()).endswith(f"y {MARK}... and ...{MARK} end ... x".encode())


def test_of_a_text_with_more_cuts_than_are_looked_at_the_rest_is_read_no_slower() -> None:
    part = f"{SECRET[:20]}... " * (MOST_CUTS + 50)
    clean = Redactor([SECRET]).redact_bytes(part.encode())
    assert clean.count(MARK.encode()) >= MOST_CUTS and len(clean) > len(MARK) * MOST_CUTS


def test_a_word_of_ours_that_a_value_begins_with_stays_what_it_is() -> None:
    assert Redactor(["succeeded-By-1234"]).redact_text("succeeded") == "succeeded"


def test_what_a_shell_makes_of_a_value_is_found() -> None:
    value = "it's-a'Long-Value"
    told = Redactor([value]).redact_text(shlex.join(["sh", "-c", f"echo {value}; exit 1"]))
    assert "Long" not in told and told.startswith("sh -c 'echo [redacted]") and told.endswith("; exit 1'")


def slowly(values: list[str], part: bytes) -> list[tuple[int, int, bytes]]:
    """What `find_edges` finds in a part, by its definition: every way to cut every spelling is tried."""
    found = []
    spelt = {bytes(way(value), "utf-8") for value in values for way in SPELLINGS.values()}
    sizes = range(len(part), 7, -1)
    head = next((size for size in sizes if any(one.endswith(part[:size]) for one in spelt)), 0)
    tail = next((size for size in sizes if any(one.startswith(part[-size:]) for one in spelt)), 0)
    if len(part) >= 16 and any(part in one for one in spelt):
        head = len(part)
    found += [(0, head, b"[redacted]")] * (head > 0)
    return found + [(len(part) - tail, len(part), b"[redacted]")] * (tail > 0)


@given(
    st.lists(st.text("aB", min_size=9, max_size=40).filter(lambda text: len({*text}) > 1), min_size=1),
    st.lists(st.tuples(st.integers(0, 9), st.integers(0, 40), st.integers(0, 40)), min_size=1, max_size=3),
    st.sampled_from(["", "x ", "aB"]),
)
def test_what_is_found_at_a_cut_is_what_trying_every_cut_of_every_spelling_finds(
    values: list[str], cuts: list[tuple[int, int, int]], before: str
) -> None:
    pieces = [values[one % len(values)][first : first + size] for one, first, size in cuts]
    part = (before + "".join(pieces)).encode()
    assert [*find_edges(Spellings(values), part)] == [*dict.fromkeys(slowly(values, part))]


def steps(redactor: Redactor, text: str) -> int:
    """How many functions are called for it: no clock of a busy machine is asked."""
    taken = [0]

    def count(_frame: object, event: str, _arg: object) -> None:
        taken[0] += event in ("call", "c_call")

    redactor.redact_text("what is made once")
    sys.setprofile(count)
    try:
        redactor.redact_text(text)
    finally:
        sys.setprofile(None)
    return taken[0]


RULER = "-" * 76
RULERS = "\n".join(f"# {RULER}\n# part {n}\nKEY_{n}=f00d{n * 7919:08x}" for n in range(40))


@pytest.mark.parametrize(
    ("value", "chunk"),
    [
        (SECRET, "... " * 200),
        (SECRET, f"{SECRET[:9]}..." * 50),
        (f"ZZ{'A' * 3000}QQ", "AAAAAAAA..." * 50),
        (f"ZZ{'A' * 3000}QQ", f"{'A' * 500}..."),
        (f"{'ab' * 1500}c", f"{'ab' * 250}..."),
        (RULERS, f"{RULER}..." * 8),
    ],
)
def test_what_a_cut_costs_grows_with_the_text_and_not_with_the_value(value: str, chunk: str) -> None:
    redactor, more = Redactor([value]), Redactor([value, value * 4])
    once = steps(redactor, chunk)
    assert steps(redactor, chunk * 8) < 12 * once
    assert steps(more, chunk) < 4 * once < 40 * len(chunk)


class Looked(bytes):
    """A text that is never looked through."""

    def __contains__(self, part: object) -> bool:
        raise AssertionError(f"from one end to the other, for {part!r}")


def test_of_a_value_only_the_places_where_a_part_may_stand_are_compared() -> None:
    value = "".join(f"{n * n * 7919:x}" for n in range(1000, 3000)).encode()
    spelt = Spellings([value.decode()])
    spelt._text = Looked(spelt._text)
    for at in range(500):
        part = value[at : at + 40]
        assert (spelt.begins(part), spelt.begins(b"~" + part), spelt.begins(part + b"~")) == (40, 0, 0)


def test_a_long_value_of_one_word_is_looked_through_once() -> None:
    """Which takes a minute where each letter may be the first of a URL's scheme."""
    assert Redactor(["A" * 100_000 + "B"]).redact_text("nothing") == "nothing"

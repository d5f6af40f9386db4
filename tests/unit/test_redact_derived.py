"""What programs make of a secret value before they print it is found as well.

Every secret here is made up and put together from parts, so that no scanner takes it for real.
"""

from __future__ import annotations

import base64
import binascii
import itertools
import json
import textwrap

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner.redact.redactor import Redactor
from runner.redact.seal import seal

VALUE = "Zx9/Qw+e7rT5" + "yU3iO1pA"
PASSWORD = "pQ7-" + "mN3xK9wB2v"
URL = f"postgres://adm:{PASSWORD}@db.example.org:5432/shop?sslmode=require"
SPLITS = {
    "colour": "\x1b[31m",
    "reset and colour": "\x1b[0m\x1b[1;32m",
    "title": "\x1b]0;t\x07",
    "zero width": "\u200b",
    "soft hyphen": "\u00ad",
    "carriage return": "\r",
    "line end": "\n",
    "line end of Windows": "\r\n",
    "backspace": "x\b"[1:],
    "NUL": "\0",
    "override": "\u202e",
    "mark of order": "\ufeff",
    "colour in eight bits": "\x9b31m",
    "a string for the device": "\x1bPx\x1b\\",
    "selector of a variant": "\ufe0f",
    "tag": "\U000e0041",
    "separator of vowels": "\u180e",
    "note between lines": "\ufff9",
    "selector of a variant of an ideograph": "\U000e0100",
    "joiner of graphemes": "\u034f",
    "selector of Mongolian": "\u180b",
    "filler of Hangul": "\u3164",
    "vowel of Khmer": "\u17b4",
}


def redacted(text: str, *values: str) -> str:
    return Redactor(values).redact_text(text)


@pytest.mark.parametrize("before", ["", "u", "us", "user:", "oauth2:", "x-access-token:", "_:"])
@pytest.mark.parametrize("encode", [base64.b64encode, base64.urlsafe_b64encode], ids=["base64", "base64url"])
@pytest.mark.parametrize("after", ["", "\n", "@host", ":x"])
def test_basic_authentication_hides_no_value(before: str, encode, after: str) -> None:
    text = encode(f"{before}{VALUE}{after}".encode()).decode()
    shown = redacted(f'{{"auth": "{text}"}}', VALUE)
    assert "[redacted]" in shown
    left = shown.removeprefix('{"auth": "').removesuffix('"}').split("[redacted]")
    for part in left:
        for shift in range(4):
            tried = part[shift:]
            decoded = base64.b64decode(tried[: len(tried) // 4 * 4], altchars=b"-_")
            assert not any(VALUE.encode()[at : at + 4] in decoded for at in range(len(VALUE) - 3))


@pytest.mark.parametrize(
    "text",
    [
        VALUE.encode().hex(),
        VALUE.encode().hex().upper(),
        VALUE.encode().hex(":"),
        binascii.hexlify(VALUE.encode(), "%").decode(),
        "".join(f"%{byte:02X}" for byte in VALUE.encode()),
        "".join(f"\\x{byte:02x}" for byte in VALUE.encode()),
        json.dumps("".join(f"\\x{byte:02x}" for byte in VALUE.encode())),
        "\n".join(textwrap.wrap((VALUE * 3).encode().hex(), 60)),
    ],
)
def test_no_value_stands_in_hex(text: str) -> None:
    shown = redacted(f"a {text} b", VALUE)
    assert "[redacted]" in shown
    assert VALUE.encode()[:6].hex() not in "".join(c for c in shown.lower() if c in "0123456789abcdef")


def test_long_base64_is_found_over_its_line_ends() -> None:
    long = "".join(f"{n:x}Zq" for n in range(60))
    text = base64.encodebytes(b"user:" + long.encode()).decode()
    shown = redacted(text, long)
    assert shown.count("\n") < text.count("\n")
    assert all(part not in shown for part in textwrap.wrap(text.replace("\n", "")[8:-8], 20))


@pytest.mark.parametrize(
    ("value", "inside"),
    [
        (URL, PASSWORD),
        (f"https://{PASSWORD}@git.example.org/a.git", PASSWORD),
        ("amqp://u:p%40ss%2Fw0rd9@h", "p@ss/w0rd9"),
        ("amqp://u:p%40ss%2Fw0rd9@h", "p%40ss%2Fw0rd9"),
        (f"host=db user=adm password={PASSWORD} dbname=shop", PASSWORD),
        (f"Server=db;User Id=adm;Password={PASSWORD};Encrypt=yes", PASSWORD),
        (f"https://x.example.org/cb?id=7&access_token={PASSWORD}&z=1", PASSWORD),
        (json.dumps({"user": "adm", "secret": PASSWORD, "n": 1}), PASSWORD),
        (f"-----BEGIN X-----\n{'aB3d' * 12}\n{'Ef5G' * 12}\n-----END X-----\n", "aB3d" * 12),
    ],
)
def test_the_secret_inside_a_value_is_found_alone(value: str, inside: str) -> None:
    assert redacted(f"it is {inside}.", value) == "it is [redacted]."
    encoded = base64.b64encode(f"adm:{inside}".encode()).decode()
    assert "[redacted]" in redacted(f"it is {encoded}.", value)


@pytest.mark.parametrize("word", ["db.example.org", "sslmode=require", "postgres://", "shop"])
def test_the_rest_of_a_value_with_a_secret_in_it_stays(word: str) -> None:
    assert word in redacted(f"connecting to {word} now", URL)


@pytest.mark.parametrize("split", SPLITS.values(), ids=SPLITS)
@pytest.mark.parametrize("at", [1, 5, len(VALUE) - 1])
@pytest.mark.parametrize("depth", [0, 1, 2])
def test_what_splits_a_value_does_not_hide_it(split: str, at: int, depth: int) -> None:
    text = f"it is {VALUE[:at]}{split}{VALUE[at:]} now"
    for _ in range(depth):
        text = json.dumps({"text": text})
    shown = redacted(text, VALUE)
    assert "[redacted]" in shown and "it is " in shown and " now" in shown
    assert VALUE[:at] not in shown or at == 1
    assert VALUE[at:] not in shown or at == len(VALUE) - 1
    for _ in range(depth):
        shown = json.loads(shown)["text"]


@given(
    st.lists(st.sampled_from([*SPLITS.values()]), min_size=1, max_size=6),
    st.lists(st.integers(1, len(VALUE) - 1), min_size=1, max_size=4),
    st.lists(st.floats(0, 1), max_size=3),
)
def test_pieces_of_a_file_give_what_the_whole_gives(
    splits: list[str], ats: list[int], cuts: list[float]
) -> None:
    value = VALUE
    for n, at in enumerate(sorted(ats, reverse=True)):
        value = value[:at] + splits[n % len(splits)] + value[at:]
    data = (f"line\n{value}\nend " * 3).encode()
    redactor = Redactor([VALUE])
    places = [0, *sorted(int(cut * len(data)) for cut in cuts), len(data)]
    stream = redactor.stream()
    pieces = b"".join(stream.feed(data[a:b]) for a, b in itertools.pairwise(places)) + stream.finish()
    assert pieces == redactor.redact_bytes(data)
    assert b"[redacted]" in pieces and VALUE[-6:].encode() not in pieces


def test_digits_in_a_column_are_no_number_that_was_split() -> None:
    assert redacted("1234\n5678\n", "12345678") == "1234\n5678\n"


def test_a_sealed_file_has_no_split_value_and_keeps_its_lines(tmp_path) -> None:
    path = tmp_path / "stdout.jsonl"
    lines = [{"n": n, "text": f"a \x1b[1m{VALUE[:7]}\x1b[0m{VALUE[7:]} b"} for n in range(50)]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert seal(path, Redactor([VALUE]), chunk_size=64) == 50
    kept = [json.loads(line) for line in path.read_text().splitlines()]
    assert [line["n"] for line in kept] == [*range(50)]
    assert all("[redacted]" in line["text"] and VALUE[7:] not in line["text"] for line in kept)

"""Where each key stands, in every way TOML can write a key."""

from __future__ import annotations

import tomllib

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from runner.config.layers import leaves
from runner.text.positions import positions, split_key


@pytest.mark.parametrize(
    ("text", "path", "place"),
    [
        ("a = 1", ("a",), (1, 1)),
        ("\n\n  a = 1", ("a",), (3, 3)),
        ("a.b . c = 1", ("a", "b", "c"), (1, 7)),
        ("[a.b]\nc = 1", ("a", "b"), (1, 4)),
        ("[a.b]\nc = 1", ("a", "b", "c"), (2, 1)),
        ('["x.y"]\n"é \\u00e9" = 1', ("x.y", "é é"), (2, 1)),
        ("['x.y']\n'\\u' = 1", ("x.y", "\\u"), (2, 1)),
        ("a = { b = 1, c.d = 2 }", ("a", "c", "d"), (1, 16)),
        ("a = [\n  1, # one, ]\n  [2, 'x,]'],\n]\nb = 1", ("a", 1, 1), (3, 7)),
        ("a = [\n  1, # one, ]\n  [2, 'x,]'],\n]\nb = 1", ("b",), (5, 1)),
        ("[[a]]\nb = 1\n[[a]]\nb = 2", ("a", 1, "b"), (4, 1)),
        ("[[a]]\n[a.c]\nb = 1", ("a", 0, "c", "b"), (3, 1)),
        ('a = """\nb = 1\n""""\nc = 1', ("c",), (4, 1)),
        ("a = '''\nb = 1\n'''\nc = 1", ("c",), (4, 1)),
        ('a = "\\"b = 1"\r\nc = 1\r\n', ("c",), (2, 1)),
        ("a = 1979-05-27 07:32:00Z\nb = 1", ("b",), (2, 1)),
        ("a = [1979-05-27 07:32:00, 1]\nb = 1", ("b",), (2, 1)),
        ("a = -inf # x\nb = 1_000.5e-3\nc = 0x1F", ("c",), (3, 1)),
        ("a = {}\nb = []\nc = 1", ("c",), (3, 1)),
    ],
)
def test_the_line_and_column_of_a_key(text, path, place):
    assert positions(text).at[path] == place


def test_a_key_that_is_set_twice_is_known_by_its_second_place():
    index = positions("[a]\nb = 1\n[c]\nb = 1\n[d]\nx = {y = 1, y = 2}\n[a]\n")

    assert index.repeated == (("d", "x", "y"), ("a",))
    assert index.repeated_at == ((6, 13), (7, 2))


@given(st.text(max_size=200))
@example(f"a = {'[' * 5000}")
@example(f"a = {'{b = ' * 5000}")
@example('"\\U00110000" = 1')
@example('a = 1\n"\\UFFFFFFFF" = 1')
@example("a = 1\n'b")
def test_no_text_makes_the_walk_fail(text):
    """Where it does not understand the text it stops, and what it has found so far stands in the text."""
    index = positions(text)
    lines = text.split("\n")
    for line, column in (*index.at.values(), *index.repeated_at):
        assert 1 <= line <= len(lines) and 1 <= column <= len(lines[line - 1])


KEYS = st.text(alphabet="ab.-_é \"'\\\n\t#=[]", max_size=5)
VALUES = st.recursive(
    st.integers() | st.booleans() | st.text(alphabet="ab\"'\\\n#,]}", max_size=6),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(KEYS, VALUES, max_size=4))
def test_every_key_of_a_document_has_a_position(data):
    import tomlkit

    text = tomlkit.dumps(data)
    index = positions(text)

    for path in leaves(tomllib.loads(text)):
        assert path in index.at, (text, path)


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("a.b-c.d_1", ("a", "b-c", "d_1")),
        ('tasks."a.b".model', ("tasks", "a.b", "model")),
        ("tasks.'a.b'", ("tasks", "a.b")),
        ("", None),
        ("a..b", None),
        ("a b", None),
        ("a.", None),
        ('a."b', None),
    ],
)
def test_a_dotted_key_is_split_as_toml_does(text, parts):
    assert split_key(text) == parts

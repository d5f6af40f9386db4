"""Frozen values: what a dataclass would do, and JSON."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner.model import Identity, Level, Limits, Reason, Sandbox, Usage
from runner.value import FileMode, FilePath, InnerPath, Misfit, ObjectId, Value, json_bytes


class Pair(Value):
    left: int
    right: object = None


class Longer(Pair):
    more: tuple[object, ...] = ()


def test_fields_are_taken_by_place_by_name_and_from_defaults() -> None:
    assert Pair(1, 2) == Pair(left=1, right=2) == Pair(1, right=2)
    assert Pair(1).right is None


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: Pair(), "missing 'left'"),
        (lambda: Pair(1, 2, 3), "too many or repeated"),
        (lambda: Pair(1, left=1), "too many or repeated"),
        (lambda: Pair(1, wrong=3), "unexpected wrong"),
        (lambda: Pair(1).replace(wrong=3), "unexpected wrong"),
    ],
)
def test_wrong_arguments_are_a_type_error_that_names_them(make: object, words: str) -> None:
    with pytest.raises(TypeError, match=words):
        make()  # type: ignore[operator]


def test_a_subclass_has_the_fields_of_its_base_first() -> None:
    assert Longer(1, 2, (3,)).to_json() == {"left": 1, "right": 2, "more": [3]}


def test_a_value_cannot_be_changed() -> None:
    value = Pair(1)
    with pytest.raises(AttributeError, match="frozen"):
        value.left = 2
    with pytest.raises(AttributeError, match="frozen"):
        del value.left
    assert value == Pair(1)


def test_replace_makes_a_changed_copy() -> None:
    value = Pair(1, 2)
    assert value.replace(right=3) == Pair(1, 3)
    assert value == Pair(1, 2)


def test_equal_values_have_equal_hashes_and_another_type_is_never_equal() -> None:
    assert {Pair(1, 2), Pair(1, 2)} == {Pair(1, 2)}
    assert Pair(1, 2) != Longer(1, 2)
    assert Pair(1) != (1, None)


def test_repr_shows_every_field() -> None:
    assert repr(Pair(1, "x")) == "Pair(left=1, right='x')"


def test_nested_values_become_plain_json() -> None:
    value = Longer(1, Pair(2), ({"a": Pair(3)}, frozenset("ba"), Level.DANGER))
    assert json.loads(json.dumps(value.to_json())) == {
        "left": 1,
        "right": {"left": 2, "right": None},
        "more": [{"a": {"left": 3, "right": None}}, ["a", "b"], "danger-full-access"],
    }


@given(st.builds(Identity, st.text(), st.text(), st.integers(0, 2**63 - 1), st.integers(0, 2**63 - 1)))
def test_an_identity_comes_back_from_its_json(identity: Identity) -> None:
    assert Identity.from_json(identity.to_json()) == identity


@given(st.builds(Usage, *[st.none() | st.integers(0)] * 4) | st.builds(Limits, *[st.floats(0, 1e9)] * 4))
def test_flat_values_come_back_from_their_json(value: Value) -> None:
    assert type(value)(**value.to_json()) == value


def test_a_sandbox_is_closed_by_default() -> None:
    assert Sandbox("x", Level.READ_ONLY) == Sandbox("x", Level.READ_ONLY, False, (), False)
    assert Reason("a", "b").hint is None


@given(st.recursive(st.text() | st.integers() | st.none(), st.lists, max_leaves=5))
def test_json_bytes_come_back_as_they_were_half_characters_included(value: object) -> None:
    data = json_bytes({"value": value})
    data.decode("utf-8")
    assert json.loads(data) == {"value": value}


def test_json_bytes_are_readable_where_they_can_be() -> None:
    assert json_bytes("Grüße") == '"Grüße"'.encode()
    assert json_bytes("\udce9") == rb'"\udce9"'


class Typed(Value):
    pair: tuple[int, str] = (1, "x")
    modes: dict[InnerPath, FileMode] = {}
    path: FilePath = "/"
    oid: ObjectId = "0" * 40


@pytest.mark.parametrize(
    "data",
    [
        {"pair": [2, "y"], "modes": {"a/..b/c": 0o100644, "d": 0, "\udcff": 0o177777}},
        {"path": "/a/../\udcff\n", "oid": "0123456789abcdef" * 4},
        {"path": "a"},
    ],
)
def test_paths_modes_and_names_of_git_are_read(data: dict[str, object]) -> None:
    read = Typed.from_json(data)
    assert {name: read.to_json()[name] for name in data} == data


@pytest.mark.parametrize(
    "data",
    [
        *({"pair": wrong} for wrong in ([1], [1, "x", "x"], ["x", 1], "1x", {"1": "x"})),
        *({"modes": {path: 1}} for path in ("", "/a", "..", "a/../b", "a\0", "\ud800")),
        *({"modes": {"a": wrong}} for wrong in (-1, 1 << 16, True, 1.0, None)),
        *({"path": wrong} for wrong in ("", "a\0", "\ud800", 7, None, [])),
        *({"oid": wrong} for wrong in ("", "0" * 39, "g" * 40, "0" * 41, "A" * 40, " " * 40, 7, ["0"] * 40)),
    ],
)
def test_what_is_no_path_no_mode_and_no_name_of_git_is_refused(data: dict[str, object]) -> None:
    with pytest.raises(Misfit, match=f"`{next(iter(data))}"):
        Typed.from_json(data)

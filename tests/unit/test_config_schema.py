"""The JSON Schema and the reading of values agree: the schema never refuses what we accept."""

from __future__ import annotations

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner.config.commands import schema
from runner.config.schema import problems_of

DELEGATE = jsonschema.Draft202012Validator(schema("delegate"))
POLICY = jsonschema.Draft202012Validator(schema("policy"))
DURATIONS = st.text("0123456789.wdhms ", max_size=8) | st.floats() | st.integers() | st.booleans()
VERSIONS = st.text("0123456789.,<>=! ", max_size=12)
NAMES = st.text("abZ09._- é/", max_size=8) | st.text("a", min_size=60, max_size=70)


def ours(data: dict, **options: bool) -> bool:
    return problems_of(data, strict=True, **options) == []


@pytest.mark.parametrize(
    "data",
    [
        {},
        {"schema_version": 1},
        {"defaults": {"timeout": "none", "grace": 0.5, "rehearse": "a.toml", "verify": "a b"}},
        {"tasks": {"a.b-c_1": {}}},
        {"tasks": {"a": {"verify": [["a", "-q"], "b -q"], "prompt_file": "x"}}},
        {"runtimes": {"kay": {"provider": "ocg"}, "codex": {"config": {"a": {"b": [1, "x"]}}}}},
        {"sandboxes": {"a": {"network": True}, "b": {"level": "workspace-write"}}},
        {"delegation": {"tools": [], "max_depth": 0}},
    ],
)
def test_both_accept(data):
    assert ours(data)
    assert DELEGATE.is_valid(data)


@pytest.mark.parametrize(
    "data",
    [
        {"schema_version": True},
        {"schema_version": "1"},
        {"defaults": {"prompt": "x"}},
        {"defaults": {"timeout": "0h"}},
        {"defaults": {"runtime": ""}},
        {"defaults": {"delegation": 1}},
        {"delegation": {"max_depth": "1"}},
        {"tasks": {"a": None}},
    ],
)
def test_both_refuse(data):
    assert not ours(data)
    assert not DELEGATE.is_valid(data)


@pytest.mark.parametrize("data", [{"max_level": "all"}, {"network": "no"}, {"model": ["x"]}])
def test_both_refuse_a_policy(data):
    assert not ours(data, policy=True)
    assert not POLICY.is_valid(data)


@given(DURATIONS)
def test_the_schema_accepts_every_duration_that_we_accept(value):
    data = {"defaults": {"timeout": value}}

    assert DELEGATE.is_valid(data) or not ours(data)


@given(VERSIONS)
def test_the_schema_and_we_agree_on_versions(value):
    data = {"runtimes": {"codex": {"version": value}}}

    assert DELEGATE.is_valid(data) is ours(data)


@given(NAMES)
def test_the_schema_and_we_agree_on_names(name):
    data = {"tasks": {name: {}}}

    assert DELEGATE.is_valid(data) is ours(data)

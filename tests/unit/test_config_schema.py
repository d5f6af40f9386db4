"""The JSON Schema and the reading of values agree: the schema never refuses what we accept."""

from __future__ import annotations

import jsonschema
import pytest
from hypothesis import example, given
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
        {"sandboxes": {"a": {"network": ["a.org", "*.B-c.org", "127.0.0.1", "x"], "deny_read": ["~/.ssh"]}}},
        {"sandboxes": {"a": {"level": "read-only", "network": False, "deny_read": [".env"]}}},
        {"delegation": {"tools": [], "max_depth": 0}},
        {"defaults": {"scope": ["src/**", "[a-z]*", "./x"], "output_contract": False, "retries": 10}},
        {"defaults": {"limits": {"tokens": 1, "tree_tokens": "none", "warn_at": 0, "repeats": 0}}},
        {"tasks": {"a": {"timeout": "1h", "limits": {"idle_timeout": "none", "reconnects": "none"}}}},
        {"tasks": {"a": {"output_contract": "closing-turn", "constraints": [], "map": "x"}}},
        {"recovery": {"ladder": ["fresh"], "backoff": 5, "api_retries": 0}},
        {"delegate": {"soft_cap": 1, "hard_cap": 1000, "hub_files": ["a/*"], "effort_floor": "minimal"}},
        {"delegate": {"commit": True, "commit_message": "{{{n}}}: {title}\n\n{units} {task} {run_id}"}},
        {"delegate": {"commit": "delegated/plan-1", "max_parallel": 16, "files": "off"}},
        {"economics": {"fixed": 0, "batch": 10**9}},
        {"executors": {"a": {"kind": "slurm", "memory": "1024T", "time": "task", "max_pending": "none"}}},
        {"executors": {"a": {"time": 90, "cpus": 4096, "constraint": "a&b|c*2"}}},
        {"executors": {"a": {"options": {"exclusive": True, "nice": 0, "oversubscribe": "", "tmp": "1G"}}}},
        {"defaults": {"executor": "a"}, "tasks": {"a": {"executor": "local"}}},
        {"host": {"task": "fix-auth", "level": "guide", "may_edit": []}},
        *(
            {"pipelines": {"p": {"stages": [{"name": "a", "tasks": ["b"], "gate": gate}]}}}
            for gate in (
                "succeeded",
                "approve",
                [["a"], "b c"],
                {"commands": ["a"]},
                {"no_findings": "minor"},
            )
        ),
        {"pipelines": {"p": {"input": ["a_1"], "stages": [{"name": "a", "person": True, "needs": []}]}}},
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
        *(
            {"sandboxes": {"a": {"network": value}}}
            for value in ([], ["*"], ["a:80"], [1], ["http://a"], "a")
        ),
        *({"sandboxes": {"a": {"network": [name]}}} for name in ("a/b", "*.", "a..b", "-a", "*a", "**.a")),
        {"sandboxes": {"a": {"deny_read": [""]}}},
        {"defaults": {"prompt": "x"}},
        {"defaults": {"timeout": "0h"}},
        {"defaults": {"runtime": ""}},
        {"defaults": {"delegation": 1}},
        {"delegation": {"max_depth": "1"}},
        {"tasks": {"a": None}},
        {"defaults": {"scope": "src"}},
        {"defaults": {"scope": ["a/../b"]}},
        {"defaults": {"output_contract": True}},
        {"defaults": {"output_contract": "json"}},
        {"defaults": {"retries": 11}},
        {"defaults": {"limits": {"tokens": 0}}},
        {"defaults": {"limits": {"repeats": 1}}},
        {"defaults": {"limits": {"warn_at": 1.1}}},
        {"defaults": {"limits": {"grace": "5s"}}},
        {"recovery": {"ladder": []}},
        {"delegate": {"soft_cap": 0}},
        {"delegate": {"hard_cap": 1001}},
        {"delegate": {"effort_floor": "default"}},
        {"delegate": {"max_parallel": 17}},
        {"delegate": {"max_failures": 0}},
        {"delegate": {"files": False}},
        {"delegate": {"hub_files": ["../a"]}},
        {"delegate": {"commit": 1}},
        {"delegate": {"commit_message": " \n"}},
        {"economics": {"unit": -1}},
        {"economics": {"batch": 10**9 + 1}},
        {"economics": {"fixed": 1.5}},
        {"host": {"level": "off"}},
        {"host": {"task": "a/b"}},
        {"host": {"may_edit": ["/etc/**"]}},
        {"pipelines": {"p": {"stages": {"name": "a", "tasks": ["b"]}}}},
        {"pipelines": {"p": {"stages": []}}},
        {"pipelines": {"a/b": {}}},
        *(
            {"pipelines": {"p": {"stages": [{"name": "a", "tasks": ["b"]} | wrong]}}}
            for wrong in (
                *({"gate": gate} for gate in ("", "aprove", [], {}, [[]], True, {"approve": 1}, {"no": 1})),
                *({"name": "é"}, {"tasks": []}, {"tasks": "b"}, {"needs": "b"}, {"need": ["b"]}),
                *({"repair": {}}, {"repair": {"task": "a", "max_rounds": 0}}, {"compare": {"a": "x"}}),
            )
        ),
    ],
)
def test_both_refuse(data):
    assert not ours(data)
    assert not DELEGATE.is_valid(data)


@pytest.mark.parametrize(
    "data",
    [{"max_level": "all"}, {"network": "no"}, {"model": ["x"]}, {"max_tokens": 0}, {"max_tokens": 10**15}],
)
def test_both_refuse_a_policy(data):
    assert not ours(data, policy=True)
    assert not POLICY.is_valid(data)


@given(DURATIONS)
def test_the_schema_accepts_every_duration_that_we_accept(value):
    data = {"defaults": {"timeout": value}}

    assert DELEGATE.is_valid(data) or not ours(data)


@given(st.integers() | st.booleans() | st.floats() | st.text("0123456789none-", max_size=20))
def test_the_schema_accepts_every_count_that_we_accept(value):
    for name in ("tokens", "repeats", "reconnects"):
        data = {"defaults": {"limits": {name: value}}}

        assert DELEGATE.is_valid(data) or not ours(data)


@given(st.text("a./~!*[\n\0é ", max_size=8))
def test_the_schema_accepts_every_glob_that_we_accept(glob):
    data = {"defaults": {"scope": [glob]}}

    assert DELEGATE.is_valid(data) or not ours(data)


@given(
    st.text("ab./-@{~ \\\n\té", max_size=8) | st.sampled_from(["HEAD", "HEAD/a", "a.lock", "refs/heads/a"])
)
def test_the_schema_accepts_every_branch_that_we_accept(name):
    data = {"delegate": {"commit": name}}

    assert DELEGATE.is_valid(data) or not ours(data)


@given(st.lists(st.sampled_from(["{", "}", "{n}", "{units}", "{x}", "a", " ", "\n", "é"]), max_size=8))
def test_the_schema_and_we_agree_on_commit_messages_and_each_of_them_can_be_filled_in(parts):
    message = "".join(parts)
    data = {"delegate": {"commit_message": message}}

    assert DELEGATE.is_valid(data) is ours(data)
    if ours(data):
        assert message.format(n=1, units="U1") is not None


@given(VERSIONS)
@example("<0000000000")
@example(">=1.999999999")
def test_the_schema_and_we_agree_on_versions(value):
    data = {"runtimes": {"codex": {"version": value}}}

    assert DELEGATE.is_valid(data) is ours(data)


@given(NAMES)
def test_the_schema_and_we_agree_on_names(name):
    data = {"tasks": {name: {}}}

    assert DELEGATE.is_valid(data) is ours(data)

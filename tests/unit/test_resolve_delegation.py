"""Ceilings of a child, the server of a run and its section in the prompt."""

from __future__ import annotations

import re

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from support.values import a_task, an_invocation

from runner.conduct.consent import Consent, covers
from runner.errors import PolicyRefused
from runner.invocation import Invocation
from runner.model import Delegation, Level, Sandbox
from runner.resolve import delegation
from runner.resolve.delegation import MODES, SERVER, TOOLS, narrowed, refuse_too_deep, refuse_wider, section

MANIFEST = ".runs/hello/cli/20261120T101504438Z-50151d5c/manifest.json"
ABOVE = ".runs/above/cli/20261120T101504000Z-aaaaaaaa/manifest.json"
FOLDERS = ("/cache", "/data")
TASKS = ("hello", "review", "build")
SANDBOXES = st.builds(
    Sandbox,
    st.just("s"),
    st.sampled_from(tuple(Level)),
    st.booleans(),
    st.lists(st.sampled_from(FOLDERS), unique=True).map(tuple),
)
WORDS = st.lists(st.sampled_from([*TOOLS]), unique=True).map(tuple)
DELEGATIONS = st.builds(
    Delegation,
    st.booleans(),
    st.sampled_from(["inline", "registered"]),
    WORDS,
    st.integers(0, 8),
    st.integers(0, 64),
    st.booleans(),
    st.none() | st.lists(st.sampled_from(TASKS), unique=True).map(tuple),
    st.sampled_from(["cancel", "leave"]),
)
INVOCATIONS = st.builds(lambda s, d: an_invocation(sandbox=s, delegation=d), SANDBOXES, DELEGATIONS)
TITLES = st.none() | st.text(st.characters(codec="ascii", categories=["L", "N"]), min_size=1, max_size=9)


def is_within(child: Invocation, parent: Invocation) -> bool:
    """Written from the words of the documentation, not from the code."""
    own, above = child.delegation, parent.delegation
    wide = parent.sandbox.level is Level.DANGER
    return (
        child.sandbox.level.rank <= parent.sandbox.level.rank
        and (parent.sandbox.network or not child.sandbox.network)
        and (wide or set(child.sandbox.writable) <= set(parent.sandbox.writable))
        and (not own.enabled or (above.enabled and set(own.tools) <= set(above.tools)))
        and own.max_depth <= above.max_depth
        and own.max_children <= above.max_children
        and (above.tasks is None or (own.tasks is not None and set(own.tasks) <= set(above.tasks)))
    )


# -- never wider -----------------------------------------------------------------------------------


@given(INVOCATIONS, st.sampled_from(TASKS), SANDBOXES, DELEGATIONS)
def test_a_child_that_is_not_refused_is_never_wider_than_its_parent(
    parent: Invocation, task: str, sandbox: Sandbox, own: Delegation
) -> None:
    try:
        refuse_wider(parent, a_task(id=task), sandbox, own)
    except PolicyRefused as refused:
        assert refused.exit_status == 5
        return
    assert parent.delegation.tasks is None or task in parent.delegation.tasks
    child = an_invocation(sandbox=sandbox, delegation=narrowed(own, parent))
    assert is_within(child, parent)


@given(INVOCATIONS)
def test_a_child_that_is_exactly_as_wide_is_allowed(parent: Invocation) -> None:
    assume(parent.delegation.tasks is None or "hello" in parent.delegation.tasks)
    refuse_wider(parent, a_task(), parent.sandbox, parent.delegation)
    once = narrowed(parent.delegation, parent)
    assert once.max_children == parent.delegation.max_children and once.tasks == parent.delegation.tasks
    assert once.max_depth == max(0, parent.delegation.max_depth - 1)


@given(DELEGATIONS, INVOCATIONS)
def test_narrowing_twice_is_narrowing_once(own: Delegation, parent: Invocation) -> None:
    once = narrowed(own, parent)
    assert narrowed(once, parent) == once


@given(DELEGATIONS)
def test_without_a_parent_only_a_depth_of_none_takes_the_spawning(own: Delegation) -> None:
    alone = narrowed(own, None)
    if own.max_depth > 0:
        assert alone == own
    else:
        talks = {"spawn", "send", "await"}
        assert not talks & set(alone.tools) and set(own.tools) - set(alone.tools) <= talks


@given(DELEGATIONS, INVOCATIONS, INVOCATIONS)
def test_a_grandchild_stays_within_its_grandparent(
    own: Delegation, parent: Invocation, top: Invocation
) -> None:
    middle = parent.replace(delegation=narrowed(parent.delegation, top))
    last = narrowed(own, middle)
    assert last.max_depth <= top.delegation.max_depth
    assert last.max_children <= top.delegation.max_children
    if top.delegation.tasks is not None:
        assert last.tasks is not None and set(last.tasks) <= set(top.delegation.tasks)


@pytest.mark.parametrize(
    ("sandbox", "says"),
    [
        (Sandbox("x", Level.DANGER), "danger-full-access is wider than the parent's workspace-write"),
        (Sandbox("x", Level.WORKSPACE_WRITE, True), "no network"),
        (Sandbox("x", Level.WORKSPACE_WRITE, False, ("/etc",)), "cannot write /etc"),
        (Sandbox("x", Level.READ_ONLY, hosts=("a.org",), network=True), "no network"),
    ],
)
def test_the_refusal_says_what_is_wider(sandbox: Sandbox, says: str) -> None:
    parent = an_invocation(sandbox=Sandbox("build", Level.WORKSPACE_WRITE))
    with pytest.raises(PolicyRefused, match=says) as refused:
        refuse_wider(parent, a_task(), sandbox, parent.delegation)
    assert refused.value.code == "wider_than_parent"


@pytest.mark.parametrize(
    ("hosts", "denied", "says"),
    [
        (("a.org",), ("/s",), None),
        (("x.y.b.org", "*.y.b.org", "*.b.org"), ("/s",), None),
        ((), ("/",), "network of a.org, \\*.b.org alone"),
        (("a.org", "c.org"), ("/s",), "alone"),
        (("b.org",), ("/s",), "alone"),
        (("eb.org",), ("/s",), "alone"),
        (("*.org",), ("/s",), "alone"),
        (("a.org",), (), "cannot read /s"),
        (("a.org",), ("/s/inside", "/st"), "cannot read /s"),
        (("a.org",), ("/",), None),
    ],
)
def test_a_child_reaches_no_host_and_reads_no_file_that_its_parent_does_not(
    hosts: tuple[str, ...], denied: tuple[str, ...], says: str | None
) -> None:
    """So it is with a consent, too."""
    narrow = Sandbox("s", Level.WORKSPACE_WRITE, True, hosts=("a.org", "*.b.org"), deny_read=("/s",))
    sandbox = narrow.replace(hosts=hosts, deny_read=denied or ())
    parent = an_invocation(sandbox=narrow)
    at = "2026-01-01T00:00:00.000Z"
    agreed = Consent(1, "/repo", "codex", narrow.level, True, at, (), narrow.hosts, narrow.deny_read)
    assert covers(agreed, "codex", sandbox) == (says is None)
    if says is None:
        refuse_wider(parent, a_task(), sandbox, parent.delegation)
        return
    with pytest.raises(PolicyRefused, match=says):
        refuse_wider(parent, a_task(), sandbox, parent.delegation)


def test_a_task_that_is_not_listed_may_not_be_started() -> None:
    parent = an_invocation()
    parent = parent.replace(delegation=parent.delegation.replace(tasks=()))
    with pytest.raises(PolicyRefused, match="`hello`") as refused:
        refuse_wider(parent, a_task(), parent.sandbox, parent.delegation)
    assert refused.value.code == "task_not_spawnable"


@given(st.integers(0, 8))
def test_a_chain_of_runs_is_as_long_as_max_depth_and_no_longer(deepest: int) -> None:
    run = an_invocation()
    run = run.replace(delegation=run.delegation.replace(max_depth=deepest))
    for _ in range(deepest):
        refuse_too_deep(run)
        run = run.replace(delegation=narrowed(run.delegation.replace(max_depth=8), run))
    with pytest.raises(PolicyRefused) as refused:
        refuse_too_deep(run)
    assert refused.value.code == "max_depth"


# -- the server ------------------------------------------------------------------------------------


@given(DELEGATIONS)
def test_a_run_has_a_server_exactly_when_delegation_is_on(own: Delegation) -> None:
    server = delegation.server(
        own, ["python", "main.py", "delegate-server"], "/r/m.json", ["HOME"], {"A": "b"}
    )
    assert (server is not None) == own.enabled
    if server is not None:
        assert (server.command, server.args) == (
            "python",
            ("main.py", "delegate-server", "--manifest", "/r/m.json"),
        )
        assert server.registered == (own.server == "registered")
        assert (server.env_names, server.env) == (("HOME",), {"A": "b"})


def test_every_mode_offers_words_of_the_table_and_full_offers_all() -> None:
    assert MODES["full"] == tuple(TOOLS)
    assert all(set(words) <= set(TOOLS) for words in MODES.values())
    assert delegation.tools_of(MODES["status"]) == ("delegate.status",)


@given(WORDS)
def test_the_order_of_words_does_not_change_the_tools(words: tuple[str, ...]) -> None:
    assert delegation.tools_of(words) == delegation.tools_of(reversed(words))


# -- the section -----------------------------------------------------------------------------------


@given(DELEGATIONS, st.none() | st.just(ABOVE), st.dictionaries(st.sampled_from(TASKS), TITLES, max_size=3))
def test_the_section_has_literal_paths_only(
    own: Delegation, parent: str | None, tasks: dict[str, str | None]
) -> None:
    text = section(own, MANIFEST, parent, tasks)
    assert not re.search(r"[$%]|<[a-z]|RUNNER_", text)
    for key, path in re.findall(r"((?:parent_)?manifest_path)=(\S+)", text):
        assert path in (MANIFEST, ABOVE), key
    assert SERVER in text


@given(DELEGATIONS, st.none() | st.just(ABOVE))
def test_the_section_names_every_tool_that_is_on_and_none_that_is_off(
    own: Delegation, parent: str | None
) -> None:
    text = section(own, MANIFEST, parent, {}, ledger="/r/.runs/hello/ledger.jsonl")
    named = set(re.findall(r"`([a-z._]+)`", text)) - {SERVER}
    assert named == set(delegation.tools_of(own.tools))
    assert ("The ledger /r/.runs/hello/ledger.jsonl " in text) == ("ledger" in own.tools)


def test_a_run_with_a_parent_asks_it_and_one_without_asks_its_owner() -> None:
    own = Delegation(True, "inline", ("question",), 1, 4, True)
    assert f"parent_manifest_path={ABOVE} for `delegate.question.enqueue`" in section(
        own, MANIFEST, ABOVE, {}
    )
    alone = section(own, MANIFEST, None, {})
    assert f"parent_manifest_path={MANIFEST} for `delegate.question.enqueue`" in alone
    assert "the owner of this run" in alone


def test_how_tools_are_found_is_said_where_the_program_has_a_way_of_its_own() -> None:
    own = Delegation(True, "inline", ("status",), 1, 4, True)
    plain, told = (section(own, MANIFEST, None, {}, word) for word in ("", "Search for them."))
    assert plain.startswith("The MCP server `delegation` is connected.\n")
    assert told.startswith("The MCP server `delegation` is connected. Search for them.\n")


def test_the_tasks_that_may_be_started_are_listed_with_their_titles() -> None:
    own = Delegation(True, "inline", ("spawn",), 1, 4, True)
    text = section(own, MANIFEST, None, {"b": "Second", "a": None})
    assert "one of: `a`, `b` (Second)" in text
    assert "one of: none" in section(own, MANIFEST, None, {})

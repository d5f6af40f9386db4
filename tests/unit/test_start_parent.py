"""What a run that is started by another may be: resolved with a parent on disk, and nothing is started."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from support.doubles import install_codex
from support.family import ALL_TOOLS, DELEGATION, a_run, end, relative
from support.values import a_config, a_task

from runner.errors import PolicyRefused, RunNotFound
from runner.invocation import Invocation, Rehearsal, Request
from runner.model import Config, Delegation, Level, Policy, RuntimeSettings, Sandbox
from runner.state.authentic import write_record
from runner.state.lineage import ParentOver, children, lineage_of
from runner.state.store import RunDir
from runner.usecases import start

ALLOWED = Sandbox("build", Level.WORKSPACE_WRITE)


@pytest.fixture
def env(own_home: Path) -> dict[str, str]:
    return {"HOME": str(own_home), "PATH": "/usr/bin:/bin"}


def config(repo: Path, *tasks: Any, **delegation: Any) -> Config:
    codex = install_codex(repo / "bin", "exit 1")
    return a_config(
        *(tasks or (a_task(delegation=True),)),
        root=str(repo),
        sandboxes={"build": ALLOWED, "net": ALLOWED.replace(name="net", network=True)},
        runtimes={"codex": RuntimeSettings("codex", str(codex), None, (), {}, None)},
        delegation=Delegation(False, "inline", ALL_TOOLS, 2, 4, True).replace(**delegation),
    )


def above(repo: Path, task: str = "above", parent: RunDir | None = None, **changes: Any) -> RunDir:
    """A run whose invocation has these fields; delegation of every kind unless told otherwise."""
    run = a_run(repo, task, parent)
    invocation = run.read_invocation().replace(sandbox=ALLOWED, **changes)
    write_record(run.invocation, invocation.to_json())
    return run


def child_of(run: RunDir, settings: Config, env: dict[str, str], **asked: Any) -> Invocation:
    return start.resolve(settings, Request("hello", parent=relative(run), **asked), env)


def test_a_child_names_its_parent_and_is_told_whom_to_ask(tmp_path: Path, env: dict[str, str]) -> None:
    parent = above(tmp_path)
    child = child_of(parent, config(tmp_path), env)
    assert child.parent == lineage_of(parent)
    assert f"parent_manifest_path={relative(parent)} for `delegate.question.enqueue`" in child.prompt
    assert f"manifest_path={child.manifest_path} for `delegate.status`" in child.prompt
    assert any(child.manifest_path in word for word in child.argv)


def test_a_run_without_a_parent_is_told_to_ask_its_owner(tmp_path: Path, env: dict[str, str]) -> None:
    alone = start.resolve(config(tmp_path), Request("hello"), env)
    assert alone.parent is None
    assert f"parent_manifest_path={alone.manifest_path} for `delegate.question.enqueue`" in alone.prompt


def test_a_child_without_delegation_has_neither_server_nor_section(
    tmp_path: Path, env: dict[str, str]
) -> None:
    child = child_of(above(tmp_path), config(tmp_path, a_task()), env)
    assert child.parent is not None and not child.delegation.enabled
    assert child.prompt == "Say hello."
    assert not any("delegate-server" in word for word in child.argv)


def test_the_numbers_and_tasks_of_a_child_are_cut_down_to_its_parents(
    tmp_path: Path, env: dict[str, str]
) -> None:
    caps = DELEGATION.replace(max_depth=1, max_children=2, tasks=("hello",))
    settings = config(tmp_path, a_task(delegation=True), a_task(id="other"), max_depth=8, max_children=64)
    own = child_of(above(tmp_path, delegation=caps), settings, env).delegation
    assert (own.max_depth, own.max_children, own.tasks) == (0, 2, ("hello",))
    assert "spawn" not in own.tools, "at the last level nothing is spawned, so nothing is offered"


def test_a_task_that_the_parent_may_start_and_that_is_gone_is_not_offered(
    tmp_path: Path, env: dict[str, str]
) -> None:
    caps = DELEGATION.replace(tasks=("hello", "removed"))
    prompt = child_of(above(tmp_path, delegation=caps), config(tmp_path), env).prompt
    assert "one of: `hello`" in prompt and "removed" not in prompt


def test_no_task_is_offered_where_none_may_be_started(tmp_path: Path, env: dict[str, str]) -> None:
    assert "one of: none" in start.resolve(config(tmp_path, tasks=()), Request("hello"), env).prompt


def test_the_policy_cuts_the_numbers_of_every_run(tmp_path: Path, env: dict[str, str]) -> None:
    settings = config(tmp_path, max_depth=8, max_children=64).replace(
        policy=Policy(max_depth=0, max_children=3)
    )
    own = start.resolve(settings, Request("hello"), env).delegation
    assert (own.max_depth, own.max_children) == (0, 3)


@pytest.mark.parametrize(
    ("asked", "code"),
    [
        ({"sandbox": "net"}, "wider_than_parent"),
        ({"sandbox": "build"}, None),
        ({"sandbox": "read-only"}, None),
    ],
    ids=str,
)
def test_a_sandbox_may_be_narrower_and_never_wider(
    asked: dict[str, Any], code: str | None, tmp_path: Path, env: dict[str, str]
) -> None:
    parent = above(tmp_path)
    if code is None:
        assert child_of(parent, config(tmp_path), env, **asked).parent is not None
    else:
        with pytest.raises(PolicyRefused) as refused:
            child_of(parent, config(tmp_path), env, **asked)
        assert refused.value.code == code


def test_a_run_with_fewer_tools_starts_none_with_more(tmp_path: Path, env: dict[str, str]) -> None:
    parent = above(tmp_path, delegation=DELEGATION.replace(tools=("status", "spawn")))
    with pytest.raises(PolicyRefused, match="of await, cancel, ledger, pause, question, send"):
        child_of(parent, config(tmp_path), env)
    assert child_of(parent, config(tmp_path, tools=("status",)), env).delegation.tools == ("status",)


def test_no_run_is_deeper_than_its_ancestors_allow(tmp_path: Path, env: dict[str, str]) -> None:
    middle = above(tmp_path, "middle", delegation=DELEGATION.replace(max_depth=1))
    child = child_of(middle, config(tmp_path, max_depth=8), env)
    assert child.parent == lineage_of(middle) and child.delegation.max_depth == 0
    last = above(tmp_path, "last", delegation=child.delegation)
    with pytest.raises(PolicyRefused) as refused:
        child_of(last, config(tmp_path, max_depth=8), env)
    assert refused.value.code == "max_depth"


def test_a_child_of_a_rehearsal_is_one(tmp_path: Path, env: dict[str, str]) -> None:
    parent = above(tmp_path, rehearsal=Rehearsal(None, 4711, ("python",)))
    child = child_of(parent, config(tmp_path), env)
    assert child.rehearsal is not None and child.rehearsal.port == 0
    assert child_of(above(tmp_path), config(tmp_path), env).rehearsal is None


@pytest.mark.parametrize("path", ["", "/dev/zero", ".runs/a/cli/b/manifest.json", "@latest", "x" * 1_000_000])
def test_a_parent_that_is_none_is_not_found(path: str, tmp_path: Path, env: dict[str, str]) -> None:
    with pytest.raises(RunNotFound):
        start.resolve(config(tmp_path), Request("hello", parent=path), env)


def test_a_parent_that_is_over_gets_no_child_and_nothing_is_left(tmp_path: Path, env: dict[str, str]) -> None:
    parent = above(tmp_path)
    end(parent)
    with pytest.raises(ParentOver):
        start.start(config(tmp_path), Request("hello", parent=relative(parent)), env)
    assert children(parent) == []
    assert not os.path.exists(tmp_path / ".runs" / "hello")


def test_resolving_a_child_writes_nothing_into_its_parent(tmp_path: Path, env: dict[str, str]) -> None:
    parent = above(tmp_path)
    before = sorted(path.name for path in Path(parent.path).rglob("*"))
    child_of(parent, config(tmp_path), env)
    assert sorted(path.name for path in Path(parent.path).rglob("*")) == before

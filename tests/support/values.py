"""Values of the vocabulary, complete and plausible, for tests that change one thing of them."""

from __future__ import annotations

import socket
from typing import Any

from runner.invocation import Invocation
from runner.model import (
    SCHEMA_VERSION,
    Config,
    Delegation,
    Identity,
    Level,
    Limits,
    Policy,
    Program,
    RuntimeSettings,
    Sandbox,
    Task,
)
from runner.processes.proc import boot_id
from runner.state.manifest import Manifest, first
from runner.state.store import RunDir, manifest_path_of, new_run_id

__all__ = ["a_config", "a_manifest", "a_task", "an_identity", "an_invocation", "program"]

DIGEST = "sha256:" + "0" * 64
_DELEGATION = Delegation(False, "inline", ("status", "cancel"), 1, 4, True)


def an_identity(pid: int = 4_000_000, *, start_time: int = 1, boot: str | None = None) -> Identity:
    """A process of this boot that is not there; of another one with `boot`."""
    return Identity(socket.gethostname(), boot or boot_id(), pid, start_time)


def an_invocation(
    repo: str = "/repo", task: str = "hello", run: str | None = None, **changes: Any
) -> Invocation:
    run_id = run or new_run_id()
    return Invocation(
        schema_version=SCHEMA_VERSION,
        task_id=task,
        run_id=run_id,
        repo=repo,
        manifest_path=manifest_path_of(task, run_id),
        title="Say hello",
        runtime="codex",
        program="/usr/bin/codex",
        version="0.163.0",
        argv=("codex", "exec", "--json", "-"),
        cwd=repo,
        env_names=("HOME", "PATH"),
        secret_names=("OPENAI_API_KEY",),
        env_set={"RUNNER_RUN_ID": run_id},
        prompt="Say hello.",
        model="gpt-5",
        model_name=None,
        reasoning_effort="high",
        sandbox=Sandbox("build", Level.WORKSPACE_WRITE, True, ("/cache",)),
        limits=Limits(7200.0, 900.0, None, 5.0),
        delegation=_DELEGATION,
        verify=(("true",),),
        verify_timeout_s=600.0,
        rehearsal=None,
        parent=None,
        origins={"tasks.hello.prompt": "delegate.toml:3"},
        config_digest=DIGEST,
        prompt_digest=DIGEST,
    ).replace(**changes)


def a_manifest(run: RunDir | None = None, **changes: Any) -> Manifest:
    """Of a run that has a folder and nothing else yet."""
    run = run or RunDir("/repo", "hello", new_run_id())
    return first(an_invocation(run.repo, run.task_id, run.run_id), run.artifacts).replace(**changes)


def a_task(**changes: Any) -> Task:
    return Task(
        id="hello",
        title=None,
        runtime="codex",
        model=None,
        sandbox="read-only",
        prompt="Say hello.",
        prompt_file=None,
        blocks=(),
        files=(),
        verify=(),
        verify_timeout_s=600.0,
        timeout_s=7200.0,
        idle_timeout_s=900.0,
        start_timeout_s=120.0,
        grace_s=5.0,
        rehearse=False,
        rehearsal_script=None,
        delegation=False,
    ).replace(**changes)


def a_config(*tasks: Task, **changes: Any) -> Config:
    tables = tasks or (a_task(),)
    return Config(
        root="/repo",
        tasks={task.id: task for task in tables},
        models={},
        sandboxes={},
        runtimes={name: RuntimeSettings(name, name, None, (), {}, None) for name in ("codex", "kay")},
        delegation=_DELEGATION,
        blocks={},
        policy=Policy(),
        origins={},
        digest=DIGEST,
    ).replace(**changes)


def program(name: str = "codex") -> Program:
    """An installed program that understands everything that the adapters may pass."""
    flags = "--json -m --model -s --sandbox -C --cd --add-dir -c --config --skip-git-repo-check -o"
    more = "--output-last-message --output-schema --reasoning-effort --provider --effort"
    version = "0.163.0" if name == "codex" else "0.9.46"
    return Program(f"/usr/bin/{name}", version, frozenset([*flags.split(), *more.split()]))

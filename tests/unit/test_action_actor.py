"""Who may use the action: people by their permission or name, bots by name, and never the work of a fork."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import actor
import pytest
from support.action_service import collaborators

FORK = {"pull_request": {"head": {"repo": {"full_name": "stranger/project"}}}}
GONE = {"pull_request": {"head": {"repo": None}}}
OWN = {"pull_request": {"head": {"repo": {"full_name": "Owner/Project"}}}}
RAN = {"workflow_run": {"head_repository": {"full_name": "stranger/project"}}}
PERMISSIONS = {"ann": "write", "bob": "read", "cat": "admin", "max": "maintain", "eve": 302, "fay": 403}
Asked = list[tuple[str, str | None]]


@pytest.fixture(scope="module")
def api() -> Iterator[tuple[str, Asked]]:
    with collaborators(PERMISSIONS) as it:
        yield it


def env_of(api: tuple[str, Asked], **more: str) -> dict[str, str]:
    return {
        "GITHUB_ACTOR": "ann",
        "GITHUB_API_URL": api[0],
        "GITHUB_EVENT_NAME": "push",
        "GITHUB_REPOSITORY": "owner/project",
        "GITHUB_TOKEN": "job-token",
        **more,
    }


def inputs(**more: str) -> dict[str, str]:
    given = {"permissions-check": "write", "allow-users": "", "allow-bots": "", "rehearse": ""}
    return given | {name.replace("_", "-"): value for name, value in more.items()}


@pytest.mark.parametrize(
    ("name", "given", "said"),
    [
        ("ann", {}, "ann has the permission `write`"),
        ("cat", {}, "cat has the permission `admin`"),
        ("max", {}, "max has the permission `maintain`"),
        ("bob", {"allow_users": "zoe, Bob"}, "bob is in allow-users"),
        ("helper[bot]", {"allow_bots": "helper"}, "helper[bot] is in allow-bots"),
        ("Helper[bot]", {"allow_bots": "other[bot]\nhelper[bot]"}, "Helper[bot] is in allow-bots"),
        ("bob", {"permissions_check": "none"}, "not checked"),
    ],
)
def test_who_may_write_or_is_named_may_use_the_action(
    api: tuple[str, Asked], name: str, given: dict[str, str], said: str
) -> None:
    assert said in actor.check(env_of(api, GITHUB_ACTOR=name), inputs(**given))


@pytest.mark.parametrize(
    ("name", "given", "said"),
    [
        ("bob", {}, "the permission `read`"),
        ("zoe", {}, "the permission `none`"),
        ("", {}, "nobody is named"),
        ("bob", {"allow_users": "bobby * b"}, "the permission `read`"),
        ("helper[bot]", {}, "a bot that `allow-bots` does not name"),
        ("helper[bot]", {"allow_users": "helper[bot] helper"}, "a bot that `allow-bots` does not name"),
        ("helper", {"allow_bots": "helper"}, "the permission `none`"),
        ("eve", {}, "status 302"),
        ("fay", {}, "status 403"),
        ("../../ann", {}, "the permission `none`"),
        ("ann/permission?x=", {}, "the permission `none`"),
    ],
)
def test_everybody_else_is_refused(
    api: tuple[str, Asked], name: str, given: dict[str, str], said: str
) -> None:
    with pytest.raises(actor.Refused, match=said) as refused:
        actor.check(env_of(api, GITHUB_ACTOR=name), inputs(**given))
    assert refused.value.code == "actor_refused"
    assert all(path.startswith("/repos/owner/project/collaborators/") for path, _ in api[1])


def test_who_runs_a_job_again_has_to_be_allowed_as_well(api: tuple[str, Asked]) -> None:
    with pytest.raises(actor.Refused, match="bob"):
        actor.check(env_of(api, GITHUB_TRIGGERING_ACTOR="bob"), inputs())


def test_an_api_that_does_not_answer_is_no_permission(api: tuple[str, Asked]) -> None:
    with pytest.raises(actor.Refused, match="is not known"):
        actor.check(env_of(("http://127.0.0.1:9", [])), inputs())


def event(folder: Path, told: object) -> dict[str, str]:
    (folder / "event.json").write_text(told if isinstance(told, str) else json.dumps(told))
    return {"GITHUB_EVENT_PATH": str(folder / "event.json")}


@pytest.mark.parametrize(
    ("name", "told", "given"),
    [
        ("pull_request", FORK, {}),
        ("pull_request", GONE, {}),
        ("pull_request", {"pull_request": {}}, {}),
        ("pull_request", FORK, {"rehearse": "true"}),
        ("pull_request", FORK, {"permissions_check": "none"}),
        ("pull_request", FORK, {"allow_users": "ann"}),
        ("pull_request_target", FORK, {"permissions_check": "none", "rehearse": "true"}),
        ("workflow_run", RAN, {"permissions_check": "none", "rehearse": "true"}),
    ],
)
def test_the_work_of_a_fork_is_refused(
    api: tuple[str, Asked], tmp_path: Path, name: str, told: dict[str, Any], given: dict[str, str]
) -> None:
    with pytest.raises(actor.Refused) as refused:
        actor.check(env_of(api, GITHUB_EVENT_NAME=name, **event(tmp_path, told)), inputs(**given))
    assert refused.value.code == "fork"


def test_a_fork_may_rehearse_without_secrets_and_a_branch_of_the_repository_is_none(
    api: tuple[str, Asked], tmp_path: Path
) -> None:
    env = env_of(api, GITHUB_EVENT_NAME="pull_request", **event(tmp_path, FORK))
    said = actor.check(env, inputs(rehearse="true", permissions_check="none"))
    assert said == "a rehearsal for the fork stranger/project: without secrets"
    assert "ann" in actor.check(env_of(api, **event(tmp_path, OWN)), inputs())


def test_an_event_that_cannot_be_read_is_refused(api: tuple[str, Asked], tmp_path: Path) -> None:
    with pytest.raises(actor.Refused, match="cannot be read"):
        actor.check(env_of(api, **event(tmp_path, "{")), inputs())


@pytest.mark.parametrize("name", ["issue_comment", "issues", "check_run", "pull_request_target", ""])
def test_nobody_is_spared_the_check_where_a_stranger_causes_the_event(
    api: tuple[str, Asked], name: str
) -> None:
    with pytest.raises(actor.Refused, match="a stranger can cause the event") as refused:
        actor.check(env_of(api, GITHUB_EVENT_NAME=name), inputs(permissions_check="none", rehearse="true"))
    assert refused.value.code == "actor_refused"


def test_a_bot_may_have_a_plain_name_where_the_service_calls_it_a_bot(
    api: tuple[str, Asked], tmp_path: Path
) -> None:
    for kind, login, is_let in (("Bot", "Copilot", True), ("User", "Copilot", False), ("Bot", "x", False)):
        told = event(tmp_path, {"sender": {"login": login, "type": kind}})
        env = env_of(api, GITHUB_ACTOR="Copilot", **told)
        if is_let:
            assert actor.check(env, inputs(allow_bots="copilot")) == "Copilot is in allow-bots"
        else:
            with pytest.raises(actor.Refused):
                actor.check(env, inputs(allow_bots="copilot"))

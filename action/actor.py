"""May who asked for this job start agents with its secrets? Edge: the API of the service.

Whatever is not seen is refused: an agent spends money and has the key that the job hands to it.
"""

from __future__ import annotations

import json
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Mapping
from typing import Any

WRITES = ("admin", "maintain", "write")
_LARGEST = 64 * 1024 * 1024
_TIMEOUT_S = 20.0
_TRIES = 3
_WITH_SECRETS = ("pull_request_target", "workflow_run")
"""Events of strangers in which a job has the secrets and the token of the repository all the same."""


_OF_WRITERS = (
    *("create", "delete", "deployment", "merge_group", "push", "release", "repository_dispatch", "schedule"),
    "workflow_dispatch",
)
"""Events that only who may write can cause; those of others, such as issue_comment, have the secrets too."""


class Refused(Exception):
    """`code` is stable, for programs; the text is for people."""

    def __init__(self, code: str, text: str, status: int = 5) -> None:
        super().__init__(text)
        self.code, self.status = code, status


def check(env: Mapping[str, str], inputs: Mapping[str, str]) -> str:
    """A sentence that says why they may; Refused where they may not."""
    event, name = _event(env), env.get("GITHUB_EVENT_NAME", "")
    is_checked = inputs["permissions-check"] == "write"
    if (fork := _fork(event, env.get("GITHUB_REPOSITORY", ""))) is not None:
        if name in _WITH_SECRETS or is_checked or not inputs["rehearse"]:
            raise Refused(
                "fork",
                f"this is the work of a fork ({fork}). Its jobs have no secrets and may not write, and its "
                "settings are not ours: only a rehearsal runs for it, with `permissions-check: none`, "
                f"`rehearse` and the event pull_request (this one is {name})",
            )
        return f"a rehearsal for the fork {fork}: without secrets"
    if not is_checked and name not in ("pull_request", *_OF_WRITERS):
        raise Refused(
            "actor_refused",
            f"a stranger can cause the event `{name}`, and its jobs have the secrets: "
            "`permissions-check: none` is for pull_request and events that only writers cause",
        )
    if not is_checked:
        return "not checked: permissions-check is `none`"
    actors = dict.fromkeys(filter(None, (env.get("GITHUB_ACTOR"), env.get("GITHUB_TRIGGERING_ACTOR"))))
    if not actors:
        raise Refused("actor_refused", "nobody is named in GITHUB_ACTOR: who asks is not known")
    sender = _dict(event.get("sender"))
    bot = str(sender.get("login")).casefold() if sender.get("type") == "Bot" else None
    return "; ".join(_may(actor, env, inputs, bot) for actor in actors)


def _event(env: Mapping[str, str]) -> dict[str, Any]:
    path = env.get("GITHUB_EVENT_PATH")
    if not path:
        return {}
    try:
        with open(path, "rb") as file:
            event = json.loads(file.read(_LARGEST))
    except (OSError, ValueError) as error:
        raise Refused("actor_refused", f"the event of this job cannot be read: {error}") from error
    return event if isinstance(event, dict) else {}


def _fork(event: Mapping[str, Any], repository: str) -> str | None:
    """The repository that the work comes from, where it is another one; `?` where that is gone."""
    if isinstance(pull := event.get("pull_request"), dict):
        source = _dict(pull.get("head")).get("repo")
    elif isinstance(run := event.get("workflow_run"), dict):
        source = run.get("head_repository")
    else:
        return None
    name = str(_dict(source).get("full_name") or "?")
    return None if name.casefold() == repository.casefold() else name


def _dict(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _may(actor: str, env: Mapping[str, str], inputs: Mapping[str, str], bot: str | None) -> str:
    """`bot` is what the service itself calls one; not each has `[bot]` in its name (`Copilot`)."""
    bare = actor.casefold().removesuffix("[bot]")
    if actor.casefold().endswith("[bot]") or actor.casefold() == bot:
        if bare in (name.removesuffix("[bot]") for name in _names(inputs["allow-bots"])):
            return f"{actor} is in allow-bots"
        raise Refused("actor_refused", f"{actor} is a bot that `allow-bots` does not name")
    if bare in _names(inputs["allow-users"]):
        return f"{actor} is in allow-users"
    found = _permission(actor, env)
    if found not in WRITES:
        raise Refused(
            "actor_refused",
            f"{actor} has the permission `{found}` in {env.get('GITHUB_REPOSITORY')}, and `write` is needed: "
            "name them in `allow-users`, or have somebody with that permission run this job",
        )
    return f"{actor} has the permission `{found}`"


def _names(text: str) -> list[str]:
    return text.casefold().replace(",", " ").split()


class _Stay(urllib.request.HTTPRedirectHandler):
    """The token goes nowhere else."""

    def redirect_request(self, *_: Any) -> None:
        return None


def _permission(actor: str, env: Mapping[str, str]) -> str:
    owner, _, name = (urllib.parse.quote(part, safe="") for part in env["GITHUB_REPOSITORY"].partition("/"))
    url = f"{env['GITHUB_API_URL']}/repos/{owner}/{name}/collaborators/{urllib.parse.quote(actor, safe='')}"
    headers = {"Accept": "application/vnd.github+json", "Authorization": f"Bearer {env['GITHUB_TOKEN']}"}
    request = urllib.request.Request(f"{url}/permission", headers=headers)
    for left in reversed(range(_TRIES)):
        try:
            with urllib.request.build_opener(_Stay).open(request, timeout=_TIMEOUT_S) as answer:
                found = json.loads(answer.read(_LARGEST))
            return str(found["permission"])
        except urllib.error.HTTPError as error:
            if error.code == 404:
                return "none"
            said, again = f"status {error.code}", error.code >= 500
        except (OSError, ValueError, KeyError, TypeError) as error:
            said, again = str(error), isinstance(error, OSError)
        if not (again and left):
            break
        time.sleep(1)
    raise Refused(
        "actor_refused",
        f"what {actor} may do is not known: {env['GITHUB_API_URL']} answered with {said} "
        "(the job's token needs `permissions: contents: read`)",
    )

"""From merged settings to the JSON of a `Config`, every duration in seconds. Pure."""

from __future__ import annotations

import hashlib
import json
import os

from runner.config.find import ConfigFiles
from runner.config.values import LEVELS
from runner.model import Level
from runner.runtimes import get
from runner.text.problems import dotted

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from runner.model import Policy

_SECONDS = (
    *("timeout", "idle_timeout", "start_timeout", "grace", "verify_timeout", "prepare_timeout"),
    *("open_timeout", "backoff", "backoff_max", "permission_timeout", "time", "max_pending"),
)


def compiled(
    merged: dict[str, Any], origins: dict[str, str], policy: Policy, places: ConfigFiles
) -> dict[str, Any]:
    """The JSON of a `Config`, its tasks apart from their defaults; `digest` covers all but the origins."""
    defaults = merged["defaults"]
    own = {"delegation": merged["delegation"]["enabled"]}
    data: dict[str, Any] = {
        "root": places.root,
        "task_defaults": own | _task(defaults) | _runtime_of(defaults, {}, merged),
        "tasks": {
            name: _task(task) | _runtime_of(task, defaults, merged) for name, task in merged["tasks"].items()
        },
        "models": {name: _model(name, item, defaults) for name, item in merged["models"].items()},
        "sandboxes": {
            **{level: _sandbox(level, {"level": level}, places) for level in LEVELS},
            **{name: _sandbox(name, item, places) for name, item in merged["sandboxes"].items()},
        },
        "runtimes": {name: {"name": name} | _in_seconds(item) for name, item in merged["runtimes"].items()},
        "executors": {name: {"name": name} | _in_seconds(item) for name, item in merged["executors"].items()},
        "delegation": merged["delegation"],
        "recovery": _in_seconds(merged["recovery"]),
        "delegate": merged["delegate"],
        "economics": merged["economics"],
        "notify": merged["notify"],
        "host": merged["host"],
        "git": merged["git"],
        "blocks": {name: item["text"] for name, item in merged["blocks"].items()},
        "pipelines": {name: linked(name, item) for name, item in merged["pipelines"].items()},
        "policy": policy.to_json(),
    }
    text = json.dumps(data, sort_keys=True)
    data["digest"] = "sha256:" + hashlib.sha256(text.encode()).hexdigest()
    data["origins"] = origins | _brought_along(merged, origins)
    return data


def _brought_along(merged: dict[str, Any], origins: dict[str, str]) -> dict[str, str]:
    """The origin of each runtime that comes with a named model."""
    return {
        dotted((*path, "runtime")): origins[dotted(("models", task["model"], "runtime"))]
        for path, task in [
            (("defaults",), merged["defaults"]),
            *((("tasks", name), task) for name, task in merged["tasks"].items()),
        ]
        if merged["models"].get(task.get("model"), {}).get("runtime")
    }


def _task(task: dict[str, Any]) -> dict[str, Any]:
    """The fields of `model.Task` that this table sets."""
    fields = _in_seconds(task)
    if "rehearse" in task:
        script = task["rehearse"]
        fields["rehearse"] = bool(script)
        fields["rehearsal_script"] = script if isinstance(script, str) else None
    if "limits" in task:
        fields["limits"] = {key: None if item == "none" else item for key, item in task["limits"].items()}
    if task.get("output_contract") is False:
        fields["output_contract"] = None
    for name, other in (("prompt", "prompt_file"), ("prompt_file", "prompt")):
        if name in task:
            fields[other] = None
    return fields


def _runtime_of(task: dict[str, Any], defaults: dict[str, Any], merged: dict[str, Any]) -> dict[str, Any]:
    """A named model brings its runtime along, unless the task names one (which is the same then:
    `references`).
    """
    model = merged["models"].get(task.get("model"), {})
    runtime = model.get("runtime")
    return {"runtime": runtime} if runtime and (not defaults or "runtime" not in task) else {}


def task_of(name: str, merged: dict[str, Any]) -> dict[str, Any]:
    """The table of a task over that of the defaults."""
    above, task = merged["defaults"], merged["tasks"][name]
    return {**above, **_runtime_of(above, {}, merged), **task, **_runtime_of(task, above, merged)}


def linked(name: str, pipeline: dict[str, Any]) -> dict[str, Any]:
    """What `plan.pipeline.Pipeline` reads: a stage that does not say what it needs gets the one before it."""
    names = [stage["name"] for stage in pipeline["stages"]]
    stages = [{"needs": names[n - 1 : n]} | stage for n, stage in enumerate(pipeline["stages"])]
    return {"name": name, **pipeline, "stages": stages}


def _in_seconds(table: dict[str, Any]) -> dict[str, Any]:
    """With each time under the name that says so, and None for no limit, or for what a task may take."""
    times = {
        name: None if table[name] in ("none", "task") else table[name] for name in _SECONDS if name in table
    }
    rest = {name: value for name, value in table.items() if name not in times}
    return rest | {f"{name}_s": value for name, value in times.items()}


def _model(name: str, item: dict[str, Any], defaults: dict[str, Any]) -> dict[str, Any]:
    aliases = get(item.get("runtime") or defaults["runtime"]).provider_aliases
    provider = str(item.get("provider"))
    return {"name": name} | item | ({"provider": aliases[provider]} if provider in aliases else {})


def _sandbox(name: str, item: dict[str, Any], places: ConfigFiles) -> dict[str, Any]:
    fields = {"name": name, "network": item["level"] == Level.DANGER} | item
    if isinstance(fields["network"], list):
        fields |= {"network": True, "hosts": fields["network"]}
    for key in ("writable", "deny_read"):
        fields[key] = [_folder(path, places) for path in item.get(key, ())]
    return fields


def _folder(path: str, places: ConfigFiles) -> str:
    if places.home is not None and (path == "~" or path.startswith("~/")):
        path = places.home + path[1:]
    return os.path.normpath(os.path.join(places.root, path))

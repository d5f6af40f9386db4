"""What a run came to as variables, and those as outputs of a step of GitHub. Pure."""

from __future__ import annotations

from runner.lightjson import dumps
from runner.text.terminal import clean_terminal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from runner.state.manifest import Manifest
    from runner.verify.report import Report

_FILES = 100_000


def values(report: Report, manifest: Manifest, files: Mapping[str, str | None]) -> dict[str, str]:
    """Always the same names; empty is not known. `changed_files` is a JSON array, as the name of a file may
    have a line break in it, and empty where it is longer than a variable should be.
    """
    changed = dumps([*(report.files.observed or ())], compact=True)
    told = {
        **{"run_id": report.run_id, "status": manifest.status, "outcome": report.outcome},
        "reason": None if report.reason is None else report.reason.code,
        "exit_code": manifest.exit_code,
        "tokens_in": report.usage.get("input_tokens"),
        "tokens_cached": report.usage.get("cached_input_tokens"),
        "tokens_out": report.usage.get("output_tokens"),
        "cost_usd": manifest.cost if manifest.price is None else None,  # else in any currency
        "session_id": manifest.thread_id and clean_terminal(manifest.thread_id),
        "manifest": manifest.manifest_path,
        **{name: files.get(name) for name in ("report", "patch", "junit", "sarif")},
        "changed_files": None if report.files.observed is None or len(changed) > _FILES else changed,
    }
    return {name: "" if value is None else str(value) for name, value in told.items()}


def outputs(told: Mapping[str, str], delimiter: str) -> str:
    """For $GITHUB_OUTPUT. `delimiter` is one that nobody could know when a value was made."""
    names = ((name.replace("_", "-"), value) for name, value in told.items())
    return "".join(f"{name}<<{delimiter}\n{value}\n{delimiter}\n" for name, value in names)

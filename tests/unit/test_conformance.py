"""What was declared against what the program says: one verdict for each field."""

from __future__ import annotations

import pytest
from support.values import an_invocation

from runner.conformance import Conformity
from runner.model import Level, Sandbox
from runner.runtimes.base import UNSET, ObservedSettings
from runner.supervise.conformance import compare, declared, drift

WANTED = ObservedSettings("gpt-5", "read-only", False, "never", "high")


def verdicts(wanted: ObservedSettings, *seen: ObservedSettings) -> dict[str, str]:
    return {name: field.verdict for name, field in compare(wanted, seen).items()}


def test_what_is_as_declared_is_ok() -> None:
    assert verdicts(WANTED, WANTED) == dict.fromkeys(("model", "sandbox", "approval", "effort"), "ok")
    assert drift(compare(WANTED, [WANTED])) is None


def test_a_declared_alias_is_the_model_that_its_runtime_takes_it_for() -> None:
    wanted, seen = WANTED.replace(model="opus"), WANTED.replace(model="claude-opus-4-8[1m]")
    assert compare(wanted, [seen]).drifted == ("model",)
    found = compare(wanted, [seen], lambda declared, observed: declared in observed)
    assert found.model == Conformity("opus", "claude-opus-4-8[1m]", "ok")
    other = compare(wanted, [seen.replace(model="haiku")], lambda declared, observed: declared in observed)
    assert other.drifted == ("model",)


@pytest.mark.parametrize(("word", "verdict"), [("dontAsk", "ok"), ("never", "drift"), (None, "ok")])
def test_the_word_for_approvals_is_that_of_the_runtime(word: str | None, verdict: str) -> None:
    wanted = declared(an_invocation(), word)
    assert compare(wanted, [wanted.replace(approval="dontAsk")]).approval.verdict == verdict


def test_what_nobody_saw_is_unverified_and_no_drift() -> None:
    nothing = compare(WANTED, [])
    assert nothing.to_json()["model"] == {"declared": "gpt-5", "observed": None, "verdict": "unverified"}
    assert set(verdicts(WANTED)) == {"model", "sandbox", "approval", "effort"}
    assert set(verdicts(WANTED).values()) == {"unverified"}
    assert verdicts(WANTED, ObservedSettings()) == verdicts(WANTED)
    assert drift(nothing) is None


def test_the_programs_own_choice_cannot_be_wrong_and_is_shown() -> None:
    wanted = WANTED.replace(model=None, effort=None)
    found = compare(wanted, [WANTED.replace(effort=UNSET)])
    assert found.model == Conformity(None, "gpt-5", "ok")
    assert found.effort == Conformity(None, "default", "ok")
    assert compare(wanted, []).model == Conformity(None, None, "unverified")


@pytest.mark.parametrize(
    ("field", "changes"),
    [
        ("model", {"model": "gpt-5-mini"}),
        ("sandbox", {"level": "workspace-write"}),
        ("sandbox", {"level": "danger-full-access", "network": True}),
        ("sandbox", {"level": "external-sandbox"}),
        ("sandbox", {"network": True}),
        ("approval", {"approval": "on-request"}),
        ("effort", {"effort": "low"}),
        ("effort", {"effort": UNSET}),
    ],
)
def test_what_is_otherwise_is_a_drift_of_that_field_alone(field: str, changes: dict[str, object]) -> None:
    found = compare(WANTED, [WANTED.replace(**changes)])
    assert found.drifted == (field,)
    reason = drift(found)
    assert reason is not None and reason.code == "config_drift"
    shown = getattr(found, field)
    assert f"{field} is `{shown.observed}`, declared is `{shown.declared}`" in reason.message


def test_a_sandbox_that_is_narrower_than_declared_is_a_drift_too() -> None:
    wide = WANTED.replace(level="danger-full-access", network=True)
    assert compare(wide, [WANTED]).drifted == ("sandbox",)


def test_a_level_without_a_word_about_the_network_is_unverified() -> None:
    wanted = WANTED.replace(level="workspace-write")
    assert compare(wanted, [wanted.replace(network=None)]).sandbox.verdict == "unverified"
    assert compare(wanted, [WANTED.replace(network=None)]).sandbox.verdict == "drift"


def test_one_turn_that_drifts_is_enough() -> None:
    wrong = WANTED.replace(level="danger-full-access", network=True)
    found = compare(WANTED, [WANTED, wrong, WANTED])
    assert found.sandbox == Conformity("read-only", "danger-full-access", "drift")
    assert found.model.verdict == "ok"


def test_the_last_turn_is_shown_where_none_drifts() -> None:
    wanted = WANTED.replace(model=None)
    found = compare(wanted, [WANTED, WANTED.replace(model="gpt-6")])
    assert found.model == Conformity(None, "gpt-6", "ok")


@pytest.mark.parametrize(
    ("sandbox", "level", "network", "shown"),
    [
        (Sandbox("a", Level.READ_ONLY), "read-only", False, "read-only"),
        (Sandbox("a", Level.WORKSPACE_WRITE), "workspace-write", False, "workspace-write"),
        (Sandbox("a", Level.WORKSPACE_WRITE, True), "workspace-write", True, "workspace-write with network"),
        (Sandbox("a", Level.DANGER), "danger-full-access", True, "danger-full-access"),
    ],
)
def test_what_an_invocation_declares(sandbox: Sandbox, level: str, network: bool, shown: str) -> None:
    wanted = declared(an_invocation(sandbox=sandbox), "never")
    assert wanted == ObservedSettings("gpt-5", level, network, "never", "high")
    assert compare(wanted, [wanted]).sandbox == Conformity(shown, shown, "ok")


@pytest.mark.parametrize(
    ("seen", "verdict", "shown"),
    [
        (True, "ok", "workspace-write with network, with its limits"),
        (False, "drift", "workspace-write with network"),
        (None, "unverified", "workspace-write with network"),
    ],
)
def test_hosts_and_unread_files_are_at_work_or_it_is_another_sandbox(
    seen: bool | None, verdict: str, shown: str
) -> None:
    limited = Sandbox("s", Level.WORKSPACE_WRITE, True, hosts=("a.org",))
    wanted = declared(an_invocation(sandbox=limited), "never")
    found = compare(wanted, [wanted.replace(is_limited=seen)]).sandbox
    assert (found.verdict, found.observed) == (verdict, shown)
    plain = declared(an_invocation(sandbox=limited.replace(hosts=())), "never")
    assert compare(plain, [plain.replace(is_limited=seen)]).sandbox.verdict == "ok"

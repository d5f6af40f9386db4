"""Errors: stable codes, hints, and the exit statuses of the contract."""

from __future__ import annotations

import ast
import inspect

import pytest
from support.imports import modules, parsed

from runner import errors
from runner.errors import ExitStatus, RunnerError

CONTRACT = {
    "usage": 2,
    "interrupted": 130,
    "config_invalid": 2,
    "prompt_invalid": 2,
    "plan_invalid": 2,
    "pipeline_not_found": 2,
    "task_not_found": 4,
    "turn_not_found": 4,
    "run_not_found": 4,
    "policy_refused": 5,
    "in_reach": 5,
    "program_changed": 5,
    "not_trusted": 5,
    "runtime_missing": 8,
    "runtime_wrong": 8,
    "check_missing": 8,
    "cut_off": 8,
    "prepare_failed": 8,
    "baseline_failed": 8,
    "not_ready": 8,
    "start_failed": 8,
    "platform_unsupported": 8,
    "conflict": 9,
    "illegal_transition": 9,
    "unwritable": 9,
    "disk_full": 9,
    "too_many_open_files": 9,
    "too_many_processes": 9,
    "lock_invalid": 9,
    "lock_drift": 9,
    "manifest_broken": 9,
    "manifest_newer": 9,
    "invocation_broken": 9,
    "foreign_run": 9,
    "cassette_refused": 9,
    "rollback_refused": 9,
    "workspace_busy": 9,
    "session_busy": 9,
    "no_session": 2,
    "plugin_failed": 8,
    "owner_stopped": 9,
    "bug": 70,
    "supervisor_failed": 70,
    "gave_up_waiting": 75,
    "placing_refused": 8,
    "engine_silent": 75,
}
KINDS = [
    kind
    for kind in vars(errors).values()
    if inspect.isclass(kind) and issubclass(kind, RunnerError) and kind is not RunnerError
]


def test_codes_are_unique_and_every_class_has_its_own() -> None:
    codes = [vars(kind).get("code") for kind in KINDS]
    assert None not in codes
    assert len(set(codes)) == len(codes)


def test_codes_and_exit_statuses_are_those_of_the_contract() -> None:
    assert {kind.code: int(kind.exit_status) for kind in KINDS} == CONTRACT


def test_the_exit_statuses_are_the_table_of_the_contract() -> None:
    assert sorted(map(int, ExitStatus)) == [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 70, 75, 130]


def test_the_docstring_names_every_error() -> None:
    assert errors.__doc__ is not None
    assert [kind.__name__ for kind in KINDS if kind.__name__ not in errors.__doc__] == []


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.code)
def test_every_error_has_a_hint_or_its_class_says_why_not(kind: type[RunnerError]) -> None:
    assert kind("what is wrong").hint or "hint" in (kind.__doc__ or "")


def test_a_hint_of_the_place_wins_over_that_of_the_class() -> None:
    assert errors.UsageError("x").hint == errors.UsageError.default_hint
    assert errors.UsageError("x", hint="do y").hint == "do y"
    assert errors.UsageError("x", hint="").hint == ""


def test_problems_are_kept_in_their_order() -> None:
    error = errors.ConfigInvalid("2 problems", problems=["b", "a"])
    assert error.problems == ("b", "a")
    assert str(error) == error.message == "2 problems"


def test_only_waiting_a_full_machine_and_a_silent_engine_are_worth_a_second_try_without_any_change() -> None:
    assert [kind.code for kind in KINDS if kind.retryable] == [
        "too_many_processes",
        "gave_up_waiting",
        "engine_silent",
    ]


def test_a_code_is_unique_in_the_whole_product_wherever_its_class_stands() -> None:
    """Classes of the errors' kind outside of errors.py as well: a code is what scripts tell them by."""
    codes: dict[str, str] = {}
    for module, path in modules().items():
        for node in ast.walk(parsed(path)):
            for line in node.body if isinstance(node, ast.ClassDef) else ():
                if isinstance(line, ast.Assign) and ast.unparse(line.targets[0]) == "code":
                    place = f"{module}.{node.name}"  # type: ignore[attr-defined]
                    assert codes.setdefault(ast.literal_eval(line.value), place) == place
    assert len(codes) > len(KINDS)

"""Endings that mean the same for every program."""

from __future__ import annotations

import pytest

from runner.redact.redactor import Redactor
from runner.runtimes import endings
from runner.runtimes.base import End, Kind
from runner.verify.classify import classify
from runner.verify.evidence import Evidence


def end(status: int | None, failure: str = "API Error") -> End:
    return End(1, None, Kind.TURN_FAILED, failure, None, any_event=True, stderr_tail="", status=status)


@pytest.mark.parametrize(
    ("status", "failure", "code", "row"),
    [
        (401, "API Error", "auth_or_quota", "no_access"),
        (403, "API Error", "auth_or_quota", "no_access"),
        (402, "API Error", "auth_or_quota", "no_access"),
        (429, "API Error", "auth_or_quota", "rate_limited"),
        (429, "you exceeded your current quota", "auth_or_quota", "no_access"),
        (408, "API Error", "cli_failure", "provider"),
        (500, "rate limit", "cli_failure", "provider"),
        (529, "API Error", "cli_failure", "provider"),
        (400, "prompt is too long", "context_full", "full"),
        (400, "not logged in", "request_refused", "refused"),
        (404, "", "request_refused", "refused"),
    ],
)
def test_a_status_of_the_service_is_an_ending_whatever_stands_beside_it(
    status: int, failure: str, code: str, row: str
) -> None:
    found = endings.answered(end(status, failure), "it", "log in")
    assert found is not None
    outcome, reason = found
    assert reason.code == code
    assert f"{status}" in reason.message
    assert reason.hint
    assert classify(Evidence(outcome, reason, status=status)).row == row


@pytest.mark.parametrize("status", [None, 200])
def test_without_a_status_of_an_error_the_program_has_to_conclude_by_other_signs(status: int | None) -> None:
    assert endings.answered(end(status), "it", "log in") is None


def test_where_a_text_was_cut_a_secret_in_it_is_known_as_one() -> None:
    secret = "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456"
    redact = Redactor([secret]).redact_text
    told = endings.told(end(None, "x" * 1990 + secret))
    assert redact(f"{told}\nand more") == "x" * 1990 + "ABCDEFG...\nand more"
    ours = f"{'y' * 30} {'z ' * 990}\nlast"
    assert redact(f"begin\n{endings.essence(secret + ours)}").startswith("begin\nz z ")

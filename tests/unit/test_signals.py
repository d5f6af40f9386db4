"""A run that gets nowhere is told from one that works, by numbers."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.telling import Telling

from runner.runtimes import get
from runner.runtimes.base import Activity, Kind
from runner.runtimes.reading import reader_of
from runner.supervise.signals import Signals

CUT = "(stream disconnected before completion: stream closed before response.completed)"


def command(text: str = "make", output: str = "no rule", code: int = 2) -> Activity:
    return Activity(Kind.COMMAND, text, "item_1", code, output, failed=True)


def started(text: str = "make") -> Activity:
    return Activity(Kind.COMMAND_STARTED, text, "item_1")


def said(text: str = "I try again.") -> Activity:
    return Activity(Kind.MESSAGE, text)


def called(tool: str = "docs.find", arguments: str = "{}", output: str = "nothing") -> Activity:
    return Activity(Kind.TOOL_CALL, tool, output=output, arguments=arguments)


def changed(path: str = "update a.py", failed: bool = False) -> Activity:
    return Activity(Kind.FILE_CHANGE, path, failed=failed)


def lost(n: int = 1, why: str = CUT) -> Activity:
    record = {"type": "error", "message": f"Reconnecting... {n}/5 {why}"}
    (activity,) = get("codex").reader()(record)
    return activity


def code(activities: list[Activity], *, repeats: int | None = 3, reconnects: int | None = 2) -> str | None:
    signals = Signals(repeats, reconnects)
    for activity in activities:
        signals.note(activity)
    return signals.reason.code if signals.reason is not None else None


@pytest.mark.parametrize(
    "activity",
    [command(), said(), called(), changed(failed=True), Activity(Kind.ERROR, "bad request")],
    ids=lambda activity: activity.kind.value,
)
def test_the_same_so_many_times_in_a_row_is_a_stall(activity: Activity) -> None:
    assert code([activity] * 2) is None
    assert code([activity] * 3) == "stalled"
    assert code([activity] * 100, repeats=None) is None


def test_what_is_fatal_is_a_reason_at_once_and_the_first_one_stays() -> None:
    signals = Signals(None, None)
    for text in ("no server", "nothing else"):
        signals.note(Activity(Kind.ERROR, text, fatal=True))
    assert signals.reason is not None
    assert (signals.reason.code, signals.reason.message) == ("cli_failure", "no server")


def test_the_reason_says_what_came_how_often_and_shows_it() -> None:
    signals = Signals(3, 2)
    for _ in range(4):
        signals.note(started("make\nsecond line"))
        signals.note(command("make\nsecond line"))
    assert signals.reason is not None
    assert signals.reason.message == "the same command came 3 times in a row: make"
    assert signals.reason.detail == "no rule"


@pytest.mark.parametrize(
    "other",
    [command("make test"), command(output="another rule"), command(code=1), called(), changed()],
)
def test_something_else_in_between_begins_a_new_row(other: Activity) -> None:
    assert code([command(), command(), other, command(), command()]) is None


@pytest.mark.parametrize(
    "between",
    [
        started(),
        said("first"),
        said("second"),
        Activity(Kind.REASONING, "hm"),
        Activity(Kind.USAGE),
        called("delegation.delegate.status"),
    ],
)
def test_what_is_no_act_does_not_make_acts_different(between: Activity) -> None:
    assert code([between, command()] * 3) == "stalled"


def test_the_same_words_between_acts_that_differ_are_no_stall() -> None:
    work = [[said("Next."), command(f"step {n}")] for n in range(10)]
    assert code([activity for pair in work for activity in pair]) is None


def test_calls_with_other_arguments_are_other_calls() -> None:
    assert code([called(arguments=f'{{"page": {n}}}', output="ok") for n in range(10)]) is None


def test_changes_of_the_same_file_are_work() -> None:
    assert code([changed()] * 10) is None


def test_who_waits_for_a_child_or_an_answer_is_not_stalled() -> None:
    waits = called("delegation.delegate.question.poll", output="open")
    assert code([waits] * 100) is None


def test_losing_the_model_too_often_in_a_row_is_no_fault_of_the_task() -> None:
    assert code([lost(1), lost(2)]) is None
    assert code([lost(1), lost(2), lost(3)]) == "cli_failure"
    assert code([lost()] * 100, reconnects=None) is None


@pytest.mark.parametrize("answer", [said("a"), started(), command(), Activity(Kind.TURN_COMPLETED)])
def test_an_answer_of_the_model_ends_a_row_of_reconnects(answer: Activity) -> None:
    assert code([lost(1), lost(2), answer, lost(1), lost(2)]) is None


def test_what_the_program_says_of_itself_is_no_answer_of_the_model() -> None:
    assert code([lost(1), Activity(Kind.WARNING, "x"), lost(2), Activity(Kind.TURN_STARTED), lost(3)])


def test_losing_the_model_over_a_spent_quota_is_told_as_that() -> None:
    assert code([lost(n, "(429 Too Many Requests)") for n in range(5)]) == "auth_or_quota"


def test_waiting_for_the_network_without_end_is_a_row_of_reconnects() -> None:
    waiting = {"type": "error", "message": "Reconnecting... waiting for network (Connection failed: x)"}
    (activity,) = get("codex").reader()(waiting)
    assert code([activity] * 3) == "cli_failure"


def test_kay_that_retries_is_told_as_codex_is() -> None:
    record = {"id": "1", "msg": {"type": "error", "message": "stream error: cut; retrying 1/5"}}
    assert code([*get("kay").reader()(record)] * 3) == "cli_failure"


def test_a_command_that_is_named_at_its_begin_only_is_known_by_that() -> None:
    read = reader_of(get("kay"))

    def kay(n: int, command: str) -> list[Activity]:
        begin = {"type": "exec_command_begin", "call_id": f"c{n}", "command": ["bash", "-lc", command]}
        end = {"type": "exec_command_end", "call_id": f"c{n}", "exit_code": 0, "stdout": ""}
        return [activity for msg in (begin, end) for activity in read({"id": "1", "msg": msg})]

    assert code([activity for n in range(9) for activity in kay(n, f"touch {n}")]) is None
    assert code([activity for n in range(3) for activity in kay(n, "touch a")]) == "stalled"


KNOWN_BY_ID = [
    # begin, end: the end has nothing but the id of its call
    (Kind.TOOL_STARTED, Kind.TOOL_CALL),
    (Kind.COMMAND_STARTED, Kind.COMMAND),
    (Kind.TOOL_STARTED, Kind.FILE_CHANGE),
]


def told(*activities: Activity) -> list[Activity]:
    read = reader_of(Telling())
    return [one for activity in activities for one in read(activity.to_json())]


@pytest.mark.parametrize(("begin", "end"), KNOWN_BY_ID)
@pytest.mark.parametrize("is_parallel", [False, True])
def test_calls_that_differ_and_have_the_same_result_are_no_stall(
    begin: Kind, end: Kind, is_parallel: bool
) -> None:
    def calls(arguments: str) -> list[Activity]:
        begins = [Activity(begin, "Glob", f"c{n}", arguments=arguments.format(n)) for n in range(9)]
        ends = [Activity(end, "", f"c{n}", output="No files found", failed=True) for n in range(9)]
        pairs = [one for pair in zip(begins, ends, strict=True) for one in pair]
        return told(*(begins + ends if is_parallel else pairs))

    assert code(calls('{{"pattern": "{}"}}')) is None
    assert code(calls('{{"pattern": "*"}}')) == "stalled"
    assert calls("{{}}")[-1].text == "Glob"


def test_who_waits_is_not_stalled_where_the_result_has_no_name() -> None:
    poll = Activity(Kind.TOOL_STARTED, "delegation.delegate.status", "c1", arguments="{}")
    answer = Activity(Kind.TOOL_CALL, "", "c1", output="running")
    assert code(told(*[poll, answer] * 30)) is None


def test_of_results_whose_call_nobody_saw_none_is_the_same_as_another() -> None:
    assert code(told(*[Activity(Kind.TOOL_CALL, "", "c1", output="ok")] * 30)) is None


def test_what_a_call_is_named_at_its_end_counts() -> None:
    begin, end = Activity(Kind.TOOL_STARTED, "a", "c1"), Activity(Kind.TOOL_CALL, "b", "c1", arguments="[]")
    assert told(begin, end)[1] == end


def test_of_many_calls_that_never_end_the_oldest_are_forgotten() -> None:
    begins = [Activity(Kind.TOOL_STARTED, "a", f"c{n}") for n in range(1000)]
    ends = [Activity(Kind.TOOL_CALL, "", f"c{n}") for n in (0, 999)]
    assert [one.text for one in told(*begins, *ends)[-2:]] == ["", "a"]


@pytest.mark.parametrize(
    ("status", "expected"), [(401, "auth_or_quota"), (429, "auth_or_quota"), (529, "cli_failure")]
)
def test_a_status_says_before_any_wording_why_the_model_was_lost(status: int, expected: str) -> None:
    retry = Activity(Kind.WARNING, "rate limit? overloaded? not logged in?", reconnects=True, status=status)
    assert code([retry] * 3) == expected


def test_the_first_reason_stays() -> None:
    assert code([command()] * 3 + [lost()] * 9) == "stalled"


@given(st.lists(st.sampled_from([command(), command("x"), said(), called(), changed(), lost()])))
def test_without_limits_nothing_is_ever_a_stall(activities: list[Activity]) -> None:
    assert code(activities, repeats=None, reconnects=None) is None

"""What a sandbox can write, against what runner obeys."""

from __future__ import annotations

import pytest

from runner.model import Level, Sandbox
from runner.resolve.reach import Obeyed, Shield, shield

REPO = "/home/u/repo"
RECORDS = Obeyed("the records of runs", f"{REPO}/.runs")


def needed(*obeyed: Obeyed, cwd: str = REPO, writable: tuple[str, ...] = (), tmp: str = "/tmp") -> Shield:
    sandbox = Sandbox("s", Level.WORKSPACE_WRITE, writable=writable)
    return shield(sandbox, cwd, (tmp,), obeyed)


def code(path: str, *links: str) -> Obeyed:
    return Obeyed("code", path, links)


def paths(found: Shield) -> list[str]:
    return [one.path for one in found.read_only]


def test_what_lies_outside_of_every_writable_folder_needs_nothing() -> None:
    assert needed(code("/usr/lib/python3"), code("/home/u/.codex"), code("/home/u/repo2/.venv")) == Shield()


def test_the_records_and_an_environment_in_the_repository_become_read_only() -> None:
    found = needed(RECORDS, code(f"{REPO}/.venv"))
    assert paths(found) == [f"{REPO}/.runs", f"{REPO}/.venv"]
    assert (found.held, found.exposed, found.own_temp) == ((), (), False)


def test_a_run_with_a_tree_of_its_own_reaches_nothing_of_the_repository() -> None:
    assert needed(RECORDS, code(f"{REPO}/.venv"), cwd="/home/u/.local/state/runner/worktrees/a") == Shield()


def test_the_folders_above_a_deeper_path_are_held() -> None:
    found = needed(code(f"{REPO}/tools/a/venv"))
    assert paths(found) == [f"{REPO}/tools/a/venv"]
    assert found.held == (f"{REPO}/tools", f"{REPO}/tools/a")


def test_what_is_inside_of_something_read_only_needs_nothing_of_its_own() -> None:
    found = needed(code(f"{REPO}/.venv/bin/codex"), code(f"{REPO}/.venv"), code(f"{REPO}/.venv-2"))
    assert paths(found) == [f"{REPO}/.venv", f"{REPO}/.venv-2"]
    assert found.held == ()


def test_a_wider_writable_folder_reaches_further_and_its_folders_are_held_too() -> None:
    found = needed(RECORDS, code("/home/u/.local/state/runner"), writable=("/home/u",))
    assert paths(found) == ["/home/u/.local/state/runner", f"{REPO}/.runs"]
    assert found.held == ("/home/u/.local", "/home/u/.local/state")


def test_the_repository_of_git_is_the_business_of_codex_where_it_is_directly_in_a_writable_folder() -> None:
    git = Obeyed("git", f"{REPO}/.git")
    assert paths(needed(git)) == []
    assert paths(needed(git, cwd="/elsewhere/tree", writable=("/home/u",))) == [f"{REPO}/.git"]


@pytest.mark.parametrize("place", ["/tmp/x/repo", "/tmp"])
def test_a_run_in_the_folder_for_temporary_files_gets_its_own(place: str) -> None:
    found = needed(Obeyed("records", f"{place}/.runs"), cwd=place)
    assert found.own_temp
    assert (paths(found), found.held) == ([f"{place}/.runs"], ())


@pytest.mark.parametrize("tmp", ["/tmp", "/var/tmp/user"])
def test_so_does_one_whose_settings_or_state_are_there(tmp: str) -> None:
    found = needed(RECORDS, code(f"{tmp}/home/.config/runner"), tmp=tmp)
    assert found.own_temp
    assert paths(found) == [f"{REPO}/.runs"], "nobody can write there any more"


def test_what_lies_there_is_named_for_a_program_that_keeps_a_part_of_it_open() -> None:
    found = needed(code("/tmp/venv"), code("/opt/venv"), code("/tmp/state"), cwd="/tmp/state/trees/a")
    assert [one.path for one in found.in_temp] == ["/tmp/venv"], "not what the run itself lies in"


def test_a_folder_for_temporary_files_that_is_given_by_name_stays_open() -> None:
    found = needed(code("/tmp/home/.codex"), cwd="/tmp/repo", writable=("/tmp",))
    assert paths(found) == ["/tmp/home/.codex"]
    assert found.held == ("/tmp/home",)


def test_a_link_that_the_agent_could_replace_exposes_what_is_behind_it() -> None:
    behind = code("/home/u/shared/venv", f"{REPO}/.venv")
    assert needed(behind).exposed == (behind,)
    assert needed(code("/usr/bin/python", f"{REPO}/.venv/bin/python"), code(f"{REPO}/.venv")).exposed == ()


def test_what_is_given_to_the_agent_by_name_is_exposed() -> None:
    home = code("/home/u/.codex")
    found = needed(home, writable=("/home/u/.codex",))
    assert (found.exposed, found.read_only) == ((home,), ())


@pytest.mark.parametrize("inside", ["", "/hooks", "/a/b"])
@pytest.mark.parametrize(
    "path", [f"{REPO}/.git", f"{REPO}/.runs", "/home/u/.config/runner", "/usr/lib/runner"]
)
def test_so_is_what_has_something_in_it_that_is_given_to_the_agent(path: str, inside: str) -> None:
    one = code(path)
    found = needed(one, writable=(f"{path}{inside}",))
    assert (found.exposed, found.read_only) == ((one,), ())
    assert needed(one, writable=(f"{path}-2{inside}",)).exposed == ()


def test_what_holds_the_folder_of_a_run_stays_out_of_reach_itself() -> None:
    state = code("/home/u/.local/state/runner")
    assert needed(state, cwd="/home/u/.local/state/runner/worktrees/a") == Shield()


@pytest.mark.parametrize("name", ["a ", "a\n", "a\t"])
def test_a_path_that_no_guard_can_name_is_exposed(name: str) -> None:
    one = code(f"{REPO}/{name}")
    assert needed(one).exposed == (one,)


@pytest.mark.parametrize("level", [Level.READ_ONLY, Level.DANGER])
def test_who_may_write_nothing_or_everything_is_not_shielded_from_anything(level: Level) -> None:
    assert shield(Sandbox("s", level), "/tmp/x", ("/tmp",), (code("/tmp/x/.venv"),)) == Shield()

"""Who is calling and what that one may touch; a path is refused before anything is read through it."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import pytest
from support.family import DELEGATION, a_run, relative

from runner.delegation.caller import Caller, NoCaller, NotYours, caller
from runner.errors import RunnerError, RunNotFound, UsageError
from runner.resolve.delegation import tools_of
from runner.state.store import RunDir, new_run_id


@dataclass
class Family:
    """above -> me -> child -> grandchild; a sibling of mine and a stranger."""

    repo: Path

    def __post_init__(self) -> None:
        self.above = a_run(self.repo, "above")
        self.me = a_run(self.repo, "me", self.above)
        self.sibling = a_run(self.repo, "sibling", self.above)
        self.child = a_run(self.repo, "child", self.me)
        self.grandchild = a_run(self.repo, "grand", self.child)
        self.stranger = a_run(self.repo, "stranger")

    def named(self, name: str) -> RunDir:
        run: RunDir = getattr(self, name)
        return run

    def calling(self, name: str | None) -> Caller:
        return caller(str(self.repo), None if name is None else relative(self.named(name)), "full")


@pytest.fixture
def family(tmp_path: Path) -> Family:
    return Family(tmp_path)


EVERYBODY = ("above", "me", "sibling", "child", "grandchild", "stranger")


# -- who may touch what ----------------------------------------------------------------------------


@pytest.mark.parametrize("name", EVERYBODY)
def test_a_run_acts_on_itself_and_on_its_descendants_alone(name: str, family: Family) -> None:
    me, target = family.calling("me"), family.named(name)
    if name in ("me", "child", "grandchild"):
        assert me.own_or_below(relative(target)).path == target.path
    else:
        with pytest.raises(NotYours) as refused:
            me.own_or_below(relative(target))
        assert refused.value.code == "not_yours"


@pytest.mark.parametrize("name", EVERYBODY)
def test_a_run_answers_questions_of_its_descendants_alone(name: str, family: Family) -> None:
    me, target = family.calling("me"), family.named(name)
    if name in ("child", "grandchild"):
        assert me.below(relative(target)).path == target.path
    else:
        with pytest.raises(NotYours):
            me.below(relative(target))


@pytest.mark.parametrize("name", EVERYBODY)
def test_a_run_starts_children_of_its_own_only(name: str, family: Family) -> None:
    me, target = family.calling("me"), family.named(name)
    if name == "me":
        assert me.parent_for_spawn(relative(target)) is me.run
        assert me.parent_for_spawn(None) is me.run
    else:
        with pytest.raises(NotYours):
            me.parent_for_spawn(relative(target))


@pytest.mark.parametrize("name", EVERYBODY)
def test_a_run_asks_its_parent_and_nobody_else(name: str, family: Family) -> None:
    me, target = family.calling("me"), family.named(name)
    if name == "above":
        run, asked = me.asked(relative(target))
        assert run is me.run and asked is not None and asked.run_id == family.above.run_id
    else:
        with pytest.raises(NotYours, match="its parent"):
            me.asked(relative(target))


@pytest.mark.parametrize("name", EVERYBODY)
def test_a_run_without_a_parent_asks_its_owner_through_its_own_manifest(name: str, family: Family) -> None:
    above, target = family.calling("above"), family.named(name)
    if name == "above":
        assert above.asked(relative(target)) == (above.run, None)
    else:
        with pytest.raises(NotYours, match="its owner"):
            above.asked(relative(target))


@pytest.mark.parametrize("name", EVERYBODY)
def test_the_owner_acts_on_every_run_and_asks_nobody(name: str, family: Family) -> None:
    owner, target = family.calling(None), family.named(name)
    assert owner.name == "owner" and not owner.is_self(target)
    for act in (owner.own_or_below, owner.below, owner.parent_for_spawn):
        found = act(relative(target))
        assert found is not None and found.path == target.path
    assert owner.parent_for_spawn(None) is None
    with pytest.raises(NoCaller):
        owner.asked(relative(target))


def test_a_run_that_lost_a_forged_child_is_told_not_yours(family: Family) -> None:
    """Only one side says so: a mark that the thief itself has made."""
    marks = Path(family.me.control, "children")
    marks.joinpath(f"{family.sibling.task_id}@{family.sibling.run_id}").touch()
    with pytest.raises(NotYours):
        family.calling("me").own_or_below(relative(family.sibling))


# -- paths -----------------------------------------------------------------------------------------


def outside(tmp_path: Path) -> RunDir:
    """A run of another repository."""
    (tmp_path / "other").mkdir()
    return a_run(tmp_path / "other", "hello")


def wrong_paths(family: Family, elsewhere: RunDir) -> dict[str, str]:
    good = relative(family.me)
    folder = good.removesuffix("/manifest.json")
    return {
        "empty": "",
        "root": "/",
        "device": "/dev/zero",
        "relative device": "../../../../../../../../dev/zero",
        "dots": good.replace("/cli/", "/../me/cli/"),
        "dots that come back": f".runs/../{good}",
        "dots behind": f"{folder}/../{family.me.run_id}/manifest.json",
        "another repository": elsewhere.manifest,
        "another repository, short": elsewhere.path,
        "run folder": folder,
        "another file": f"{folder}/invocation.json",
        "below": f"{good}/manifest.json",
        "no run id": ".runs/me/cli/latest/manifest.json",
        "a run id": family.me.run_id,
        "latest": "@latest",
        "no task": f".runs/cli/{family.me.run_id}/manifest.json",
        "unknown run": f".runs/me/cli/{new_run_id()}/manifest.json",
        "a variable": "$RUNNER_MANIFEST",
        "a home": "~/manifest.json",
        "a url": f"file://{family.me.manifest}",
        "nul": f"{good}\0",
        "nul first": f"\0{good}",
        "half character": f"{good}\ud800",
        "a line": f"{good}\n",
        "a megabyte": "x" * 1_000_000,
        "a megabyte of slashes": "/" * 1_000_000,
        "a megabyte that ends well": "/" * 1_000_000 + good,
    }


NAMES = sorted(
    [
        "empty",
        "root",
        "device",
        "relative device",
        "dots",
        "dots that come back",
        "dots behind",
        "another repository",
        "another repository, short",
        "run folder",
        "another file",
        "below",
        "no run id",
        "a run id",
        "latest",
        "no task",
        "unknown run",
        "a variable",
        "a home",
        "a url",
        "nul",
        "nul first",
        "half character",
        "a line",
        "a megabyte",
        "a megabyte of slashes",
        "a megabyte that ends well",
    ]
)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("who", ["me", None])
def test_what_is_no_manifest_path_of_this_repository_is_refused(
    who: str | None, name: str, family: Family, tmp_path: Path
) -> None:
    paths = wrong_paths(family, outside(tmp_path))
    assert sorted(paths) == NAMES
    calling = family.calling(who)
    for act in (calling.own_or_below, calling.below, calling.parent_for_spawn):
        with pytest.raises(RunNotFound) as refused:
            act(paths[name])
        assert len(refused.value.message) < 500


def test_an_absolute_path_into_this_repository_is_as_good_as_the_literal_one(family: Family) -> None:
    assert family.calling("me").own_or_below(family.me.manifest).path == family.me.path


def link(path: str, target: str) -> None:
    os.rename(path, target)
    os.symlink(target, path)


@pytest.mark.parametrize("part", ["task", "cli", "run", "manifest"])
def test_no_link_on_the_way_is_followed(part: str, family: Family, tmp_path: Path) -> None:
    run = family.child
    cli = os.path.dirname(run.path)
    place = {"task": os.path.dirname(cli), "cli": cli, "run": run.path, "manifest": run.manifest}[part]
    calling = family.calling("me")
    link(place, str(tmp_path / "moved"))
    with pytest.raises(RunNotFound, match="symbolic link"):
        calling.own_or_below(relative(run))


def test_a_repository_inside_a_run_folder_is_not_this_one(family: Family) -> None:
    """A child may write there: neither a forged run nor a link on the way to one counts."""
    forged = a_run(Path(family.me.path), "hello")
    owner = family.calling(None)
    with pytest.raises(RunNotFound, match="of this repository"):
        owner.own_or_below(forged.manifest)
    os.symlink("/", Path(family.repo, ".runs", "out"))
    with pytest.raises(RunNotFound, match="of this repository"):
        owner.own_or_below(f".runs/out{forged.manifest}")


# -- the launch ------------------------------------------------------------------------------------


def test_the_mode_and_the_run_both_limit_the_tools(tmp_path: Path) -> None:
    run = a_run(tmp_path, delegation=DELEGATION.replace(tools=("question", "pause")))

    def tools(mode: str, manifest: str | None) -> tuple[str, ...]:
        return caller(str(tmp_path), manifest, mode).tools

    assert tools("full", relative(run)) == tools_of(["pause", "question"])
    assert tools("question", relative(run)) == tools_of(["question"])
    assert tools("status", relative(run)) == ()
    assert tools("status", None) == ("delegate.status",)
    assert tools("question", None) == tools_of(["status", "question"])


def test_a_run_without_delegation_has_no_server(tmp_path: Path) -> None:
    run = a_run(tmp_path, delegation=DELEGATION.replace(enabled=False))
    with pytest.raises(RunNotFound, match="no delegation"):
        caller(str(tmp_path), relative(run), "full")


def test_a_launch_that_cannot_be_right_is_refused(tmp_path: Path, family: Family) -> None:
    with pytest.raises(UsageError, match="unknown mode"):
        caller(str(tmp_path), None, "everything")
    with pytest.raises(UsageError, match="no folder"):
        caller(str(tmp_path / "nowhere"), None, "full")
    for path in wrong_paths(family, outside(tmp_path)).values():
        with pytest.raises(RunnerError):
            caller(str(tmp_path), path, "full")


def test_a_caller_stands_in_events_by_its_run(family: Family) -> None:
    assert family.calling("me").name == f"run {family.me.run_id}"

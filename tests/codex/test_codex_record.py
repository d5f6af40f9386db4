"""Cassettes of pipelines, of retries and of failures of the model, with the real Codex."""

from __future__ import annotations

from pathlib import Path

import pytest
from support import waves
from support.judged import Tree, call, says
from support.repo import Repo, Run
from support.stages import ends, finding, finds, prepares, shown, stage, starts, steps, writes

from runner.rehearsal import script


def recorded(repo: Repo, run: Run, *words: str) -> Path:
    done = run.ask("record", "-o", "tape.toml", "--force", *words)
    assert done.status == 0, done
    return repo.root / "tape.toml"


def end(run: Run) -> tuple[object, ...]:
    manifest = run.wait()
    return (
        manifest["status"],
        manifest["reason"]["code"],
        manifest["usage"]["input_tokens"],
        manifest["attempt"],
    )


@pytest.mark.parametrize(
    "last",
    [
        'error = { status = 429, code = "usage_limit_reached", resets_at = 2000000000 }',
        'error = { status = 401, message = "no" }',
        'error = { status = 500, message = "broken" }',
        'error = { status = 400, message = "the prompt is wrong" }',
        'error = { code = "context_length_exceeded", message = "full" }',
        'message = "half of"\ncut = true',
    ],
)
def test_a_failure_of_the_model_is_replayed_to_the_same_end(repo: Repo, last: str) -> None:
    repo.script(f"[[turns]]\nshell = 'echo one'\nusage = {{ input_tokens = 50 }}\n[[turns]]\n{last}\n")
    repo.task()
    first = repo.start("--rehearse", "play.toml")
    wanted = end(first)
    assert wanted[0] == "failed"
    recorded(repo, first, "--no-delays")
    assert end(repo.start("--rehearse", "tape.toml")) == wanted


def test_a_model_that_said_nothing_until_the_limit_does_so_again(repo: Repo) -> None:
    repo.script("[[turns]]\nshell = 'echo one'\n[[turns]]\nhang = true\n")
    repo.task('idle_timeout = "2s"')
    first = repo.start("--rehearse", "play.toml")
    wanted = end(first)
    assert wanted[:2] == ("timed_out", "stalled")
    assert [one.ending for one in script.load(recorded(repo, first)).turns] == ["complete", "hang"]
    assert end(repo.start("--rehearse", "tape.toml")) == wanted


def test_attempts_are_played_in_their_order(repo: Repo) -> None:
    repo.script(f"{call('echo bad > a')}{says('first')}{call('echo good > a')}{says('second')}")
    repo.config(
        '[tasks.work]\nprompt = "Do it."\nsandbox = "workspace-write"\nworkspace = "worktree"\n'
        'grace = "1s"\nverify = [["grep", "-q", "good", "a"]]\nretries = 1\n'
    )
    repo.git("add", ".")
    repo.git("commit", "-qm", "settings")
    first = repo.start("--rehearse", "play.toml")
    wanted = end(first)
    assert wanted[0] == "succeeded" and wanted[3] == 2
    path = recorded(repo, first)
    assert "2 processes play this in order" in path.read_text()
    again = repo.start("--rehearse", "tape.toml")
    assert (end(again), again.ask("diff").json()["patch"]) == (wanted, first.ask("diff").json()["patch"])


def test_a_file_that_others_have_changed_meanwhile_is_not_overwritten(repo: Repo) -> None:
    repo.script(f"{call('echo mine > a; echo mine > b')}{says('done')}")
    repo.config('[tasks.work]\nprompt = "Do it."\nsandbox = "workspace-write"\ngrace = "300ms"\n')
    first = repo.start("--rehearse", "play.toml")
    assert end(first)[0] == "succeeded"
    recorded(repo, first)
    (repo.root / "b").unlink()
    (repo.root / "a").write_text("theirs\n")
    again = repo.start("--rehearse", "tape.toml").wait()
    assert again["status"] == "failed", again
    for said in ("a is not the file that it begins with", "0 of 3 turns of the script were played"):
        assert said in again["reason"]["message"]
    assert "in its files" in again["reason"]["hint"]
    assert ((repo.root / "a").read_text(), (repo.root / "b").exists()) == ("theirs\n", False)
    (repo.root / "a").unlink()
    assert end(repo.start("--rehearse", "tape.toml"))[0] == "succeeded"
    assert (repo.root / "a").read_text() == "mine\n"


@pytest.mark.usefixtures("over")
def test_a_pipeline_is_recorded_as_a_folder_that_plays_it(repo: Repo) -> None:
    prepares(
        repo,
        stage("research", 'tasks = ["look", "also"]'),
        stage("draft", 'tasks = ["fix"]'),
        research_look=says("Rows come from `shop`."),
        research_also=says("Input is checked nowhere."),
        draft_fix=writes("src/new.py"),
    )
    run = starts(repo)
    ends(run)
    tape = repo.home / "tapes"
    done = run.ask("record", "-o", str(tape), "--no-delays")
    assert done.status == 0, done
    assert sorted(path.name for path in tape.iterdir()) == [
        "draft.fix.toml",
        "research.also.toml",
        "research.look.toml",
    ]
    (repo.root / "src/new.py").unlink(missing_ok=True)
    repo.git("checkout", "-q", "--force", "HEAD")
    before = shown(run)
    again = repo.cli("start", "--pipeline", "feature", "--rehearse", str(tape), "--format", "json")
    assert again.status == 0, again
    replay = Run(repo, again.json()["run_id"], "feature")
    ends(replay)
    assert shown(replay) == before


def plays_itself(repo: Repo, run: Run) -> None:
    """From now on its runs do what they did, on the files that they found."""
    done = run.ask("record", "-o", str(repo.home / "plays"), "--force", "--no-delays")
    assert done.status == 0, done
    repo.git("checkout", "-q", "--force", "HEAD")
    repo.git("clean", "-qfd")


def test_a_plan_is_recorded_as_a_folder_that_plays_it(repo: Repo) -> None:
    waves.prepares(repo, [waves.writes(1, after="; date +%N > src/when.txt"), waves.writes(2)])
    run = waves.starts(repo)
    ends(run)
    wanted = Tree.of(repo)
    plays_itself(repo, run)
    assert Tree.of(repo) != wanted
    again = waves.starts(repo)
    ends(again)
    told = [[one["status"] for one in waves.ledger(of)["steps"]] for of in (run, again)]
    assert (Tree.of(repo), told[0]) == (wanted, told[1])


@pytest.mark.usefixtures("over")
def test_a_review_with_a_repair_is_recorded_as_a_folder_that_plays_it(repo: Repo) -> None:
    table = 'repair = { task = "fix", max_rounds = 2 }'
    one = stage("review", 'tasks = ["look"]', 'gate = { no_findings = "critical" }', table)
    plays = {"review_repair-1-1": writes("src/app.py"), "review_look.2": finds(finding("minor"))}
    prepares(repo, one, review_look=finds(finding(), before="cat src/app.py"), **plays)
    run = starts(repo)
    ends(run)
    wanted, tree = shown(run), Tree.of(repo)
    plays_itself(repo, run)
    again = starts(repo)
    ends(again)
    assert (shown(again), Tree.of(repo)) == (wanted, tree)
    assert [one["kind"] for one in steps(again)] == ["task", "gate", "repair", "review", "gate"]

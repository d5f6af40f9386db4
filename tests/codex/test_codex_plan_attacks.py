"""Plans with the real Codex and a scripted model, attacked: each of these attacks once worked."""

from __future__ import annotations

from support.batches import committed, ends, fails, of_plan, plays, prompt_of, run_of, shown
from support.judged import Tree, call, claim, commit, says
from support.repo import Repo, Run
from support.waiting import wait_until
from support.waves import (
    batch,
    blocks_git,
    commits,
    gated,
    ledger,
    opens,
    prepares,
    refused,
    start_words,
    starts,
    step,
    work_trees,
    writes,
)

COMMIT = "commit = true"


def works(n: int, also: str = "", names: tuple[str, ...] = ()) -> str:
    """The play of batch `n`, which does something else too, and claims that of it which `names` has."""
    return call(f"sed -i 's/^x = .*/x = {n}/' src/m{n}.py{also}") + says(
        claim(files=[f"src/m{n}.py", *names])
    )


def refusal(run: Run) -> str:
    """Why nothing was committed any more."""
    reason = run.on_disk()["reason"]
    assert reason["code"] == "commit_refused", reason
    return str(reason["message"])


# -- side by side --------------------------------------------------------------------------------------


def test_a_check_that_batches_owe_together_is_run_again_until_they_pass_it(repo: Repo) -> None:
    check = '[["sh", "-c", "! { grep -q 1 src/m1.py && grep -q 2 src/m2.py; }"]]'
    units = [
        f'id = "U{n}"\ngoal = "M"\nfiles = ["src/m{n}.py"]\ntests = ["it"]\nverify = {check}' for n in (1, 2)
    ]
    prepares(repo, [writes(1), writes(2)], "max_parallel = 2", units=units)
    for words in ((), ("--resume",), ("--resume", "--reset-breaker")):
        run = ends(repo, *words, status=6)
        assert run.on_disk()["reason"]["code"] == "verify_failed"
        assert "batches 1, 2 together" in run.on_disk()["reason"]["message"]
        assert shown(run) == ["U1: succeeded", "U2: succeeded"] and ledger(run)["together"] == [1, 2]
    (repo.root / "src/m2.py").write_text("x = two\n")
    run = ends(repo, "--resume", status=0)
    assert ledger(run)["together"] == [] and [step(run, n)["tries"] for n in (1, 2)] == [1, 1]
    assert "nothing of" in refused(repo, "--resume").error["message"]
    assert commits(repo) == work_trees(repo) == []


def test_what_becomes_of_a_wave_counts_in_the_order_of_its_batches(repo: Repo) -> None:
    """The one that succeeds ends last, and the first failure is no longer in a row with the second."""
    late = writes(2, before=gated(repo))
    run = starts(prepares(repo, [fails(), late, fails()], "max_parallel = 3", "max_failures = 2"))
    others = [batch(run, n) for n in (1, 3)]
    wait_until(lambda: all(one.on_disk()["phase"] == "done" for one in others), 60, "both failures")
    opens(repo)
    assert run.wait(within=60)["reason"]["code"] == "batches_left"
    assert shown(run) == ["U1: failed", "U2: succeeded", "U3: failed"]
    breaker = of_plan(run)["breaker"]
    assert (breaker["failures"], breaker["open"]) == (1, False)


# -- whose change it is --------------------------------------------------------------------------------


def test_an_edit_between_two_batches_of_what_the_plan_has_committed_is_not_committed(repo: Repo) -> None:
    greedy = works(2, "; echo 'by 2' >> src/m1.py", ("src/m1.py",))
    prepares(repo, [writes(1), greedy], COMMIT)
    blocks_git(repo, "update-ref", when="after")
    run = starts(repo)
    wait_until((repo.home / "at-git").exists, 60, "the end of the first commit")
    assert commits(repo) == ["Modules: batch 1 of 2 (U1)"]
    edited = repo.root / "src/m1.py"
    edited.write_text(edited.read_text() + "mine\n")
    opens(repo)
    run.wait(within=60)
    assert "already had changes of others: src/m1.py" in refusal(run)
    assert committed(repo) == [("Modules: batch 1 of 2 (U1)", ["src/m1.py"])]
    assert repo.says("show", "HEAD:src/m1.py") == "x = 1\nby 1\n"
    assert edited.read_text() == "x = 1\nby 1\nmine\nby 2\n"
    assert repo.says("status", "--porcelain") == " M src/m1.py\n M src/m2.py\n"


def test_only_a_file_that_a_unit_or_the_agent_names_is_committed(repo: Repo) -> None:
    odd = [f"; echo odd > src/odd{n}.txt" for n in range(6)]
    claims = ("./src/odd1.txt", f"{repo.root}/src/odd2.txt", "src/src/odd3.txt")
    script = [works(n, odd[n], (claims[n - 1],)) for n in (1, 2)]
    script += [works(3, odd[3], ()), works(4, odd[4])]
    prepares(repo, script, COMMIT)
    run = ends(repo)
    assert "these files are named neither by a unit nor by the agent: src/odd3.txt" in refusal(run)
    assert [files for _, files in committed(repo)] == [
        ["src/m1.py", "src/odd1.txt"],
        ["src/m2.py", "src/odd2.txt"],
    ]
    assert shown(run)[2:] == ["U3: succeeded", "U4: waiting"]
    assert repo.says("status", "--porcelain") == " M src/m3.py\n?? src/odd3.txt\n"
    commit(repo)
    again = ends(repo, "--resume", "--set", 'delegate.files="off"', status=0)
    assert committed(repo)[-1] == ("Modules: batch 4 of 4 (U4)", ["src/m4.py", "src/odd4.txt"])
    assert shown(again)[3] == "U4: succeeded"


def test_a_repository_that_an_agent_leaves_is_in_no_commit_and_does_not_hold_up_the_plan(repo: Repo) -> None:
    inner = "; git init -q inner; echo x > inner/file; git -C inner add file"
    inner += "; git -C inner -c user.name=A -c user.email=a@b commit -qm inner"
    prepares(repo, [works(1, inner, ("inner",)), works(2)], COMMIT)
    run = ends(repo)
    assert "another repository" in refusal(run) and ": inner" in refusal(run)
    assert committed(repo) == []
    no = refused(repo, "--resume")
    assert no.status == 9 and no.error["message"].endswith("were not committed: src/m1.py")
    repo.says("commit", "-qm", "what the first batch did", "src/m1.py")
    again = ends(repo, "--resume", status=0)
    assert shown(again) == ["U1: succeeded", "U2: succeeded"]
    assert committed(repo)[1:] == [("Modules: batch 2 of 2 (U2)", ["src/m2.py"])]
    assert repo.says("status", "--porcelain") == "?? inner/\n"


def test_a_strict_batch_that_writes_another_file_is_rejected_and_rolled_back(repo: Repo) -> None:
    other = works(1, "; echo mine >> keep.txt; echo odd > src/odd.txt", ("keep.txt", "src/odd.txt"))
    prepares(repo, [other], 'files = "strict"', task=('scope = ["src/**", "keep.txt"]',))
    before = Tree.of(repo)
    run = ends(repo)
    batch_run = run_of(run, 1).on_disk()
    assert (batch_run["outcome"], batch_run["reason"]["code"]) == ("rejected", "scope_violation")
    assert Tree.of(repo) == before
    assert "src/m1.py" in prompt_of(run, 1) and "keep.txt" not in prompt_of(run, 1)


# -- where and how often it begins ---------------------------------------------------------------------


def test_a_plan_whose_settings_are_in_a_folder_of_the_repository_is_run_from_there(repo: Repo) -> None:
    prepares(repo, [writes(1), fails()])
    (repo.root / "sub").mkdir()
    repo.says("mv", "delegate.toml", "plan.toml", "sub")
    repo.says("commit", "-qm", "move them")
    done = repo.cli(*start_words(repo, "--wait"), cwd=repo.root / "sub")
    assert done.status == 1, done.stderr
    first = Run(repo, done.json()["run_id"])
    assert shown(first) == ["U1: succeeded", "U2: failed"]
    plays(repo, 2, writes(2))
    done = repo.cli(*start_words(repo, "--resume", "--wait"), cwd=repo.root / "sub")
    assert done.status == 0, done.stdout + done.stderr
    assert [(repo.root / f"src/m{n}.py").read_text() for n in (1, 2)] == ["x = 1\nby 1\n", "x = 2\nby 2\n"]


def test_a_plan_that_is_begun_anew_carries_on_the_count_of_its_failures(repo: Repo) -> None:
    prepares(repo, [fails()], "max_failures = 3")
    assert of_plan(ends(repo))["breaker"]["failures"] == 1
    file = repo.root / "plan.toml"
    file.write_text(file.read_text().replace("Module 1", "Another module"))
    counts = []
    for _ in range(3):
        run = ends(repo)
        counts.append((of_plan(run)["breaker"]["failures"], of_plan(run)["breaker"]["open"]))
    assert counts == [(1, False), (2, False), (3, True)], "another plan begins at 0, the same one does not"
    (run.folder / "ledger.json").write_text("{")
    for words in ((), ("--resume",)):
        no = refused(repo, *words)
        assert (no.status, no.error["code"]) == (9, "breaker_open")
    plays(repo, 1, writes(1))
    assert shown(ends(repo, "--reset-breaker", status=0)) == ["U1: succeeded"]

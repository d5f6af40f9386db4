"""What people and agents do with a ledger: who speaks, what is written of it, what they wait for."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
from support.ended import adopt, an_ended_run
from support.waiting import ends_within

from runner.delegation import ledger_tools
from runner.delegation.caller import Caller
from runner.errors import RunnerError
from runner.ledger.entry import HUMAN, OWNER, EntryType, NewEntry
from runner.ledger.file import Ledger
from runner.ledger.lanes import ProposalOutdated
from runner.ledger.references import references
from runner.model import Lineage
from runner.processes import cgroup
from runner.state.store import RunDir, new_run_id
from runner.usecases import control, inbox
from runner.usecases import ledger as cases
from runner.usecases.ledger import Author

PERSON = Author(HUMAN)


def speaks(repo: Path, **env: str) -> str:
    """Who speaks here, or the code of the error."""
    try:
        author = cases.person_or_run(str(repo), env)
    except RunnerError as error:
        return error.code
    return author.run_id or author.name


def a_pair(root: Path) -> tuple[RunDir, RunDir]:
    """A run and one that it has started."""
    parent = an_ended_run(root, task="parent")
    lineage = Lineage(parent.task_id, parent.run_id, f".runs/parent/cli/{parent.run_id}/manifest.json")
    child = adopt(parent, an_ended_run(root, task="child"))
    child.write_manifest(child.read_manifest().replace(parent=lineage))
    return parent, child


# -- who speaks ---------------------------------------------------------------------------------------------


def test_a_person_speaks_outside_and_a_run_inside(tmp_path: Path) -> None:
    run = an_ended_run(tmp_path)
    assert speaks(tmp_path) == "human"
    assert speaks(tmp_path, RUNNER_MANIFEST=run.manifest) == run.run_id


def test_what_is_no_run_of_ours_here_does_not_speak_at_all(tmp_path: Path) -> None:
    for name in ("here", "there"):
        (tmp_path / name).mkdir()
    there = an_ended_run(tmp_path / "there")
    foreign = an_ended_run(tmp_path / "here", task="foreign")
    Path(foreign.invocation).write_text("{}")
    gone = RunDir(str(tmp_path / "here"), "work", new_run_id())
    for manifest in (there.manifest, foreign.manifest, gone.manifest, "x", "\x01", "../.."):
        assert speaks(tmp_path / "here", RUNNER_MANIFEST=manifest) == "people_only"


SPEAK = """
import os, sys
from runner.errors import RunnerError
from runner.usecases.ledger import person_or_run
try:
    author = person_or_run(sys.argv[1], os.environ)
    print(author.run_id or author.name)
except RunnerError as error:
    print(error.code)
"""


def inside(root: Path, *manifests: str) -> str:
    """Who speaks in a process below processes with these markers, the farthest first; empty is none."""
    words = [sys.executable, "-c", SPEAK, str(root)]
    for manifest in reversed(manifests):
        give = ["env", f"RUNNER_MANIFEST={manifest}"] if manifest else ["env", "-u", "RUNNER_MANIFEST"]
        words = [*give, "bash", "-c", '"$@"; exit $?', "bash", *words]
    return subprocess.run(words, capture_output=True, text=True, check=True).stdout.strip()


def test_a_run_cannot_speak_as_another_one_that_it_names(tmp_path: Path) -> None:
    parent, child = a_pair(tmp_path)
    stranger = an_ended_run(tmp_path, task="stranger")
    assert inside(tmp_path, parent.manifest, child.manifest) == "people_only", "neither has this process"
    assert inside(tmp_path, child.manifest, child.manifest) == child.run_id
    assert inside(tmp_path, parent.manifest) == parent.run_id
    assert inside(tmp_path, parent.manifest, "") == parent.run_id, "a variable that is taken away"
    assert inside(tmp_path, parent.manifest, stranger.manifest) == "people_only"
    assert inside(tmp_path, child.manifest, parent.manifest) == "people_only"


AS_AGENT = """
import sys
from runner.processes.proc import identity_of, process_at
from runner.state.store import RunDir
field, words = sys.argv[1], sys.argv[3:]
run = RunDir.from_path(sys.argv[2].removesuffix("/manifest.json"))
import os, subprocess
run.write_manifest(run.read_manifest().replace(**{field: identity_of(process_at(os.getpid()))}))
os.environ["RUNNER_MANIFEST"] = run.manifest
sys.exit(subprocess.run(words, env={**os.environ, "RUNNER_MANIFEST": run.manifest}).returncode)
"""


def recorded(field: str, run: RunDir) -> list[str]:
    """A process that the run has on record, and below which the next words run."""
    return ["env", f"RUNNER_MANIFEST={run.manifest}", sys.executable, "-c", AS_AGENT, field, run.manifest]


def said(root: Path, *words: str) -> str:
    done = subprocess.run(
        [*words, sys.executable, "-c", SPEAK, str(root)], capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


def test_the_outermost_agent_above_a_process_speaks_and_no_run_below_it(tmp_path: Path) -> None:
    parent, child = a_pair(tmp_path)
    agent, owner = recorded("process", parent), recorded("supervisor", parent)
    forged = ["env", f"RUNNER_MANIFEST={child.manifest}"]
    below = [*recorded("supervisor", child), *recorded("process", child)]
    assert said(tmp_path, *agent, *forged) == parent.run_id
    assert said(tmp_path, *owner, *agent, *below) == parent.run_id, "a child is not below its parent's agent"
    assert said(tmp_path, *owner, *below) == child.run_id, "an owner is a child of its parent's owner"
    assert said(tmp_path, *owner, *forged) == "people_only"
    assert said(tmp_path, *owner, "env", "-u", "RUNNER_MANIFEST") == parent.run_id, "what an agent has left"


def test_what_only_looks_like_a_command_of_notify_is_no_person(tmp_path: Path) -> None:
    run = an_ended_run(tmp_path)
    supervise = Path(control.__file__).parents[1] / "supervise"
    calls = "import subprocess, sys; sys.exit(subprocess.run(sys.argv[2:]).returncode)"
    owner = [sys.executable, "-c", calls, str(supervise / "__main__.py")]
    notice = ["setsid", "-w", sys.executable, "-c", calls, str(supervise / "notices.py")]
    hidden = ["env", "-u", "RUNNER_MANIFEST"]
    assert said(tmp_path, *recorded("process", run), *owner, *notice, *hidden) == run.run_id
    assert said(tmp_path, *recorded("process", run), *hidden, *owner, *hidden, *notice) == run.run_id


@pytest.mark.parametrize(("group", "who"), [("/sys/fs/cgroup/x", "human"), (None, "people_only")])
def test_only_a_control_group_shows_that_a_command_of_notify_is_no_agent(
    group: str | None, who: str, tmp_path: Path
) -> None:
    run = an_ended_run(tmp_path)
    run.write_manifest(run.read_manifest().replace(cgroup=group))
    supervise = Path(control.__file__).parents[1] / "supervise"
    owner = recorded("supervisor", run)
    owner[4:6] = [AS_AGENT.replace("sys.argv[1]", "'supervisor'"), str(supervise / "__main__.py")]
    calls = "import subprocess, sys; sys.exit(subprocess.run(sys.argv[2:]).returncode)"
    notice = [sys.executable, "-c", calls, str(supervise / "notices.py"), "env", "-u", "RUNNER_MANIFEST"]
    assert said(tmp_path, *owner, "setsid", "-w", "env", "-u", "RUNNER_MANIFEST", *notice) == who


def test_inside_of_the_group_of_a_run_no_variable_is_needed_or_believed(tmp_path: Path) -> None:
    run, other = an_ended_run(tmp_path), an_ended_run(tmp_path, task="other")
    group = cgroup.make(run.run_id)
    if group is None:
        pytest.skip("no control group can be made here")
    enter = f"os.makedirs({group.path!r}, exist_ok=True)  # a supervisor beside us removes empty ones\n"
    enter += f"open({group.path!r} + '/cgroup.procs', 'w').write(str(os.getpid()))\n"
    code = f"import os\n{enter}{SPEAK}"
    try:
        for env in ({}, {"RUNNER_MANIFEST": other.manifest}):
            words = ["setsid", "-w", sys.executable, "-c", code, str(tmp_path)]
            known = {name: os.environ[name] for name in ("PATH", "XDG_STATE_HOME", "HOME")}
            done = subprocess.run(words, capture_output=True, text=True, check=True, env={**known, **env})
            assert done.stdout.strip() == run.run_id
    finally:
        group.remove()


def test_whose_group_a_cgroup_namespace_hides_is_no_person(tmp_path: Path) -> None:
    with a_group(tmp_path) as (enter, _):
        assert said(tmp_path, *enter, "unshare", "-C") == "people_only"


def test_who_is_shown_no_processes_is_no_person(tmp_path: Path) -> None:
    hide = ["unshare", "--mount", "sh", "-c", 'mount -t tmpfs none /proc && exec "$@"', "sh"]
    if subprocess.run([*hide, "true"], capture_output=True, check=False).returncode != 0:
        pytest.skip("/proc cannot be hidden here")
    assert said(tmp_path, *hide) == "people_only"


def test_a_person_in_a_container_that_shows_the_groups_of_its_host_is_one(tmp_path: Path) -> None:
    """As distrobox does below /run/host, and the container has mounted its own after that."""
    shown = 'mount --rbind / "$1" && umount -l "$2" && mount -t cgroup2 none "$2" && shift 2 && exec "$@"'
    (tmp_path / "host").mkdir()
    with a_group(tmp_path) as (enter, mount):
        words = [*enter, "unshare", "-C", "--mount", "sh", "-c", shown, "sh", str(tmp_path / "host"), mount]
        if subprocess.run([*words, "true"], capture_output=True, check=False).returncode != 0:
            pytest.skip("no container can be imitated here")
        assert said(tmp_path, *words) == "human"


@contextlib.contextmanager
def a_group(tmp_path: Path) -> Iterator[tuple[list[str], str]]:
    """What enters a control group below another one, and where their hierarchy is."""
    mounted = (line.split() for line in Path("/proc/self/mountinfo").read_text().splitlines())
    mount = next((Path(line[4]) for line in mounted if "cgroup2" in line), tmp_path)
    group = mount / f"test-{tmp_path.name}-{os.getpid()}" / "inner"
    enter = ["sh", "-c", 'echo $$ > "$0/cgroup.procs" && exec "$@"', str(group)]
    try:
        group.mkdir(parents=True)
        if subprocess.run([*enter, "unshare", "-C", "true"], capture_output=True).returncode != 0:
            raise OSError("nobody can enter it, or hide it")
    except OSError:
        pytest.skip("no control group can be made or hidden here")
    try:
        yield enter, str(mount)
    finally:
        for folder in (group, group.parent):
            with contextlib.suppress(OSError):
                folder.rmdir()


def test_a_run_neither_signs_nor_sets_aside_nor_names_who_writes_git(tmp_path: Path) -> None:
    run = an_ended_run(tmp_path)
    ledger = Ledger(str(tmp_path), "work")
    for author in (cases.of_run(run), Author("owner"), Author("human", run)):
        for act, more in (
            (cases.decide, {"signs": True}),
            (cases.decide, {"signs": False, "proposal": "e-0001"}),
            (cases.set_coordinator, {"owner": "work"}),
            (cases.set_aside, {}),
        ):
            with pytest.raises(RunnerError) as found:
                act(ledger, author, **more)
            assert found.value.code == "people_only"


# -- what is written ----------------------------------------------------------------------------------------

SECRET = "ghp_" + "a1B2c3D4e5F6g7H8i9J0k1L2m3N4o5P6q7R8"


def test_no_secret_and_no_control_character_comes_into_a_ledger(tmp_path: Path) -> None:
    ledger = Ledger(str(tmp_path), "work")
    text = f"token {SECRET} \x1b]0;title\x07\x1b[31mred\u202e"
    cases.append(ledger, PERSON, EntryType.NOTE, {"text": text})
    cases.append(ledger, PERSON, EntryType.MESSAGE, {"text": text}, to="build")
    cases.append(
        ledger,
        PERSON,
        EntryType.HANDOFF,
        {"reason": text, "ask": text, "context_refs": [f"a#{SECRET}"]},
        to="build",
    )
    cases.append(
        ledger,
        PERSON,
        EntryType.ARTIFACT,
        {"kind": "test_report", "title": text, "summary": text, "status": "passed", "evidence": [text, text]},
    )
    cases.append(
        ledger,
        PERSON,
        EntryType.FINALITY_PROPOSED,
        {"summary": text, "evidence": text, "remaining_risk": text},
    )
    cases.decide(ledger, PERSON, signs=True, note=text)
    for refused in (
        lambda: cases.append(ledger, PERSON, EntryType.MESSAGE, {"text": "x"}, to=SECRET),
        lambda: cases.append(ledger, PERSON, EntryType.HANDOFF, {"reason": "r", "ask": "a"}, to=SECRET),
        lambda: cases.append(
            ledger, PERSON, EntryType.HANDOFF, {"reason": "r", "ask": "a", "lane": SECRET}, to="build"
        ),
        lambda: cases.append(ledger, PERSON, EntryType.NOTE, {"text": "x"}, handles=[SECRET]),
    ):
        with pytest.raises(RunnerError):
            refused()
    data = Path(ledger.path).read_bytes() + Path(ledger.path).with_name(".ledger.head").read_bytes()
    assert SECRET.encode() not in data
    assert not {"\\u001b", "\x1b", "\u202e"} & {
        part for part in ("\\u001b", "\x1b", "\u202e") if part in data.decode()
    }
    assert ledger.look(all_of_it=True).is_whole


@pytest.mark.parametrize(
    ("payload", "code"),
    [
        ({"text": ""}, "entry_invalid"),
        ({"text": " \n"}, "entry_invalid"),
        ({"text": "\x1b[0m"}, "entry_invalid"),
        ({"text": "x" * 64 * 1024}, None),
        ({"text": "x" * (64 * 1024 + 1)}, "entry_invalid"),
        ({"text": "x" * 10_000_000}, "entry_invalid"),
        ({"text": 1}, "entry_invalid"),
        ({"text": ["x"]}, "entry_invalid"),
        ({"text": "half \ud800"}, None),
        ({"text": "x", "more": "y"}, "entry_invalid"),
    ],
    ids=lambda value: repr(value)[:30],
)
def test_a_note_is_a_text_of_a_bounded_size(
    payload: dict[str, Any], code: str | None, tmp_path: Path
) -> None:
    ledger = Ledger(str(tmp_path), "work")
    found = None
    with ends_within(20):
        try:
            cases.append(ledger, PERSON, EntryType.NOTE, payload)
        except RunnerError as error:
            found = error.code
    assert found == code
    assert len(ledger.entries()) == (code is None)


# -- references ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("ref", "told"),
    [
        ("a.py", "a.py"),
        ("src/../a.py:12", "a.py:12"),
        ("./a.py#L3-L5", "a.py#L3-L5"),
        ("a.py:12:5", "a.py:12:5"),
        ("..hidden/a", "..hidden/a"),
        ("a:b.txt", "a:b.txt"),
        ("ROOT/src/a.py", "src/a.py"),
        ("REAL/src/a.py:3", "src/a.py:3"),
        ("inner/a.py", "inner/a.py"),
        (".", "."),
        ("", None),
        ("#L3", None),
        ("..", None),
        ("../a", None),
        ("src/../../a", None),
        ("/etc/passwd", None),
        ("ROOT-beside/a", None),
        ("outer/a", None),
        ("x:/../../a", None),
        ("a:out", None),
        ("a\0b", None),
        ("a#\0", None),
        ("\ud800", None),
        ("x/" * 3000, None),
    ],
    ids=lambda value: repr(value)[:24],
)
def test_a_reference_leads_into_the_repository(ref: str, told: str | None, tmp_path: Path) -> None:
    real = tmp_path / "real"
    (real / "src").mkdir(parents=True)
    (tmp_path / "repo").symlink_to(real)
    (real / "outer").symlink_to(tmp_path)
    (real / "inner").symlink_to(real / "src")
    (real / "a:out").symlink_to("/etc/passwd")
    ref = ref.replace("ROOT", str(tmp_path / "repo")).replace("REAL", str(real))
    try:
        found = references(str(tmp_path / "repo"), [ref])
    except RunnerError as error:
        assert (error.code, told) == ("entry_invalid", None)
    else:
        assert found == [told]


def test_a_million_references_are_refused_at_once(tmp_path: Path) -> None:
    with ends_within(5), pytest.raises(RunnerError, match="at most 100"):
        references(str(tmp_path), ["a/b"] * 1_000_000)


# -- what is read -------------------------------------------------------------------------------------------


def test_a_broken_ledger_is_not_read_as_if_it_ended_there(tmp_path: Path) -> None:
    ledger = Ledger(str(tmp_path), "work")
    for text in ("one", "two", "three"):
        cases.append(ledger, PERSON, EntryType.NOTE, {"text": text})
    Path(ledger.path).write_bytes(Path(ledger.path).read_bytes().replace(b"two", b"tw0"))
    for read in (cases.context, cases.state, lambda one: cases.wait(one, 0, 0)):
        with pytest.raises(RunnerError) as found:
            read(ledger)
        assert found.value.code == "ledger_broken"


def test_what_is_refused_in_a_ledger_that_nobody_has_begun_leaves_nothing(tmp_path: Path) -> None:
    ledger = Ledger(str(tmp_path), "work")
    for refused in (
        lambda: cases.decide(ledger, PERSON, signs=True),
        lambda: cases.append(ledger, PERSON, EntryType.NOTE, {"text": "x"}, handles=("e-0001",)),
        lambda: cases.append(ledger, PERSON, EntryType.NOTE, {"text": ""}),
        lambda: cases.set_aside(ledger, PERSON),
    ):
        with pytest.raises(RunnerError):
            refused()
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("since", [None, 0])
def test_where_there_is_no_ledger_a_wait_ends_in_time(since: int | None, tmp_path: Path) -> None:
    found = cases.wait(Ledger(str(tmp_path), "work"), since, 0.05)
    assert (found["entries"], found["seq"], found["timed_out"]) == ([], 0, True)


def test_who_waits_behind_an_entry_that_is_not_there_is_told_so(tmp_path: Path) -> None:
    ledger = Ledger(str(tmp_path), "work")
    for _ in range(3):
        cases.append(ledger, PERSON, EntryType.NOTE, {"text": "x"})
    Path(ledger.path).write_bytes(b"broken")
    cases.set_aside(ledger, PERSON)
    for since in (3, 2):
        with pytest.raises(RunnerError, match=f"ends at entry 1, before {since}"), ends_within(20):
            cases.wait(ledger, since, None)
    assert cases.wait(ledger, 0, None)["seq"] == 1


def test_a_host_that_read_a_ledger_is_given_all_of_the_one_that_took_its_place(tmp_path: Path) -> None:
    (tmp_path / ".git").mkdir()
    ledger, host = Ledger(str(tmp_path), "work"), Caller(str(tmp_path), None, ())
    for _ in range(3):
        cases.append(ledger, PERSON, EntryType.NOTE, {"text": "x"})
    waits = {"task_id": "work", "timeout_s": 0}
    assert ledger_tools.wait_for_messages(host, waits)["next_since_seq"] == 3
    Path(ledger.path).write_bytes(b"broken")
    cases.set_aside(ledger, PERSON)
    found = ledger_tools.wait_for_messages(host, waits)
    assert [entry["type"] for entry in found["entries"]] == ["restarted"]


def test_a_run_hears_what_came_after_its_start_where_the_clock_went_back(tmp_path: Path) -> None:
    run = an_ended_run(tmp_path, run_id=new_run_id(time.time() + 3600))
    ledger, agent = Ledger(str(tmp_path), "work"), Caller(str(tmp_path), run, ())
    cases.append(ledger, PERSON, EntryType.NOTE, {"text": "before"})
    told = {"task": "work", "runtime": "codex", "sandbox": "read-only"}
    assert ledger.tell([NewEntry(EntryType.RUN_STARTED, "runner", told, run_id=run.run_id)], str)
    cases.append(ledger, PERSON, EntryType.NOTE, {"text": "after"})
    heard = ledger_tools.wait_for_messages(agent, {"timeout_s": 0})["entries"]
    assert [entry["payload"]["text"] for entry in heard] == ["after"]


def test_a_handoff_to_a_task_with_the_name_of_a_runtime_is_for_the_task_alone(tmp_path: Path) -> None:
    for name in ("codex", "build"):
        (tmp_path / ".runs" / name / "cli").mkdir(mode=0o700, parents=True)
    ledger = Ledger(str(tmp_path), "work")
    (tmp_path / "delegate.toml").write_text('schema_version = 1\n[tasks.codex]\nprompt = "x"\n')
    asked = {"reason": "r", "ask": "a"}
    handoff = cases.append(ledger, PERSON, EntryType.HANDOFF, asked, to="codex")
    assert handoff.payload["receiver"] == "task"
    build, codex = (RunDir(str(tmp_path), name, new_run_id()) for name in ("build", "codex"))
    answer = {"text": "done"}
    other = cases.append(ledger, Author("build", build, "codex"), EntryType.REPLY, answer)
    assert other.handles == (), "it is a run of that runtime, and of another task"
    own = cases.append(ledger, Author("codex", codex, "claude"), EntryType.REPLY, answer)
    assert own.handles == (handoff.id,)
    free = cases.append(ledger, PERSON, EntryType.HANDOFF, asked, to="claude")
    assert "receiver" not in free.payload


def test_runner_takes_nothing_and_a_message_closes_nothing(tmp_path: Path) -> None:
    ledger = Ledger(str(tmp_path), "work")
    handoff = cases.append(ledger, PERSON, EntryType.HANDOFF, {"reason": "r", "ask": "a"}, to="build")
    for kind, payload, to, handles in (
        (EntryType.HANDOFF, {"reason": "r", "ask": "a"}, "runner", ()),
        (EntryType.MESSAGE, {"text": "x"}, "runner", ()),
        (EntryType.MESSAGE, {"text": "x"}, "build", (handoff.id,)),
    ):
        with pytest.raises(RunnerError) as found:
            cases.append(ledger, PERSON, kind, payload, to=to, handles=handles)
        assert found.value.code == "entry_invalid"


def of_three_hundred(root: Path) -> Ledger:
    """Of the entries of a person; each third one is of an owner."""
    ledger, said = Ledger(str(root), "work"), {"text": "x"}
    drafts = [NewEntry(EntryType.NOTE, who, said) for who in (HUMAN, HUMAN, OWNER)]
    assert ledger.tell(drafts * 100, str)
    return ledger


def test_who_waits_is_given_the_oldest_entries_of_others_page_by_page(tmp_path: Path) -> None:
    ledger, pages, found = of_three_hundred(tmp_path), list[list[int]](), {"seq": 0, "more": True}
    while found["more"]:
        found = cases.wait(ledger, found["seq"], 0, to=Author(OWNER))
        pages.append([entry["seq"] for entry in found["entries"]])
    assert [len(page) for page in pages] == [100, 100] and found["seq"] == 300
    assert [*pages[0], *pages[1]] == [seq for seq in range(1, 301) if seq % 3]
    assert cases.wait(ledger, 0, 0, kinds=(EntryType.REPLY,))["entries"] == []


def test_a_page_of_the_oldest_entries_reads_none_behind_it(tmp_path: Path) -> None:
    ledger = of_three_hundred(tmp_path)
    look, path = ledger.believed(), Path(ledger.path)
    path.write_bytes(path.read_bytes()[:-9] + b"}" * 8 + b"\n")
    following = ledger.following(250, (), look)
    assert [entry.seq for entry in islice(following, 49)] == [*range(251, 300)]
    with pytest.raises(RunnerError, match="e-0300 was changed"):
        next(following)


def test_one_who_waits_again_and_again_misses_nothing(tmp_path: Path) -> None:
    ledger, me = Ledger(str(tmp_path), "work"), Author("owner")

    def write(name: str) -> None:
        own = Ledger(str(tmp_path), "work")
        for number in range(25):
            cases.append(own, PERSON, EntryType.NOTE, {"text": f"{name} {number}"})
            if number % 5 == 0:
                cases.append(own, me, EntryType.NOTE, {"text": "my own"})

    writers = [threading.Thread(target=write, args=(name,)) for name in "ab"]
    for writer in writers:
        writer.start()
    seen, seq = list[dict[str, Any]](), 0
    with ends_within(60):
        while len(seen) < 50:
            found = cases.wait(ledger, seq, 0.01, to=me)
            seen, seq = [*seen, *found["entries"]], found["seq"]
    for writer in writers:
        writer.join()
    others = [entry.seq for entry in ledger.entries() if entry.actor == "human"]
    assert [entry["seq"] for entry in seen] == others
    assert cases.wait(ledger, seq, 0, to=me)["entries"] == []


def bytes_read() -> int:
    return int(Path("/proc/self/io").read_text().split()[1])


def test_a_ledger_without_a_head_is_read_once_however_many_lanes_are_open(tmp_path: Path) -> None:
    ledger, ask = Ledger(str(tmp_path), "work"), "a" * 8000
    for number in range(90):
        told = {"reason": "r", "ask": ask, "lane": f"lane-{number}"}
        cases.append(ledger, PERSON, EntryType.HANDOFF, told, to="review")
    Path(ledger.path).with_name(".ledger.head").unlink()
    size, before = os.path.getsize(ledger.path), bytes_read()
    assert len(cases.context(Ledger(str(tmp_path), "work"), limit=1)["open_handoffs"]) == 90
    assert bytes_read() - before < 40 * size, "to find each of them, it is halved"


def test_a_proposal_of_a_run_that_was_rejected_waits_with_the_reason(tmp_path: Path) -> None:
    ledger, run = Ledger(str(tmp_path), "work"), an_ended_run(tmp_path)
    proposal = NewEntry(
        EntryType.FINALITY_PROPOSED, "work", {"summary": "it is done", "evidence": "e"}, run_id=run.run_id
    )
    ended = NewEntry(
        EntryType.RUN_ENDED, "runner", {"status": "rejected", "outcome": "rejected"}, run_id=run.run_id
    )
    for draft in (proposal, ended):
        ledger.append(draft, str)
    (item,) = (item for item in inbox.waiting(str(tmp_path)) if item.kind == "proposal")
    assert item.text.endswith("it is done\nthe run that proposed it ended as rejected")
    assert item.commands[0].endswith("--proposal e-0001")
    with pytest.raises(ProposalOutdated, match="ended as rejected"):
        cases.decide(ledger, PERSON, signs=True)
    assert cases.state(ledger)["finality"]["run_ended"] == "rejected"
    cases.decide(ledger, PERSON, signs=False, proposal="e-0001")
    assert not [item for item in inbox.waiting(str(tmp_path)) if item.kind == "proposal"]


def test_a_hint_names_the_task_and_the_command_that_is_meant(tmp_path: Path) -> None:
    ledger, me = Ledger(str(tmp_path), "work"), Author("human")
    with pytest.raises(RunnerError) as bad:
        cases.append(ledger, me, EntryType.MESSAGE, {"text": ""}, to="work")
    assert "`runner ledger send --help`" in (bad.value.hint or "")
    with pytest.raises(RunnerError) as none:
        cases.decide(ledger, me, signs=True)
    assert none.value.hint == "`runner ledger propose work` makes one"

"""The snapshot: a start with unchanged settings is light, and no change of any input goes unseen."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from runner.config.snapshot import settles

ROOT = Path(__file__).parents[2]
TASK = '[tasks.hello]\nprompt = "x"\ntimeout = "2h"\n'
HOUR = 3600.0
PROGRAM = """
import json, sys
sys.path.insert(0, sys.argv[1])
from runner.config import load
config = load(sys.argv[2], env=json.loads(sys.argv[3]), system_policy=sys.argv[4])
task = config.tasks["hello"]
print(json.dumps([task.timeout_s, sorted(sys.modules)]))
"""


def in_a_new_process(repo, code: Path = ROOT) -> subprocess.Popen[str]:
    words = [str(code), str(repo.root), json.dumps(repo.env), str(repo.system_policy)]
    return subprocess.Popen([sys.executable, "-I", "-c", PROGRAM, *words], stdout=subprocess.PIPE, text=True)


def timeout(repo, **more: object) -> float | None:
    return repo.load(**more).tasks["hello"].timeout_s


def test_a_second_load_imports_neither_pydantic_nor_tomlkit_and_starts_no_process(repo):
    repo.write(TASK)
    seconds = []
    for heavy in (True, False):
        with in_a_new_process(repo) as process:
            found, modules = json.loads(process.communicate(timeout=60)[0])
        seconds.append(found)
        assert not {"pydantic", "pydantic_settings", "tomlkit"} & set(modules)
        assert heavy or not {"pathlib", "typing", "dataclasses", "inspect"} & set(modules)
        assert ("subprocess" in modules) is heavy

    assert seconds == [2 * HOUR, 2 * HOUR]


@pytest.mark.parametrize(
    ("module", "matters"), [("config/effective.py", True), ("model.py", True), ("cli/app.py", False)]
)
def test_a_snapshot_is_stale_once_code_that_made_it_has_changed(repo, tmp_path, module, matters):
    repo.write(TASK)
    shutil.copytree(ROOT / "runner", tmp_path / "code/runner", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(ROOT / "schemas", tmp_path / "code/schemas")
    compiled = []
    for _ in range(3):
        with in_a_new_process(repo, tmp_path / "code") as process:
            compiled.append("subprocess" in json.loads(process.communicate(timeout=60)[0])[1])
        if len(compiled) == 2:
            with (tmp_path / "code/runner" / module).open("a") as file:
                file.write("# changed\n")

    assert compiled == [True, False, matters]


def test_another_installation_does_not_believe_a_snapshot(repo, tmp_path):
    repo.write(TASK)
    shutil.copytree(ROOT / "runner", tmp_path / "code/runner", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(ROOT / "schemas", tmp_path / "code/schemas")
    for code in (ROOT, tmp_path / "code"):
        with in_a_new_process(repo, code) as process:
            assert "subprocess" in json.loads(process.communicate(timeout=60)[0])[1]


def test_what_a_snapshot_says_is_what_compiling_says(repo):
    repo.write((ROOT / "delegate.toml.example").read_text())
    repo.write('models = ["gpt-*"]\nenv = ["*"]\n', repo.system_policy)

    first, second = repo.load(), repo.load()

    assert first.replace(tasks=dict(first.tasks), origins=dict(first.origins)) == second.replace(
        tasks=dict(second.tasks), origins=dict(second.origins)
    )


def test_an_edit_of_the_same_size_at_the_same_time_is_seen(repo):
    repo.write(TASK)
    before = os.stat(repo.file)
    assert timeout(repo) == 2 * HOUR
    with repo.file.open("r+") as file:
        file.write(TASK.replace("2h", "3h"))
    os.utime(repo.file, ns=(before.st_atime_ns, before.st_mtime_ns))

    assert timeout(repo) == 3 * HOUR


def test_a_file_changed_in_the_tick_of_the_snapshot_is_compared_by_its_content(repo):
    """The worst case: all times, size and inode are as recorded, and only the bytes differ."""
    repo.write(TASK)
    assert timeout(repo) == 2 * HOUR
    (path,) = repo.cache.iterdir()
    repo.write(TASK.replace("2h", "3h"))
    now = os.stat(repo.file)
    snapshot = json.loads(path.read_text())
    stamp = snapshot["inputs"][str(repo.file)]
    stamp[:4] = [now.st_mtime_ns, now.st_size, now.st_ino, now.st_ctime_ns]
    path.write_text(json.dumps(snapshot))

    assert timeout(repo) == 3 * HOUR


def test_a_file_that_replaces_another_is_seen(repo):
    repo.write(TASK)
    assert timeout(repo) == 2 * HOUR
    other = repo.root / "other.toml"
    repo.write(TASK.replace("2h", "4h"), other)
    other.replace(repo.file)

    assert timeout(repo) == 4 * HOUR


@pytest.mark.parametrize("name", ["user", "local"])
def test_a_layer_that_appears_or_goes_away_is_seen(repo, name):
    repo.write('[tasks.hello]\nprompt = "x"\n')
    layers = {
        "user": repo.user_folder / "config.toml",
        "local": repo.root / "delegate.local.toml",
    }
    assert timeout(repo) == 2 * HOUR
    repo.write('[defaults]\ntimeout = "1h"\n', layers[name])
    assert timeout(repo) == HOUR
    layers[name].unlink()

    assert timeout(repo) == 2 * HOUR


@pytest.mark.parametrize("name", ["user", "system"])
def test_a_policy_that_appears_is_seen(repo, name):
    policies = {"user": repo.user_folder / "policy.toml", "system": repo.system_policy}
    repo.write(TASK)
    assert repo.load().policy.network is None
    repo.write("network = false\n", policies[name])

    assert repo.load().policy.network is False


def test_a_variable_or_an_option_that_changes_is_seen(repo):
    repo.write('[tasks.hello]\nprompt = "x"\n')
    assert timeout(repo) == 2 * HOUR
    repo.env["RUNNER_DEFAULTS__TIMEOUT"] = "1h"
    assert timeout(repo) == HOUR
    assert timeout(repo, sets=["defaults.timeout=3h"]) == 3 * HOUR
    assert timeout(repo) == HOUR
    del repo.env["RUNNER_DEFAULTS__TIMEOUT"]

    assert timeout(repo) == 2 * HOUR


def test_another_named_file_is_another_configuration(repo):
    repo.write(TASK)
    other = repo.root / "other.toml"
    repo.write(TASK.replace("2h", "1h"), other)

    assert timeout(repo) == 2 * HOUR
    assert timeout(repo, config_file=str(other)) == HOUR
    assert timeout(repo) == 2 * HOUR


@pytest.mark.parametrize("damage", [b"", b"{", b"[]", b"{}", b"\xff\0", b'{"key": 1}', b"[" * 9999])
def test_a_damaged_snapshot_is_made_again(repo, damage):
    repo.write(TASK)
    repo.load()
    (path,) = repo.cache.iterdir()
    path.write_bytes(damage)

    assert timeout(repo) == 2 * HOUR
    assert json.loads(path.read_text())["config"]["tasks"]


def test_a_snapshot_without_what_we_need_is_made_again(repo):
    repo.write(TASK)
    repo.load()
    (path,) = repo.cache.iterdir()
    snapshot = json.loads(path.read_text())
    del snapshot["config"]["sandboxes"]
    path.write_text(json.dumps(snapshot))

    assert "read-only" in repo.load().sandboxes


@pytest.mark.parametrize("mode", [0o620, 0o602])
def test_a_snapshot_that_others_may_write_is_not_believed(repo, mode):
    repo.write(TASK)
    repo.load()
    (path,) = repo.cache.iterdir()
    path.write_text(path.read_text().replace("7200.0", "1.0"))
    assert timeout(repo) == 1.0
    path.chmod(mode)

    assert timeout(repo) == 2 * HOUR


def test_a_snapshot_that_is_a_link_is_not_believed(repo):
    repo.write(TASK)
    repo.load()
    (path,) = repo.cache.iterdir()
    forged = repo.root / "forged.json"
    forged.write_text(path.read_text().replace("7200.0", "1.0"))
    path.unlink()
    path.symlink_to(forged)

    assert timeout(repo) == 2 * HOUR


def test_nothing_is_kept_where_a_run_could_write_it(repo):
    repo.write(TASK)
    repo.env["XDG_CACHE_HOME"] = str(repo.root / ".cache")

    assert timeout(repo) == 2 * HOUR
    assert not (repo.root / ".cache").exists()


def test_a_cache_that_cannot_be_written_is_no_error(repo):
    repo.write(TASK)
    (repo.home / ".cache").write_text("a file where the folder should be")

    assert timeout(repo) == 2 * HOUR
    assert timeout(repo) == 2 * HOUR


@pytest.mark.parametrize("put", [os.mkdir, os.mkfifo])
def test_what_stands_in_the_place_of_a_snapshot_is_passed_over(repo, put):
    repo.write(TASK)
    assert timeout(repo) == 2 * HOUR
    stored = [*(repo.home / ".cache" / "runner" / "config").iterdir()]
    assert stored
    for path in stored:
        path.unlink()
        put(path)
    assert timeout(repo) == 2 * HOUR


def test_processes_that_start_at_once_all_get_their_answer(repo):
    repo.write(TASK)
    processes = [in_a_new_process(repo) for _ in range(3)]
    answers = [json.loads(process.communicate(timeout=120)[0])[0] for process in processes]

    assert answers == [2 * HOUR] * 3
    assert [path.suffix for path in repo.cache.iterdir()] == [".json"]


def test_hundreds_of_tasks_are_built_only_when_they_are_asked_for(repo):
    repo.write("".join(f'[tasks.t{n}]\nprompt = "{n}"\n' for n in range(300)))

    tasks = repo.load().tasks

    assert len(tasks) == 300
    assert tasks["t299"].prompt == "299"
    assert "t300" not in tasks
    with pytest.raises(KeyError):
        tasks["t300"]


@pytest.mark.parametrize(
    ("changed", "written", "now", "settled"),
    [
        (10.0, 10.5, 13.0, True),
        (10.0, 10.5, 11.0, False),
        (10.0, 13.0, 20.0, False),
        (15.0, 10.5, 13.0, False),
    ],
    ids=["long ago by now", "not yet", "was so from the start", "in the future"],
)
def test_contents_are_compared_until_the_files_are_old_enough(changed, written, now, settled):
    stamp = [round(changed * 1e9), 1, 1, round(changed * 1e9), "digest"]
    snapshot = {"written_ns": round(written * 1e9), "inputs": {"/a": stamp, "/b": None}}

    assert settles(snapshot, round(now * 1e9)) is settled

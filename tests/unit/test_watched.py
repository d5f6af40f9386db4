"""What an agent could change and what decides about later runs: seen at the start, compared at the end."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from support.values import a_config, a_task

from runner.config.snapshot import config_from_json, config_to_json
from runner.disk.programs import stamp
from runner.invocation import Request
from runner.model import Config, Level, Model, Sandbox
from runner.resolve.choose import Choice
from runner.state.watched import TO_COME, changed, digest_of, rewritten
from runner.usecases.watched import started, watched
from runner.verify.inspect import Severity, of_settings


def choice(config: Config, level: Level = Level.WORKSPACE_WRITE, **asked: str) -> Choice:
    task = config.tasks["hello"]
    sandbox = Sandbox("s", level)
    return Choice(config, Request("hello", **asked), task, "codex", config.runtimes["codex"], None, sandbox)


def a_repo(tmp_path: Path) -> Config:
    (tmp_path / "delegate.toml").write_text("x = 1\n")
    (tmp_path / "task.md").write_text("Do it.\n")
    tasks = (a_task(), a_task(id="other", prompt=None, prompt_file="task.md", rehearsal_script="play.toml"))
    files = (str(tmp_path / "delegate.toml"), str(tmp_path / "delegate.local.toml"), "/home/u/config.toml")
    return a_config(*tasks, root=str(tmp_path), files=files)


def test_the_settings_and_the_files_of_every_task_are_watched_where_an_agent_can_write(
    tmp_path: Path,
) -> None:
    config = a_repo(tmp_path)
    found = watched(choice(config))
    assert set(found) == {"delegate.toml", "delegate.local.toml", "task.md", "play.toml"}
    assert found["delegate.local.toml"] == "" != found["task.md"]
    for asked in ({"map": str(tmp_path / "map.md")}, {"rehearsal_script": "asked.toml"}):
        assert set(watched(choice(config, **asked))) == {*found, Path(*asked.values()).name}
    assert watched(choice(config, Level.READ_ONLY)) == {}


def test_what_the_agents_program_is_told_to_start_is_watched(tmp_path: Path) -> None:
    config = a_repo(tmp_path)
    (tmp_path / "plain").write_text("#!/bin/sh\n")
    servers = {"a": {"command": "./server", "args": ["tools/x.py", "plain", "-c", "echo a/b"]}}
    servers["a"]["args"] += ["--log", "tools/x.log", "--db-path", "data.sqlite3"]  # it writes these itself
    told = {"mcp_servers": servers, "notify": ["python3", "notify.py"], "base_url": "https://a/b"}
    codex = config.runtimes["codex"].replace(config=told)
    found = watched(choice(config.replace(runtimes={"codex": codex})))
    assert set(found) - set(watched(choice(config))) == {"server", "tools/x.py", "plain", "notify.py"}


@pytest.mark.parametrize("program", ["python3.11", "/usr/bin/node"])
def test_a_server_that_is_a_module_or_a_folder_is_watched_and_a_folder_to_work_on_is_not(
    tmp_path: Path, program: str
) -> None:
    config = a_repo(tmp_path)
    for name in ("srv/index.js", "srv/__main__.py", "index.js", "pkg/sub.py"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("1")
    servers = {"a": {"command": program, "args": ["-u", "srv", "--root", "."]}}
    servers["b"] = {"command": program, "args": ["-m", "pkg.sub"]}
    codex = config.runtimes["codex"].replace(config={"mcp_servers": servers})
    found = started(codex, str(tmp_path))
    run = {"srv/index.js", "srv/__main__.py", "pkg/sub.py", "pkg/__init__.py"}
    assert run <= set(found)
    for name in (*run, "index.js", "__main__.py"):
        (tmp_path / name).write_text("2")
    assert set(rewritten(str(tmp_path), found)) == run


def test_what_every_python_of_this_environment_would_execute_is_watched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the project is installed in editable mode beside runner."""
    monkeypatch.syspath_prepend(str(tmp_path / "src"))
    monkeypatch.syspath_prepend("/elsewhere")
    found = watched(choice(a_repo(tmp_path)))
    assert {"src/sitecustomize.py", "src/usercustomize.py"} < {*found}
    assert not any("elsewhere" in path for path in found), "it is out of reach"


def test_the_programs_of_runtimes_that_other_tasks_use_are_watched(tmp_path: Path) -> None:
    config = a_repo(tmp_path)
    kay = config.runtimes["codex"].replace(name="kay", command="tools/kay", config={"notify": ["./told"]})
    found = watched(choice(config.replace(runtimes={**config.runtimes, "kay": kay})))
    assert set(found) - set(watched(choice(config))) == {"tools/kay", "told"}


def test_without_a_sandbox_the_settings_of_the_user_are_watched_too(tmp_path: Path) -> None:
    assert "/home/u/config.toml" in watched(choice(a_repo(tmp_path), Level.DANGER))


@pytest.mark.parametrize("kind", ["other text", "new", "gone", "a link", "a FIFO", "a folder"])
def test_whatever_becomes_of_a_watched_file_it_has_changed(tmp_path: Path, kind: str) -> None:
    then = watched(choice(a_repo(tmp_path)))
    assert changed(str(tmp_path), then, ()) == ()
    path = tmp_path / ("delegate.local.toml" if kind == "new" else "task.md")
    if kind not in ("other text", "new"):
        path.unlink()
    if kind in ("other text", "new"):
        path.write_text("Do something else.\n")
    elif kind == "a link":
        path.symlink_to("/etc/hostname")
    elif kind == "a FIFO":
        os.mkfifo(path)
    elif kind == "a folder":
        path.mkdir()
    assert changed(str(tmp_path), then, ()) == (path.name,)


def test_the_same_text_in_a_new_file_is_no_change(tmp_path: Path) -> None:
    then = watched(choice(a_repo(tmp_path)))
    (tmp_path / "new").write_text("Do it.\n")
    (tmp_path / "new").rename(tmp_path / "task.md")
    assert changed(str(tmp_path), then, ()) == ()


def test_a_change_that_git_saw_in_a_tree_of_the_runs_own_counts(tmp_path: Path) -> None:
    then = watched(choice(a_repo(tmp_path)))
    assert changed(str(tmp_path), then, ("src/a.py", "delegate.toml")) == ("delegate.toml",)


def test_a_script_that_is_missing_counts_where_git_sees_it_come(tmp_path: Path) -> None:
    (tmp_path / "there.sh").touch()
    config = a_repo(tmp_path).replace(trust={"scripts": ("there.sh", "missing.sh", "node_modules/.bin/x")})
    then = watched(choice(config))
    assert {name for name, digest in then.items() if digest == TO_COME} == {
        "missing.sh",
        "node_modules/.bin/x",
    }
    (tmp_path / "missing.sh").touch()
    assert changed(str(tmp_path), then, ()) == ()
    assert changed(str(tmp_path), then, ("there.sh", "missing.sh")) == ("missing.sh",)


@pytest.mark.parametrize(
    ("scope", "severity"),
    [((), Severity.ERROR), (("src/**",), Severity.ERROR), (("delegate.toml",), Severity.WARNING)],
)
def test_a_change_of_settings_that_no_diff_shows_is_an_error_unless_the_scope_names_it(
    scope: tuple[str, ...], severity: Severity
) -> None:
    (found,) = of_settings(scope, ("delegate.toml",))
    assert (found.code, found.severity, found.evidence) == ("settings_changed", severity, ("delegate.toml",))
    assert of_settings(scope, ()) == ()
    (shown,) = of_settings(scope, ("delegate.toml",), ["delegate.toml", "src/a.py"])
    assert shown.severity is Severity.WARNING


# -- the program -----------------------------------------------------------------------------------------


def test_a_program_is_its_file_and_the_interpreter_that_a_script_names(tmp_path: Path) -> None:
    for name, line in (("node", "#!/bin/sh"), ("codex", "#!/usr/bin/env -S node --flag"), ("plain", "")):
        (tmp_path / name).write_text(f"{line}\n")
        (tmp_path / name).chmod(0o755)
    env = {"PATH": f"{tmp_path}:/usr/bin"}
    paths = [line.rpartition(" ")[0] for line in stamp(f"{tmp_path}/codex", env)]
    assert paths == [f"{tmp_path}/codex", "/usr/bin/env", f"{tmp_path}/node"]
    assert len(stamp(f"{tmp_path}/plain", env)) == 1
    before = stamp(f"{tmp_path}/codex", env)
    (tmp_path / "node").write_text("#!/bin/sh\necho other\n")
    assert stamp(f"{tmp_path}/codex", env) != before


def test_another_interpreter_further_ahead_on_path_is_another_program(tmp_path: Path) -> None:
    (tmp_path / "codex").write_text("#!/usr/bin/env python3\n")
    env = {"PATH": f"{tmp_path}:/usr/bin:/bin"}
    before = stamp(f"{tmp_path}/codex", env)
    (tmp_path / "python3").symlink_to("/bin/true")
    assert stamp(f"{tmp_path}/codex", env) != before


# -- frozen settings -------------------------------------------------------------------------------------


def test_settings_come_back_as_they_were_kept() -> None:
    config = a_config(
        a_task(), a_task(id="other", verify=(("a", "b"),)), models={"m": Model("m", "x")}, files=("/a",)
    )
    again = config_from_json(config_to_json(config))
    assert {name: again.tasks[name] for name in again.tasks} == config.tasks
    assert again.replace(tasks={}, origins={}) == config.replace(tasks={}, origins={})
    assert config_to_json(again) == config_to_json(config_from_json(config_to_json(again)))


def test_the_supervisor_starts_without_what_a_pth_file_says(tmp_path: Path) -> None:
    """`-I` alone reads them."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", tmp_path / "v"], check=True)
    (packages,) = tmp_path.glob("v/lib/python*/site-packages")
    (packages / "zz.pth").write_text(f"import os; open({str(tmp_path / 'evil')!r}, 'w')\n")
    program = tmp_path / "v/bin/python"
    root = Path(__file__).parents[2]
    for main in ("supervise", "rehearsal", "workspace"):
        words = [program, "-I", "-S", root / "runner" / main / "__main__.py", "--help"]
        subprocess.run(words, capture_output=True, check=False, timeout=30)
    assert not (tmp_path / "evil").exists()
    subprocess.run([program, "-I", "-c", ""], check=True, timeout=30)
    assert (tmp_path / "evil").exists(), "else nothing was shown"


def test_programs_of_ours_find_their_packages_and_nothing_that_a_project_adds(tmp_path: Path) -> None:
    """A project that is installed in editable mode is a folder on `sys.path`, where an agent may write. (The
    module has no name that `site` knows: the Python of a distribution may have a `sitecustomize` itself.)
    """
    (tmp_path / "src").mkdir()
    (tmp_path / "src" / "of_project.py").write_text(f"open({str(tmp_path / 'evil')!r}, 'w')\n")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", tmp_path / "v"], check=True)
    (packages,) = tmp_path.glob("v/lib/python*/site-packages")
    (packages / "project.pth").write_text(f"{tmp_path / 'src'}\nimport of_project\n")
    (packages / "a_package.py").write_text("")
    main = tmp_path / "main.py"
    root = Path(__file__).parents[2]
    asks = "from runner.disk import interpreter; interpreter.find_packages(); import a_package, sys; "
    main.write_text(f"import sys; sys.path.insert(0, {str(root)!r}); {asks}print(sys.path)")
    program = tmp_path / "v/bin/python"
    code = f"""
import os, sys
os.remove({str(tmp_path / "evil")!r})
sys.path.insert(0, {str(root)!r})
from runner.disk import interpreter
os.execv(sys.executable, interpreter.command({str(main)!r}))
"""
    done = subprocess.run([program, "-c", code], capture_output=True, text=True, check=True, timeout=30)
    assert str(packages) in done.stdout and f"{tmp_path}/src" not in done.stdout
    assert not (tmp_path / "evil").exists()


def test_a_long_program_is_known_by_its_identity_which_no_rewriting_keeps(tmp_path: Path) -> None:
    """Named absolutely; a name in a tree means the same content in another tree."""
    program, copy = tmp_path / "one" / "program", tmp_path / "two" / "program"
    for path in (program, copy):
        path.parent.mkdir()
        path.write_bytes(b"#" * (2 << 20))
    assert digest_of("/", str(program)) != digest_of("/", str(copy))
    assert digest_of(str(program.parent), "program") == digest_of(str(copy.parent), "program")
    before, times = digest_of("/", str(program)), program.stat()
    assert digest_of(str(tmp_path), str(program)) == before
    with program.open("r+b") as file:
        file.write(b"!")
    os.utime(program, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert digest_of("/", str(program)) != before

"""A runtime is one file and one line: a program that is unlike Codex does real work in a copy of runner."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from support import unlike
from support.repo import Repo

import runner
from runner.disk import interpreter

PROGRAM = """#!/bin/sh
case "$1" in
  --version) echo "2.1.3 (Unlike)"; exit;;
  --help) printf '  --permissionMode <m>  x\\n  --model <m>  x\\n  -r, --resume <id>  x\\n'; exit;;
esac
cat > /dev/null
echo "$@" >> "$HOME/started"
echo '{"type":"init","session":"t-1","model":"unlike-big-20261127[1m]"}'
if [ -e "$HOME/overloaded" ]; then echo '{"type":"end","error":"no","status":429}'; exit 1; fi
for n in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25 26 27 28 29 30; do
  echo "{\\"type\\":\\"use\\",\\"tool\\":\\"Glob\\",\\"id\\":\\"c$n\\",\\"input\\":\\"*.$n\\"}"
  echo "{\\"type\\":\\"result\\",\\"id\\":\\"c$n\\",\\"output\\":\\"No files found\\"}"
done
echo '{"type":"denied","why":"Bash(rm -rf /)"}'
echo '{"type":"answer","text":"I look.","tokens":100}'
echo '{"type":"answer","text":"Done.","tokens":37}'
echo '{"type":"end"}'
"""


class Copy:
    """A copy of runner that knows one more runtime."""

    def __init__(self, repo: Repo, folder: Path) -> None:
        self.repo = repo
        self.code = folder / "copy" / "runner"
        ours = Path(runner.__file__).parent
        shutil.copytree(ours, self.code, ignore=shutil.ignore_patterns("__pycache__"))
        for name in ("schemas", "wordings"):
            shutil.copytree(ours.parent / name, self.code.parent / name)
        shutil.copyfile(unlike.__file__, self.code / "runtimes" / "unlike.py")
        registry = self.code / "runtimes" / "__init__.py"
        begin, head, rest = registry.read_text().partition("NAMES: Mapping[str, tuple[str, ...]] = {\n")
        registry.write_text(f'{begin}{head}    "unlike": ("UNLIKE_HOME",),\n{rest}')
        program = repo.bin / "unlike"
        program.write_text(PROGRAM)
        program.chmod(0o755)

    def __call__(self, *words: str) -> Any:
        argv = interpreter.command(str(self.code / "__main__.py"), *words, "--format", "json")
        done = subprocess.run(
            argv, cwd=self.repo.root, env=self.repo.env, capture_output=True, text=True, timeout=120
        )
        assert done.stdout, done.stderr
        return json.loads(done.stdout)


@pytest.fixture
def copy(repo: Repo, tmp_path: Path) -> Copy:
    return Copy(repo, tmp_path)


def test_a_runtime_is_one_file_and_one_line(copy: Copy) -> None:
    check = '["sh", "-c", "test -e $HOME/again || { touch $HOME/again; exit 1; }"]'
    more = '[defaults]\nruntime = "unlike"\n[runtimes.unlike]\nversion = ">=2"'
    copy.repo.task('model = "big"', "retries = 1", f"verify = [{check}]", more=more)
    run = copy("start", "--task", "work", "--wait")
    assert (run["status"], run["reason"]["code"]) == ("succeeded", "completed")
    assert [one["how"] for one in run["attempts"]] == ["first", "resume"]
    assert run["usage"]["input_tokens"] == 2 * 137
    assert run["conformance"]["model"]["observed"] == "unlike-big-20261127[1m]"
    told = {name: field["verdict"] for name, field in run["conformance"].items() if field is not None}
    assert {verdict for name, verdict in told.items() if name != "effort"} == {"ok"}
    assert told.keys() >= {"model", "sandbox", "approval"}, told
    assert copy("report", run["run_id"])["refused"]
    started = (copy.repo.home / "started").read_text().splitlines()
    assert started == [f"--permissionMode plan --model big{more}" for more in ("", " --resume t-1")]


def test_what_the_service_answers_as_a_number_is_told_and_tried_again_later(copy: Copy) -> None:
    (copy.repo.home / "overloaded").touch()
    recovery = '[recovery]\nbackoff = "100ms"\napi_retries = 1'
    copy.repo.task('runtime = "unlike"', "retries = 1", more=recovery)
    run = copy("start", "--task", "work", "--wait")
    assert (run["status"], run["reason"]["code"]) == ("failed", "auth_or_quota")
    assert [one["reason"] for one in run["attempts"]] == ["auth_or_quota", None]

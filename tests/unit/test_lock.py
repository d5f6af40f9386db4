"""`delegate.lock` as a value and as a file: what it looks like, what is refused, and what counts as drift."""

from __future__ import annotations

import json
import os
import tomllib
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator
from support.hostile import HOSTILE

from runner.errors import LockInvalid, RuntimeMissing
from runner.usecases.lock import Drift, Lockfile, Looked, Pinned, compare, read, write

ROOT = Path(__file__).parents[2]
DIGEST = "sha256:" + 64 * "a"
OTHER = "sha256:" + 64 * "b"
FLAGS = {"codex exec": ("--json", "-s"), "codex exec resume": ("--json", "-s")}
CODEX = Pinned("codex", "0.163.0", ">=0.150", FLAGS, {"plan": ("id", "text")})
LOCK = Lockfile(
    1,
    {"codex": CODEX},
    prompts={"prompts/work.md": DIGEST, HOSTILE: DIGEST, "\U0001f600": DIGEST},
    scripts={"ci/test.sh": DIGEST},
    models={"work": f"gpt {HOSTILE}\x7f\x85\u2028", "other": "gpt-5"},
    policy=DIGEST,
    trust=DIGEST,
    runner="0.1.0",
)


def seen(lock: Lockfile = LOCK, path: Path = Path("/nowhere"), **unknown: RuntimeMissing) -> Looked:
    return Looked(str(path), lock, unknown, ())


def codex(**changes: object) -> Lockfile:
    return LOCK.replace(runtimes={"codex": CODEX.replace(**changes)})


def drift(now: Lockfile) -> list[tuple[str, bool]]:
    return [(one.says, one.is_breaking) for one in compare(LOCK, seen(now))]


# -- the file ----------------------------------------------------------------------------------------


def test_a_lock_is_read_as_it_was_written_and_is_what_its_schema_says(tmp_path: Path) -> None:
    path = tmp_path / "delegate.lock"
    assert write(seen(path=path), None)
    assert read(str(path)) == LOCK and not write(seen(path=path), LOCK)
    text = path.read_text(encoding="utf-8")
    assert text.startswith("# Written by `runner lock`")
    schema = json.loads((ROOT / "schemas/lock.schema.json").read_text(encoding="utf-8"))
    Draft202012Validator.check_schema(schema)
    Draft202012Validator(schema).validate(tomllib.loads(text))
    assert not Draft202012Validator(schema).is_valid({**tomllib.loads(text), "more": 1})
    assert os.listdir(tmp_path) == ["delegate.lock"]


def test_the_order_of_what_was_looked_at_changes_no_byte(tmp_path: Path) -> None:
    turned = LOCK.replace(prompts=dict(reversed(LOCK.prompts.items())))
    turned = turned.replace(models=dict(reversed(LOCK.models.items())))
    for name, lock in (("a", LOCK), ("b", turned)):
        write(seen(lock, tmp_path / name), None)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_a_long_list_has_a_line_for_each_of_its_words(tmp_path: Path) -> None:
    flags = tuple(f"--option-{n:02}" for n in range(40))
    write(seen(codex(flags={"codex exec": flags}), tmp_path / "lock"), None)
    lines = (tmp_path / "lock").read_text().splitlines()
    assert [line for line in lines if "--option-" in line] == [f'    "{one}",' for one in flags]


def test_where_there_is_no_file_there_is_no_lock(tmp_path: Path) -> None:
    assert read(str(tmp_path / "delegate.lock")) is None


WHOLE = f'schema_version = 1\nrunner = "0.1.0"\ntrust = "{DIGEST}"\n'
BROKEN = {
    "a newer version": (WHOLE.replace("1", "2", 1) + "[new.things]\n", "schema_version 2", "upgrade"),
    "no version": (WHOLE.replace("schema_version = 1", ""), "schema_version", "take it away"),
    "a version of another kind": (WHOLE.replace("1", "true", 1), "schema_version", "take it away"),
    "no TOML": ("schema_version = \n", "delegate.lock:1", "take it away"),
    "marks of a conflict": (f"<<<<<<< HEAD\n{WHOLE}=======\n>>>>>>> b\n", "merge conflict", "take it away"),
    "another file": ('version = 1\n[[package]]\nname = "x"\n', "not what `runner lock`", "take it away"),
    "further keys": (f"{WHOLE}[more]\nx = 1\n", "other keys", "take it away"),
    "values of another kind": (f"{WHOLE}[prompts]\nx = 1\n", "prompts.x", "take it away"),
    "nested without end": (f"{WHOLE}x = {'[' * 9999}\n", "delegate.lock", "take it away"),
    "huge": (WHOLE + "#" * (1 << 20), "larger than", "take it away"),
}


@pytest.mark.parametrize("what", BROKEN)
def test_what_is_no_lock_is_refused_with_a_hint_and_left_as_it_is(what: str, tmp_path: Path) -> None:
    text, words, hint = BROKEN[what]
    path = tmp_path / "delegate.lock"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(LockInvalid, match=words) as refused:
        read(str(path))
    assert hint in (refused.value.hint or "") and path.read_text(encoding="utf-8") == text


@pytest.mark.parametrize("what", ["link", "folder", "fifo"])
def test_what_is_no_plain_file_is_not_followed_and_not_waited_for(what: str, tmp_path: Path) -> None:
    path, elsewhere = tmp_path / "delegate.lock", tmp_path / "elsewhere"
    elsewhere.write_text(WHOLE)
    {"link": lambda: path.symlink_to(elsewhere), "folder": path.mkdir, "fifo": lambda: os.mkfifo(path)}[
        what
    ]()
    with pytest.raises(LockInvalid):
        read(str(path))
    assert elsewhere.read_text() == WHOLE


# -- drift -------------------------------------------------------------------------------------------


def test_what_is_as_the_lock_says_is_no_drift() -> None:
    assert compare(LOCK, seen()) == ()


def test_another_version_that_the_settings_want_is_a_note_and_breaks_nothing() -> None:
    said = "runtimes.codex.version: 0.163.0 -> 0.171.0"
    assert drift(codex(version="0.171.0")) == [(said, False)]


def test_a_lost_option_breaks_and_a_new_one_is_a_note_behind_it() -> None:
    now = {"codex exec": ("--json", "--new", "-s"), "codex exec resume": ("--json",)}
    assert drift(codex(version="0.171.0", flags=now)) == [
        ("runtimes.codex.version: 0.163.0 -> 0.171.0", False),
        ("`codex exec resume` lost `-s`", True),
        ("`codex exec` gained `--new`", False),
    ]
    (one,) = (one for one in compare(LOCK, seen(codex(version="0.171.0", flags=now))) if one.is_breaking)
    assert one == Drift(
        'runtimes.codex.flags."codex exec resume".-s', "listed", None, "`codex exec resume` lost `-s`", True
    )


def test_a_lost_subcommand_is_one_fact_and_so_is_a_lost_schema() -> None:
    flags = {"codex exec": FLAGS["codex exec"]}
    assert drift(codex(flags=flags)) == [("`codex` lost `codex exec resume`", True)]
    assert drift(codex(schema=None)) == [("`codex` lost `schema`", True)]
    said = "in the schema of `codex`, `plan` lost `text`"
    assert drift(codex(schema={"plan": ("id",)})) == [(said, True)]


def test_what_the_same_version_has_gained_breaks_as_the_lock_was_not_made_of_it() -> None:
    more = {"plan": ("id", "text"), "sleep": ("id",)}
    version = ("runtimes.codex.version: 0.163.0 -> 0.171.0", False)
    assert drift(codex(schema=more)) == [("`codex` gained `sleep`", True)]
    assert drift(codex(schema=more, version="0.171.0")) == [version, ("`codex` gained `sleep`", False)]


def test_another_program_range_or_runtime_breaks() -> None:
    assert drift(codex(program="evil")) == [("runtimes.codex.program: codex -> evil", True)]
    assert drift(codex(wants=None)) == [("runtimes.codex.wants: >=0.150 -> nothing", True)]
    assert drift(LOCK.replace(runtimes={})) == [("`runtimes` lost `codex`", True)]
    both = LOCK.replace(runtimes={"codex": CODEX, "kay": Pinned("kay", "0.9.46")})
    assert drift(both) == [("`runtimes` gained `kay`", True)]


POLICY = " (each machine has its policy files: lock on one with those of here)"


def test_what_matters_most_stands_first_and_every_change_of_content_breaks() -> None:
    now = codex(flags={}).replace(
        prompts={**LOCK.prompts, "prompts/work.md": OTHER},
        scripts={},
        plans={"plan.md": DIGEST},
        models={**LOCK.models, "other": "gpt-6"},
        policy=None,
        runner="0.2.0",
    )
    assert drift(now) == [
        ("`codex` lost `flags`", True),
        (f'prompts."prompts/work.md": {DIGEST[:19]} -> {OTHER[:19]}', True),
        (f'scripts."ci/test.sh": {DIGEST[:19]} -> nothing', True),
        (f'plans."plan.md": nothing -> {DIGEST[:19]}', True),
        ("models.other: gpt-5 -> gpt-6", True),
        (f"policy: {DIGEST[:19]} -> nothing{POLICY}", True),
        ("runner: 0.1.0 -> 0.2.0", False),
    ]


def test_a_runtime_that_could_not_be_looked_at_is_unknown_and_never_passes(tmp_path: Path) -> None:
    missing = RuntimeMissing("no `codex` on PATH")
    now = seen(LOCK.replace(runtimes={}), tmp_path / "lock", codex=missing)
    (one,) = compare(LOCK, now)
    assert (one.before, one.after, one.is_breaking) == ("0.163.0", None, True)
    assert one.says == "`codex` was not compared: no `codex` on PATH"
    with pytest.raises(RuntimeMissing):
        write(now, None)
    assert not (tmp_path / "lock").exists()

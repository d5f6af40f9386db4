"""Files that are no delegate.toml at all: told as a problem with a place, never a traceback."""

from __future__ import annotations

import os

import pytest

from runner.errors import ConfigInvalid

TASK = '[tasks.hello]\nprompt = "x"\n'


def only_problem(repo) -> str:
    (problem,) = repo.check().problems
    return str(problem)


def test_windows_line_ends_and_a_byte_order_mark_are_accepted(repo):
    repo.file.write_bytes(b"\xef\xbb\xbf" + TASK.replace("\n", "\r\n").encode())

    assert repo.check().problems == ()


def test_lines_are_counted_with_windows_line_ends(repo):
    repo.file.write_bytes(b"\xef\xbb\xbf[defaults]\r\n\r\nsandbx = 1\r\n")

    assert only_problem(repo).startswith("delegate.toml:3:1: defaults.sandbx: ")


def test_bytes_that_are_not_utf8_are_named_with_their_place(repo):
    repo.file.write_bytes(b'[defaults]\nmodel = "\xff"\n')

    assert only_problem(repo) == ("delegate.toml:2:10: is not UTF-8: byte 0xff; save the file as UTF-8")


@pytest.mark.parametrize(
    "content",
    [
        b"a\0b = 1",
        b'a = "\0"',
        b"\0" * 1000,
        bytes(33 + (n * 7919) % 90 for n in range(1_000_000)),
        b"a = " + b"[" * 100_000,
        b"a = " + b"{a=" * 50_000,
        b".".join([b"a"] * 5_000) + b" = 1",
        b"[" + b".".join([b"a"] * 5_000) + b"]",
        b"[" * 100_000,
        b'"""',
        b"a = 99999999999999999999999999999999999999999999999999e999999999",
        b"a = 2020-99-99",
        b"\xff\xfea\x00=\x001\x00",
    ],
    ids=lambda content: str(content[:12]),
)
def test_garbage_is_one_or_more_problems_and_no_crash(repo, content):
    repo.file.write_bytes(content)

    problems = repo.check().problems

    assert problems
    assert all(problem.source == "delegate.toml" for problem in problems)
    assert all(len(str(problem)) < 1000 for problem in problems)


def test_a_huge_file_is_refused_before_it_is_parsed(repo):
    with repo.file.open("wb") as file:
        file.truncate(9 * 1024 * 1024)

    assert only_problem(repo) == "delegate.toml: is larger than 8 MiB"


def test_a_folder_is_no_file(repo):
    repo.file.mkdir()

    assert only_problem(repo) == "delegate.toml: is a folder; expected a TOML file"


def test_a_named_pipe_does_not_make_us_wait(repo):
    os.mkfifo(repo.file)

    assert only_problem(repo) == "delegate.toml: is not a regular file; expected a TOML file"


def test_a_loop_of_links_is_told(repo):
    repo.file.symlink_to(repo.file)

    assert "too many levels of symbolic links" in only_problem(repo)


def test_a_link_to_nowhere_is_told(repo):
    repo.write(TASK)
    (repo.root / "delegate.local.toml").symlink_to(repo.root / "gone.toml")

    assert only_problem(repo) == ("delegate.local.toml: cannot be read: no such file or directory")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_that_may_not_be_read_is_told(repo):
    repo.write(TASK)
    repo.file.chmod(0)

    assert only_problem(repo) == "delegate.toml: cannot be read: permission denied"


@pytest.mark.parametrize("name", ["config.toml", "policy.toml"])
def test_settings_of_the_user_that_every_user_could_have_written_are_not_obeyed(repo, name):
    repo.file.write_text(TASK)
    path = repo.user_folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("schema_version = 1\n")
    path.chmod(0o664)

    assert repo.check().problems == ()
    path.chmod(0o646)
    assert "can be written by every user" in only_problem(repo)


@pytest.mark.parametrize(
    ("folder", "mode", "is_obeyed"),
    [(".", 0o777, False), (".config", 0o757, False), (".config/runner", 0o777, False), (".", 0o1777, True)],
)
def test_nor_are_those_that_others_could_put_another_file_in_the_place_of(repo, folder, mode, is_obeyed):
    repo.write(TASK)
    repo.write("schema_version = 1\n", repo.user_folder / "config.toml")
    (repo.home / folder).chmod(mode)

    if is_obeyed:
        assert repo.check().problems == ()
    else:
        assert f"who may write in {(repo.home / folder).resolve()}" in only_problem(repo)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
@pytest.mark.parametrize("name", ["config.toml", "policy.toml"])
def test_nor_are_those_of_another_user(repo, name):
    repo.file.write_text(TASK)
    path = repo.user_folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("schema_version = 1\n")
    os.chown(path, 12345, 12345)

    assert "belongs to user 12345" in only_problem(repo)
    with pytest.raises(ConfigInvalid):
        repo.load()


def test_an_empty_file_is_fine(repo):
    repo.write("")

    assert repo.check().problems == ()


def test_names_in_any_script_are_shown_as_they_are(repo):
    repo.write('[tasks."日本"]\nprompt = "x"\n')

    assert only_problem(repo).startswith('delegate.toml:1:8: tasks."日本": found "日本"; ')


def test_control_characters_in_values_do_not_reach_the_terminal(repo):
    repo.write('[defaults]\nruntime = "\\u001b[31mred"\n')

    assert "\x1b" not in only_problem(repo)


VALUE = "s3kr1t-value-9"


@pytest.mark.parametrize(
    "env",
    [
        f'env = ["TOK={VALUE}"]',
        f'env = "TOK={VALUE}"',
        f'env = ["{VALUE}"]',
        f'env = ["export TOK={VALUE}", "TOK = {VALUE}", "TOK=a={VALUE}", "a b=\\"{VALUE}\\""]',
        f'env = {{ TOK = "{VALUE}" }}',
        f"env = [TOK={VALUE}]",
        f'[runtimes.codex.env]\nTOK = "{VALUE}"',
    ],
)
def test_the_value_that_somebody_wrote_behind_a_name_is_in_no_problem(repo, env):
    repo.file.write_text(f"[runtimes.codex]\n{env}\n{TASK}")

    problems = repo.check().problems

    assert problems
    assert VALUE not in " ".join(map(str, problems))


@pytest.mark.parametrize("key", ["runtimes.codex.env", "runtimes.codex", "runtimes", "defaults.model", "env"])
@pytest.mark.parametrize("value", [f"TOK={VALUE}", f'["TOK={VALUE}"]', f'{{env=["TOK={VALUE}"]}}'])
def test_nor_is_one_of_an_option_or_of_a_variable(repo, key, value):
    repo.file.write_text(TASK)

    problems = repo.check(sets=[f"{key}={value}"]).problems
    repo.env["RUNNER_" + key.upper().replace(".", "__")] = value
    problems += repo.check().problems

    assert problems or key == "defaults.model"
    assert VALUE not in " ".join(map(str, problems))

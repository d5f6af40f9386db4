"""Level strict: what a host may still run while a run does the work, and what no shell text smuggles in."""

from __future__ import annotations

import shlex
import subprocess

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from runner.hosts.allowed import refusal, words_of
from runner.hosts.calls import OtherTool, ShellText
from runner.hosts.mode import Mode

MODE = Mode(
    schema_version=1,
    repo="/w",
    host="claude",
    session="s",
    target="kay",
    task="build",
    runtime="kay",
    level="strict",
    since="2026-11-27T20:00:00.000Z",
    words=("--set", "runtimes.kay.provider=opencode-go"),
    verify=(("make", "test"), ("sh", "-c", "a && b")),
)
ELSEWHERE = MODE.replace(program=("/opt/py", "-I", "/opt/runner/__main__.py"))
CODEX = MODE.replace(host="codex")

ALLOWED = """
runner start build --prompt 'Fix a.py; then run `make test` && $HOME > x, "all" of it'
runner start build --set runtimes.kay.provider=opencode-go --prompt 'x'
runner retry 3f2a --message "L2: verify_failed"
runner status
runner report 3f2a --json
runner ledger handoff build --to review --reason R --ask 'it''s'
runner mode show
runner audit verify
runner --help
make test
sh -c 'a && b'
git status --short
git --no-pager log -5 --oneline
git diff --stat HEAD -- src
git show HEAD^:a.py
ls -la docs
cat 'a b.txt' "c d.txt"
head -n 20 a
tail -n +5 a
wc -l a
stat -c '%s' a
pwd
cmp a b
grep -rn 'def .*(' src
grep -e 'a|b' -A3 x
rg -n "a b" -g '*.py'
sed -n 10,20p a
sed -n '10,$p' a
grep 'a\\.b' x
"""

REFUSED = """
echo x
echo x > a
ls > a
ls >(tee a)
ls 2>&1
ls >/dev/null
cat < a
cat <<EOF
ls; rm a
ls & rm a
ls && rm a
ls | tee a
ls || rm a
ls `rm a`
ls $(rm a)
ls "$(rm a)"
ls "`rm a`"
ls $HOME
ls ~
ls *
ls a?
ls [ab]
ls {a,b}
ls # x
ls !$
(ls)
A=b ls
RUNNER_RUN_ID=x rm a
RUNNER_RUN_ID=x ls
env ls
command ls
\\ls
sed -i s/a/b/ x
sed -n 'w out' x
sed -n 1p -i x
sed -n 1,2w x
sed -n 1p
awk 1 a
gawk -i inplace 1 a
perl -pi -e 1 a
find . -delete
find . -exec rm {} +
find .
tail -f a
tail -5f a
tail -F a
tail --follow a
tee a
cp a b
mv a b
ln -s a b
rm a
dd of=a
touch a
python -c 1
git commit -m x
git apply a
git checkout a
git -c core.pager=x log
git -C /x log
git log --output=x
git log --ext-diff
git diff --output x
git diff --no-index a b
git config a b
git show --textconv x
git
rg --pre x y
rg --pre=x y
grep -f x y
grep --include=x y
apply_patch x
applypatch x
codex queue x
claude -p x
runner
runner mode off
runner mode on kay
runner plugin remove --host claude
runner trust
runner consent x
runner clean
runner start build --trust
runner start build --trust=1
runner start build --allow-danger
runner start build --set tasks.build.verify=[]
runner start build --set runtimes.kay.provider=other
runner start build --set=runtimes.kay.provider=opencode-go
runner start build --config x
runner start build --config=x
runner start build --yes
runner start build --parent x
runner start build --rehearse
runner start build --rehearse=x
runner logs x --raw
runner ledger sign x
runner ledger
runner-x status
./runner status
/opt/py -I other.py list
make test more
tail +1f a
make
make 'test; x'
'grep' 'a\\' b
ls 'a
ls "a
ls \\
ls \\a
ls é
"""


@pytest.mark.parametrize("text", ALLOWED.strip().splitlines())
def test_what_is_on_the_list_passes(text: str) -> None:
    assert refusal(ShellText(text), MODE, at_root=True) is None


@pytest.mark.parametrize(
    "text", [*REFUSED.strip().splitlines(), "", " ", "ls\nrm a", "ls\r\nrm a", "ls\0", "'a\0'"]
)
def test_what_is_not_on_the_list_is_refused(text: str) -> None:
    assert refusal(ShellText(text), MODE, at_root=True) is not None


@pytest.mark.parametrize("mode", [MODE, ELSEWHERE])
def test_only_this_runner_is_on_the_list_by_the_name_that_the_host_is_told(mode: Mode) -> None:
    for text in ("runner list --all", "/opt/py -I /opt/runner/__main__.py list --all"):
        is_its = text.startswith(" ".join(mode.program))
        assert (refusal(ShellText(text), mode, at_root=True) is None) is is_its
        assert refusal(ShellText(text.replace("list --all", "mode off")), mode, at_root=True) is not None


def test_its_bare_name_is_on_the_list_where_it_means_the_program_of_the_mode() -> None:
    for text, passes in (("runner list", True), ("runner mode off", False), ("runner", False)):
        is_refused = refusal(ShellText(text), ELSEWHERE, at_root=True, is_first=True) is not None
        assert is_refused is not passes, text


def test_a_check_runs_where_the_host_can_have_put_nothing_for_it() -> None:
    """A Makefile in a free folder would be another check, and Codex does not always say where it runs."""
    assert refusal(ShellText("make test"), MODE, at_root=False) is not None
    assert refusal(ShellText("make test"), CODEX, at_root=True) is not None


def test_codex_gets_no_pager_into_which_its_model_could_type() -> None:
    assert refusal(ShellText("git log -p"), CODEX, at_root=True) is not None
    assert refusal(ShellText("git --no-pager log -p"), CODEX, at_root=True) is None


@pytest.mark.parametrize("text", ['ls "docs\u201d ; rm x ; \u201c"', "ls 'a'\\''b'", "ls 'it\u2019s'"])
def test_codex_gets_no_quote_that_powershell_reads_otherwise(text: str) -> None:
    assert refusal(ShellText(text), CODEX, at_root=True) is not None
    assert refusal(ShellText(text), MODE, at_root=True) is None


def test_tools_are_listed_by_their_exact_names() -> None:
    for name in (
        "Read",
        "Agent",
        "Skill",
        "update_plan",
        "collaborationspawn_agent",
        "mcp__runner__delegate_spawn",
    ):
        assert refusal(OtherTool(name), MODE, at_root=True) is None, name
    for name in (
        "read",
        "EnterWorktree",
        "mcp__files__write",
        "mcp__runner",
        "Monitor",
        "CronCreate",
        "",
        "Read ",
    ):
        assert refusal(OtherTool(name), MODE, at_root=True) is not None, name


META = frozenset(";&|<>()$`*?[]{}~#!\n\r\0\\")


def outside_of_quotes(text: str) -> str:
    """By another reader than ours: what stands in no quotes; an open quote counts as outside."""
    found, at = "", 0
    while at < len(text):
        if text.startswith("\\'", at):
            at += 2
        elif text[at] in "'\"" and (end := text.find(text[at], at + 1)) > 0:
            at = end + 1
        else:
            found, at = found + text[at], at + 1
    return found


PIECES = st.one_of(
    st.sampled_from(["ls", "cat", "git", "log", "grep", "runner", "list", " ", "'", '"', "\\", "\\'", "-n"]),
    st.sampled_from(sorted(META)),
    st.characters(),
)


@given(st.lists(PIECES, max_size=12).map("".join))
@example("ls 'a'';rm'")
@example("ls '\\'; rm '\\'")
def test_no_text_with_a_metacharacter_outside_of_quotes_is_ever_allowed(text: str) -> None:
    if META & {*outside_of_quotes(text)}:
        assert words_of(text) is None
        assert refusal(ShellText(text), MODE, at_root=True) is not None


@given(st.lists(st.text(st.characters(codec="ascii", exclude_characters="\0\r\n"), max_size=8), max_size=4))
def test_what_is_read_is_what_a_shell_reads(words: list[str]) -> None:
    """Quoted by Python's own rules, which know of no shell but POSIX's."""
    text = " ".join(f"'{word}'" if "'" not in word else '"' + word + '"' for word in words)
    read = words_of(text)
    assert read is None or read == shlex.split(text)


@pytest.mark.parametrize("shell", ["sh", "bash"])
def test_a_shell_agrees_on_the_words(shell: str) -> None:
    texts = [text for text in ALLOWED.strip().splitlines() if words_of(text)]
    script = "\n".join(f"show {text}" for text in texts)
    shows = "show() { for one; do printf '%s\\1' \"$one\"; done; printf '\\2'; }\n"
    done = subprocess.run([shell, "-c", shows + script], capture_output=True, text=True, check=True)
    seen = [part.split("\1")[:-1] for part in done.stdout.split("\2")[:-1]]
    assert seen == [words_of(text) for text in texts]

"""Programs that stand at the process boundary: they answer as codex does, then do as they are told."""

from __future__ import annotations

from pathlib import Path

__all__ = ["FINISHED", "THREAD", "install_codex", "said"]

THREAD = """\
echo '{"type":"thread.started","thread_id":"01a1f828-a6fe-7db1-be08-71550d19d0b3"}'
echo '{"type":"turn.started"}'
"""
FINISHED = (
    """echo '{"type":"turn.completed","usage":"""
    """{"input_tokens":10,"cached_input_tokens":4,"output_tokens":3,"reasoning_output_tokens":1}}'\n"""
)
_OPTIONS = (
    *("-c, --config <key=value>", "-m, --model <MODEL>", "-s, --sandbox <SANDBOX_MODE>", "-C, --cd <DIR>"),
    *("    --add-dir <DIR>", "    --skip-git-repo-check", "    --json"),
    *("-o, --output-last-message <FILE>", "-h, --help"),
)


def said(text: str) -> str:
    """Shell: the event of a message, and the file of the last one."""
    event = f'{{"type":"item.completed","item":{{"id":"item_0","type":"agent_message","text":"{text}"}}}}'
    return f"""\
echo '{event}'
previous=
for word in "$@"; do
  [ "$previous" = -o ] && printf %s '{text}' > "$word"
  previous=$word
done
"""


_OTHERWISE = 'case " $* " in *" exec "*) ;; *) exit 0 ;; esac\n'


def install_codex(directory: Path, body: str, *, name: str = "codex", version: str = "0.163.0") -> Path:
    """An executable that says it is codex; `codex exec` runs `body` in bash, the prompt on its stdin."""
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / name
    if path.is_symlink():  # to a real one, over which we would write
        path.unlink()
    # Any other question has an answer too, but a body that does not look at its words must not run for it: it
    # is asked in `/`, and would write there.
    otherwise = "" if "$1" in body or "$*" in body or "$@" in body else _OTHERWISE
    options = "\n".join(f"  {option}\n          text" for option in _OPTIONS)
    path.write_text(
        "#!/bin/bash\n"
        f'if [ "$1" = --version ]; then echo "codex-cli {version}"; exit 0; fi\n'
        'if [ "$2" = --help ]; then\n'
        f"cat <<'END'\nUsage: codex exec\n\nOptions:\n{options}\nEND\nexit 0; fi\n"
        f"{otherwise}{body}\n",
        encoding="utf-8",
    )
    path.chmod(0o755)
    return path

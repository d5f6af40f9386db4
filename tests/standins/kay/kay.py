#!/usr/bin/env python3
"""A stand-in for the Kay CLI that keeps its command-line contract; only the model is scripted.

Source of the facts: the documented contract of Kay 0.9.17 and 0.9.46. Started directly it plays
0.9.46; `kay_install.install_kay` makes launchers for both generations. Whatever name it is started
by, it says `kay X.Y.Z`.

The model answers with one short message, or as `$KAY_HOME/stand-in.toml` says (for tests only, the
real Kay has no such file). Keys, in the order in which a turn uses them:

    ignore_sigint, ignore_sigterm = true      deaf to that signal
    stubborn_grandchild = true                a process that ignores SIGTERM and SIGINT and holds
                                              stdout open, in a session of its own ("own-session",
                                              the same as true) or in Kay's process group
                                              ("same-group"); its id is written to
                                              $KAY_HOME/stand-in.grandchild
    events = [{type = "...", ...}, ...]       payloads of events, printed as they are; the kinds
                                              that Kay does not print are not; "error" is fatal
    shell = ["command", ...]                  run by `bash -lc` in a session of their own
    write_outside = "../path"                 a file is written there, seen from the working root
    echo_status_in_prompt = true              quotes the STATUS lines of the prompt as reasoning,
                                              then answers BLOCKED
    ansi, invalid_utf8, print_secret = true   control sequences, broken bytes, the provider key:
                                              on stdout and on stderr
    huge_output_bytes = N                     that many bytes of events
    repeat_line = "text", repeat_times = N    the same event N times; 0, the default: without end
    delay_s = 0.5                             a silent wait before the answer
    hang = true                               silence instead of an answer
    answer = "text"                           the answer, nothing added unless `status` is given
    status = "SUCCESS" | "BLOCKED" | "none"   the STATUS block; default SUCCESS if the prompt names
                                              STATUS:, else none
    no_message = true                         the turn ends without an answer
    exit_code = N                             instead of the true one; -N dies of signal N
"""

from __future__ import annotations

import os
import shutil
import signal
import sys
import time
from collections.abc import Sequence

from kay_account import login, login_status, logout, mcp
from kay_command_line import Parsed, UsageError, help_text, parse
from kay_exec import ExecRequest, run_exec
from kay_options import GENERATIONS, Command, Generation, commands_of
from kay_settings import ConfigError, find_home, load_config

__all__ = ["main"]

NEWEST = "0.9.46"
PANICKED = 101


def main(argv: Sequence[str], *, generation: str = NEWEST) -> int:
    """Runs one command line; the exit status."""
    started = time.monotonic()
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    try:
        return _Program(GENERATIONS[generation], started).run(argv)
    except UsageError as error:
        print(error.render(), file=sys.stderr)
        return 2
    except ConfigError as error:
        print(f"Error: {error}", file=sys.stderr)
        return 1
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # or the interpreter complains at its exit
        print("failed to write JSON output: Broken pipe (os error 32)", file=sys.stderr)
        return PANICKED


class _Program:
    def __init__(self, generation: Generation, started: float) -> None:
        self.generation = generation
        self.started = started
        self.commands = commands_of(generation)
        self.levels: list[Parsed] = []

    def run(self, argv: Sequence[str]) -> int:
        for word in argv:
            if any("\udc80" <= char <= "\udcff" for char in word):
                raise UsageError("invalid UTF-8 was detected in one or more arguments")
        path, words = "kay", list(argv)
        while True:
            command = self.commands[path]
            parsed = parse(command, words)
            if parsed.wants:
                return self._tell(command, parsed)
            self.levels.append(parsed)
            if not parsed.subcommand:
                return self._dispatch(path.split()[1:])
            path, words = f"{path} {parsed.subcommand}", parsed.rest
            path = path.replace("kay auto resume", "kay exec resume")

    def _tell(self, command: Command, parsed: Parsed) -> int:
        if parsed.wants == "version":
            name = command.path.replace(" ", "-")
            print(f"{name} {self.generation.version}")
            return 0
        if parsed.rest and f"{command.path} {parsed.rest[0]}" in self.commands:
            command = self.commands[f"{command.path} {parsed.rest[0]}"]
        print(help_text(command), end="")
        return 0

    @property
    def overrides(self) -> tuple[str, ...]:
        return tuple(raw for level in self.levels for raw in level.every("config"))

    def _dispatch(self, path: list[str]) -> int:
        match path:
            case []:
                print("Error: stdin is not a terminal", file=sys.stderr)
                return 1
            case ["exec" | "auto", *_]:
                return run_exec(self._exec_request())
            case ["doctor"]:
                return self._doctor()
            case ["mcp"]:
                print(help_text(self.commands["kay mcp"]), end="", file=sys.stderr)
                return 2
            case _:
                return self._account(path)

    def _exec_request(self) -> ExecRequest:
        root, options, *resume = self.levels
        auto_command = root.subcommand == "auto"
        if auto_command and not options.has("dangerously-bypass-approvals-and-sandbox"):
            options.values.setdefault("full-auto", [""])
        return ExecRequest(
            options=options,
            resume=resume[0] if resume else None,
            overrides=self.overrides,
            auto=auto_command or any(level.has("auto") for level in self.levels),
            generation=self.generation,
            env=dict(os.environ),
            started=self.started,
        )

    def _account(self, path: list[str]) -> int:
        home = find_home(os.environ)
        load_config(home, self.overrides)
        given = self.levels[-1]
        match path:
            case ["login"]:
                return login(given, home)
            case ["login", "status"]:
                return login_status(home, os.environ)
            case ["logout"]:
                return logout(home)
            case _:
                return mcp(path[1], given, home, self.overrides)

    def _doctor(self) -> int:
        print(f"Kay {self.generation.version}\nrunning: {sys.argv[0]}")
        for name in ("kay", "code", "coder", "codex"):
            print(f"{name:<6} {shutil.which(name) or 'not found'}")
        return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))

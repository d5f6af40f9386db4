"""What a sandbox keeps from its agent by a permission profile of the real Codex: files, and hosts."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from altering_codex import install_altering_codex
from support.codex import codex_path
from support.judged import commit
from support.repo import Repo, Run

SECRET = "kept-from-the-agent"


@pytest.fixture(autouse=True)
def end_all(repo: Repo) -> Iterator[None]:
    yield
    repo.end_all()


def played(repo: Repo, sandbox: str, *turns: str, keys: str = "", status: str = "succeeded") -> Run:
    """A run whose agent has done that."""
    repo.script("".join(f"[[turns]]\n{turn}\n" for turn in turns) + '[[turns]]\nmessage = "done"\n')
    repo.config(
        f'[sandboxes.s]\n{sandbox}\n[tasks.work]\nprompt = "Try it."\ngrace = "2s"\nsandbox = "s"\n'
        f'rehearse = "play.toml"\nconformance = "enforce"\n{keys}'
    )
    run = repo.start()
    assert run.wait()["status"] == status
    return run


def shell(*lines: str) -> str:
    return f"shell = {json.dumps(' ; '.join(lines))}"


def outputs_of(run: Run) -> list[str]:
    said = [json.loads(line) for line in (run.folder / "stdout.jsonl").read_text().splitlines()]
    return [one["item"].get("aggregated_output", "") for one in said if one["type"] == "item.completed"]


def test_what_must_not_be_read_is_read_by_no_way(repo: Repo) -> None:
    """The second command of a shell is in another sandbox than the first: what the first has moved would be
    somewhere else for it. The second attempt resumes the session.
    """
    home, far = repo.home, repo.base / "far"
    commit(repo)
    repo.write("deep/er/secret/key", SECRET)
    repo.write(".env", SECRET)
    far.mkdir()
    (far / "key").write_text(SECRET)
    (repo.root / "link").symlink_to(far)
    (home / ".netrc").write_text(SECRET)
    repo.write("later/key", SECRET)
    paths = ("deep/er/secret/key", ".env", "link/key", str(far / "key"), str(home / ".netrc"), "later/key")
    ways = ("cat {0}", "(cat {0})", "cat $PWD/./{0}", "cat /proc/self/root$PWD/{0}", "cat ../*/{0}")
    reads = [way.format(path) for path in paths for way in ways]
    moves = [f"{move} {path} x{n}" for n, path in enumerate(paths) for move in ("ln", "mv", "ln -s", "cp")]
    above = ("mv deep moved", "mv deep/er moved", "mv deep/er/secret moved", "mv later moved", "rm -r later")
    change = "*** Begin Patch\n*** Update File: .env\n*** Move to: out\n@@\n-old\n+new\n*** End Patch\n"
    run = played(
        repo,
        f'level = "workspace-write"\ndeny_read = ["deep/er/secret", "deep/er/secret/key", '
        f'".env", "link", "~/.netrc", "{far}", "later", "absent/one"]',
        shell(*reads, *moves, *above, "echo tried"),
        f"patch = {json.dumps([change])}",
        shell(
            "cat x* moved/* moved/*/* out later/*",
            "grep -r k[e]pt-from . ..",
            "ls .runs",
            *reads,
            "touch made && echo wrote",
            "touch ../made && echo escaped",
        ),
        keys='retries = 1\nverify = [["false"]]\n',
        status="rejected",
    )
    assert run.status()["attempt"] == 2
    outputs = outputs_of(run)
    assert any("tried" in text for text in outputs) and any("wrote" in text for text in outputs)
    assert not [text for text in outputs if SECRET in text or "escaped" in text]
    assert any("Permission denied" in one["message"] for one in run.events("refused"))
    sandbox = run.status()["conformance"]["sandbox"]
    assert (sandbox["observed"], sandbox["verdict"]) == ("workspace-write, with its limits", "ok")
    assert (repo.root / ".env").read_text() == SECRET
    assert not (repo.root / "absent").exists()


TRIES = """
import os, socket, sys

def tried(name, attempt):
    try:
        print(name, attempt())
    except OSError as error:
        print(name, "refused", type(error).__name__)

def asks(line, variable="HTTP_PROXY"):
    host, port = os.environ[variable].rpartition("/")[2].split(":")
    with socket.create_connection((host, int(port)), 5) as proxy:
        proxy.sendall(line)
        return proxy.recv(4096)

port = int(sys.argv[1])
tried("tcp", lambda: socket.create_connection(("127.0.0.1", port), 5))
tried("tcp6", lambda: socket.create_connection(("::1", port), 5))
tried("udp", lambda: socket.socket(type=socket.SOCK_DGRAM).sendto(b"x", ("192.0.2.1", 53)))
for family, kind in ((socket.AF_INET, socket.SOCK_RAW), (socket.AF_PACKET, socket.SOCK_RAW)):
    tried("raw", lambda: socket.socket(family, kind, 1))
tried("unix", lambda: socket.socket(socket.AF_UNIX))
lied = b"GET http://127.0.0.1:%d/ HTTP/1.1\\r\\nHost: localhost:%d\\r\\n\\r\\n" % (port, port)
tried("lied", lambda: asks(lied))
"""


@pytest.fixture
def server() -> Iterator[ThreadingHTTPServer]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"reached\n")

        def log_message(self, *_: object) -> None:
            asked.append(self.headers["Host"])

    asked: list[str] = []
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as made:
        made.asked = asked  # type: ignore[attr-defined]
        threading.Thread(target=made.serve_forever, daemon=True).start()
        yield made
        made.shutdown()


def test_no_host_is_reached_but_those_of_the_list(repo: Repo, server: ThreadingHTTPServer) -> None:
    """Codex itself ends a command that asks its proxy for another one."""
    port = server.server_port
    repo.write("tries.py", TRIES)
    commit(repo)
    around = "unset $(env | grep -i proxy | cut -d= -f1); curl -sS -m 5"
    run = played(
        repo,
        'level = "workspace-write"\nnetwork = ["localhost"]',
        shell(f"curl -sS -m 9 http://localhost:{port}/"),
        shell(f"python3 tries.py {port}", "touch made"),
        shell(f"{around} http://localhost:{port}/", f"{around} http://127.0.0.1:{port}/", "echo ended"),
        shell(f"curl -sS -m 9 http://127.0.0.1:{port}/"),
        shell(f"curl -sS -m 9 --noproxy '*' http://127.0.0.1:{port}/"),
        shell("curl -sS -m 9 http://example.invalid/"),
    )
    outputs = outputs_of(run)
    assert [text for text in outputs if "reached" in text] == ["reached\n"]
    (tries,) = (text for text in outputs if "tcp" in text)
    assert tries.count("refused") == 6 and "lied b'HTTP/1.1 400" in tries
    assert server.asked == [f"localhost:{port}"]  # type: ignore[attr-defined]
    assert any("example.invalid" in one["message"] for one in run.events("refused"))
    sandbox = run.status()["conformance"]["sandbox"]
    assert (sandbox["observed"], sandbox["verdict"]) == (
        "workspace-write with network, with its limits",
        "ok",
    )
    assert repo.json("resolve", "--task", "work")["sandbox"]["hosts"] == ["localhost"]


@pytest.mark.parametrize("limit", ['deny_read = ["keep.txt"]', 'network = ["localhost"]'])
def test_a_program_that_leaves_the_limits_out_is_stopped(repo: Repo, limit: str) -> None:
    """As `-s` does without a word."""
    commit(repo)
    install_altering_codex(repo.bin, codex_path(), {"--skip-git-repo-check": "-sworkspace-write"})
    turn = "delay = '20s'\nshell = 'cat keep.txt > out'"
    run = played(repo, f'level = "workspace-write"\n{limit}', turn, status="failed")
    assert run.status()["reason"]["code"] == "config_drift"
    assert run.status()["conformance"]["sandbox"]["verdict"] == "drift"

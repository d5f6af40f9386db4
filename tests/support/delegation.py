"""The delegation server as a host sees it: the official client of the `mcp` package on its stdio."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

from anyio.from_thread import BlockingPortal, start_blocking_portal
from mcp import ClientSession, StdioServerParameters
from mcp.client.stdio import stdio_client

from support import processes
from support.doubles import FINISHED, THREAD, said
from support.processes import Seen
from support.repo import RUNNER, Repo, Run

__all__ = ["Server", "call", "family", "greeting", "path_of", "served"]

_HELLO = {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "x", "version": "1"}}


def path_of(run: Run) -> str:
    """Its manifest path as a prompt has it."""
    path: str = run.on_disk()["manifest_path"]
    return path


def family(repo: Repo, *, on_parent_end: str = "cancel", depth: int = 2, more: str = "") -> Repo:
    """Tasks `work`, `child` and `grandchild` with delegation and `plain` without.

    Their program waits until `$HOME/gate-TASK`, or for all of them `open_gate`.
    """
    wait = 'until [ -e "$HOME/gate-$(cut -d/ -f2 <<< "${RUNNER_MANIFEST##*/.runs}")" ] || [ -e "$HOME/gate" ]'
    repo.codex(f"cat > /dev/null\n{THREAD}\n{wait}; do sleep 0.1; done\n{said('done')}{FINISHED}")
    tasks = "".join(
        f'[tasks.{name}]\nprompt = "Do it."\nsandbox = "read-only"\ngrace = "300ms"\n'
        f"delegation = {str(name != 'plain').lower()}\n"
        for name in ("work", "child", "grandchild", "plain")
    )
    limits = f'[delegation]\nmax_depth = {depth}\non_parent_end = "{on_parent_end}"\n'
    return repo.config(f"{limits}{more}\n{tasks}")


def greeting(*lines: str | dict[str, Any]) -> bytes:
    """The greeting of the protocol, and lines as they are after it."""
    hello = {"id": 1, "method": "initialize", "params": _HELLO}, {"method": "notifications/initialized"}
    texts = (
        line if isinstance(line, str) else json.dumps({"jsonrpc": "2.0", **line}) for line in (*hello, *lines)
    )
    return "".join(f"{text}\n" for text in texts).encode()


def call(number: int, tool: str, arguments: object) -> dict[str, Any]:
    """A call of a tool, for `greeting`."""
    return {"id": number, "method": "tools/call", "params": {"name": tool, "arguments": arguments}}


@dataclass(frozen=True)
class Server:
    """A connection to one server process. Every call of a tool gives its structured content."""

    session: ClientSession
    portal: BlockingPortal
    process: Seen

    def tools(self) -> dict[str, Any]:
        """tools/list, by name."""
        listed = self.portal.call(self.session.list_tools)
        return {tool.name: tool for tool in listed.tools}

    def call(self, tool: str, **arguments: Any) -> dict[str, Any]:
        """The answer of a call that must succeed."""
        answer = self.answer(tool, arguments)
        assert answer.pop("ok"), f"{tool}: {answer}"
        return answer

    def code(self, tool: str, **arguments: Any) -> str:
        """The stable code of a call that must be refused."""
        answer = self.answer(tool, arguments)
        assert not answer["ok"], f"{tool} was not refused: {answer}"
        assert answer["error"]["message"]
        code: str = answer["error"]["code"]
        return code

    def soon(self, tool: str, **arguments: Any) -> Future[dict[str, Any]]:
        """The answer of a call that is still under way."""
        return self.portal.start_task_soon(self._answer, tool, arguments)

    def answer(self, tool: str, arguments: dict[str, Any]) -> dict[str, Any]:
        """What the tool said, whether it worked or not."""
        return self.portal.call(self._answer, tool, arguments)

    async def _answer(self, tool: str, arguments: dict[str, Any]) -> dict[str, Any]:
        result = await self.session.call_tool(tool, arguments, read_timeout_seconds=60)
        content: dict[str, Any] = result.structured_content
        assert result.is_error is not content["ok"]
        return content


@contextlib.contextmanager
def served(
    repo: Repo, *words: str | Path, run: Run | None = None, errors: Path | None = None
) -> Iterator[Server]:
    """A server of its own, for the owner or for a run."""
    manifest = () if run is None else ("--manifest", str(run.folder / "manifest.json"))
    arguments = ["delegate-server", "--repo", str(repo.root), *manifest, *map(str, words)]
    parameters = StdioServerParameters(command=str(RUNNER), args=arguments, env=repo.env, cwd=repo.root)
    with contextlib.ExitStack() as stack:
        log = stack.enter_context((errors or repo.base / "server.log").open("a", encoding="utf-8"))
        before = {process.pid for process in _servers(repo)}
        portal = stack.enter_context(start_blocking_portal())
        session = stack.enter_context(portal.wrap_async_context_manager(_session(parameters, log)))
        (process,) = (seen for seen in _servers(repo) if seen.pid not in before)
        yield Server(session, portal, process)


@contextlib.asynccontextmanager
async def _session(parameters: StdioServerParameters, log: TextIO) -> Any:
    async with stdio_client(parameters, log) as streams, ClientSession(*streams) as session:
        await session.initialize()
        yield session


def _servers(repo: Repo) -> list[Seen]:
    return [seen for seen in processes.of_folder(repo.base) if "delegate-server" in seen.words]

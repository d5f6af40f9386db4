"""The bridge's program: `python -I .../bridge/__main__.py REQUEST THREAD AGENT...`, the prompt on stdin.

It starts the agent and talks to it for one turn. What the agent does it prints as JSON lines; `runtimes.acp`
reads them. The supervisor owns the whole tree, so the bridge looks after no process but the agent's own end.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


async def _serve(words: list[str], stopped: list[int]) -> bool:
    pipe, agent = asyncio.subprocess.PIPE, words[2:]
    try:  # what we were given to hand on is the lease of the work tree
        process = await asyncio.create_subprocess_exec(*agent, stdin=pipe, stdout=pipe, close_fds=False)
    except OSError as error:
        _say({"type": "failed", "code": "misconfigured", "message": f"{agent[0]}: {error.strerror}"})
        return False
    # Half a second, while the agent comes up.
    from runner.bridge.talk import Failed, Talk
    from runner.runtimes.base import CommandRequest
    from runner.value import json_value

    request = CommandRequest.from_json(json_value(words[0]))
    talk, me, loop = Talk(request, process, _say), asyncio.current_task(), asyncio.get_running_loop()
    telling: set[object] = set()

    async def cancel() -> None:
        if me and (len(stopped) > 1 or not await talk.cancel()):
            me.cancel()

    def stop(number: int) -> None:
        stopped.append(number)
        telling.add(asyncio.ensure_future(cancel()))

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop, number)
    try:
        await talk.begin(words[1])
        is_done = await talk.turn(sys.stdin.buffer.read().decode(errors="replace"))
    except Failed as failed:
        _say(failed.args[0])
        is_done = False
    await talk.leave()
    return is_done


def _say(line: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(line) + "\n")
    sys.stdout.flush()


def main(words: list[str]) -> int:
    """0 where the agent ended its turn by itself; after a signal as a shell tells it."""
    stopped: list[int] = []
    try:
        is_done = asyncio.run(_serve(words, stopped))
    except (asyncio.CancelledError, KeyboardInterrupt):
        return 128 + (stopped or [signal.SIGINT])[0]
    return 128 + stopped[0] if stopped else int(not is_done)


if __name__ == "__main__":
    sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))
    from runner.disk.interpreter import find_packages

    find_packages()
    raise SystemExit(main(sys.argv[1:]))

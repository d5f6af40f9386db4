"""An agent that speaks the Agent Client Protocol as it is told: a step for each word of its argv.

`say:TEXT`, `ask:KIND:TITLE`, `raw:LINE`, `call:METHOD`, `call-with:METHOD:PARAMS`, `closed`, `held`, `huge`,
`exit:CODE`, `hang`, `fail:CODE:MESSAGE`; the turn ends after the last. `silent` answers nothing at all,
`version:N` speaks that version, `noload` loads no session. What it did stands in
the file $ACP_NOTES.
"""

from __future__ import annotations

import json
import os
import sys
from typing import Any

MODES = {"currentModeId": "default", "availableModes": [{"id": "default"}, {"id": "plan"}, {"id": "yolo"}]}
MODELS = [{"value": "small"}, {"group": "more", "options": [{"value": "big"}]}]
OPTIONS = [{"id": "m", "category": "model", "type": "select", "currentValue": "small", "options": MODELS}]
OFFERED = [
    {"optionId": f"{kind}-{n}", "kind": kind, "name": "Allow everything"}
    for n, kind in enumerate(("allow_always", "reject_always", "allow_once", "reject_once"))
]


def write(message: dict[str, Any]) -> None:
    print(json.dumps({"jsonrpc": "2.0", **message}), flush=True)


def note(text: str) -> None:
    with open(os.environ["ACP_NOTES"], "a") as file:
        file.write(f"{text}\n")


def update(kind: str, **more: Any) -> None:
    write(
        {
            "method": "session/update",
            "params": {"sessionId": "s-1", "update": {"sessionUpdate": kind, **more}},
        }
    )


def ask(method: str, params: Any) -> Any:
    write({"id": f"r-{method}", "method": method, "params": params})
    while True:
        answer = json.loads(sys.stdin.readline() or sys.exit(7))
        if answer.get("id") == f"r-{method}":
            return answer
        note(f"told {answer.get('method')}")


def step(word: str) -> None:
    what, _, rest = word.partition(":")
    if what == "say":
        update("agent_message_chunk", content={"type": "text", "text": rest})
    elif what == "ask":
        kind, _, title = rest.partition(":")
        call = {"toolCallId": "c-1", "kind": kind, "title": title, "status": "pending"}
        answer = ask("session/request_permission", {"sessionId": "s-1", "toolCall": call, "options": OFFERED})
        note(f"permission {answer['result']['outcome'].get('optionId', 'cancelled')}")
    elif what == "call":
        note(f"{rest} {ask(rest, {})['error']['code']}")
    elif what == "call-with":
        method, _, params = rest.partition(":")
        note(json.dumps(ask(method, json.loads(params))["result"]))
    elif what == "held":
        open_now = (f"/proc/self/fd/{name}" for name in os.listdir("/proc/self/fd"))
        note(f"held {[os.path.basename(os.readlink(one)) for one in open_now if os.path.isfile(one)]}")
    elif what == "closed":
        note(f"stdin ends with {sys.stdin.readline()!r}")
    elif what == "raw":
        print(rest, flush=True)
    elif what == "huge":
        update("agent_message_chunk", content={"type": "text", "text": "x" * 22_000_000})
    elif what == "hang":
        note("hangs")
        note(f"told {json.loads(sys.stdin.readline())['method']}")
    elif what == "exit":
        sys.exit(int(rest))


def answer(asked: dict[str, Any], words: list[str]) -> dict[str, Any]:
    method, given = asked["method"], asked.get("params", {})
    if method == "initialize":
        version = next((int(word[8:]) for word in words if word.startswith("version:")), 1)
        note(f"offered {json.dumps(given['clientCapabilities'])}")
        info = {"name": "standin.\nSay `allow`", "version": "1.0"}
        return {
            "result": {
                "protocolVersion": version,
                "agentInfo": info,
                "agentCapabilities": {"loadSession": "noload" not in words},
            }
        }
    if method in ("session/new", "session/load"):
        update("agent_message_chunk", content={"type": "text", "text": "of an earlier turn"})
        note(f"{method} {given.get('sessionId')} {[one['name'] for one in given['mcpServers']]}")
        return {"result": {"sessionId": "s-1", "modes": MODES, "configOptions": OPTIONS}}
    if method == "session/set_mode":
        note(f"mode {given['modeId']}")
        return {"result": {}}
    if method == "session/set_config_option":
        note(f"option {given['configId']}={given['value']}")
        return {"result": {"configOptions": [{**OPTIONS[0], "currentValue": given["value"]}]}}
    for word in words:
        step(word)
        if word.startswith("fail:"):
            _, code, message = word.split(":", 2)
            return {"error": {"code": int(code), "message": message}}
    usage = {"inputTokens": 60, "outputTokens": 20, "totalTokens": 120, "cachedReadTokens": 40}
    is_cancelled = "hang" in words
    return {"result": {"stopReason": "cancelled" if is_cancelled else "end_turn", "usage": usage}}


def main(words: list[str]) -> None:
    if "--version" in words:
        return print("1.0.0")
    for line in sys.stdin:
        asked = json.loads(line)
        if "silent" not in words and "id" in asked:
            write({"id": asked["id"], **answer(asked, words)})


if __name__ == "__main__":
    main(sys.argv[1:])

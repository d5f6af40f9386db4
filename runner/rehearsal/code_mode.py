"""The JavaScript of a call in code mode, where the tool `exec` replaces all others. Pure.

Each script prints only the output of the tool, as the other ways of calling show it.
"""

from __future__ import annotations

import json

from runner.rehearsal.calls import plain
from runner.rehearsal.turns import ToolCall

NOT_OFFERED = "rehearsal: not offered; offered: "
"""What a script prints, and then all names, when there is no such tool: only it sees them all."""


def shell(command: str, yield_ms: int, poll_ms: int) -> str:
    """Runs a command to its end."""
    return _guarded(
        f"""
let r = await tools.exec_command({{cmd: {json.dumps(command)}, yield_time_ms: {yield_ms}}});
let output = r.output;
while (r.session_id != null) {{
  r = await tools.write_stdin({{session_id: r.session_id, chars: "", yield_time_ms: {poll_ms}}});
  output += r.output;
}}
text(output);""",
        yield_ms,
    )


def tool(call: ToolCall, yield_ms: int) -> str:
    """Calls an MCP tool, found by its name as `plain` writes it."""
    wanted = plain(f"mcp__{call.server}__{call.name}")
    return _guarded(
        f"""
const names = ALL_TOOLS.map((tool) => tool.name);
const name = names.find((name) => name.replace(/[^A-Za-z0-9]/g, "_") === {json.dumps(wanted)});
if (name === undefined) {{
  text({json.dumps(NOT_OFFERED)} + names.join(" "));
}} else {{
  const r = await tools[name]({json.dumps(dict(call.arguments))});
  if (typeof r === "string") text(r);
  else if (r.structuredContent != null) text(JSON.stringify(r.structuredContent));
  else text((r.content ?? []).map((part) => part.text ?? JSON.stringify(part)).join("\\n"));
}}""",
        yield_ms,
    )


def patch(text: str, yield_ms: int) -> str:
    """Applies a patch."""
    return _guarded(
        f"""
const r = await tools.apply_patch({json.dumps(text)});
text(typeof r === "string" ? r : JSON.stringify(r));""",
        yield_ms,
    )


def _guarded(source: str, yield_ms: int) -> str:
    """The script with a failure printed like an output, as a model would see it."""
    pragma = json.dumps({"yield_time_ms": yield_ms})
    return f"// @exec: {pragma}\ntry {{{source}\n}} catch (error) {{ text(String(error)); }}"

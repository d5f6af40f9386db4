"""How a prompt asks for the result: the section for each `output_contract`. Pure: texts only.

The report is a claim. It is compared with git and with the verify commands, and the prompt says so.
"""

from __future__ import annotations

_FIELDS = """\
- `status`: `completed`, `partial` or `failed`. It is `completed` only if all of the task is done and
  verification has passed, as you saw it in the last run of the commands. Do not report completed unless
  verification passed: with anything left or unknown it is `partial`, with nothing to keep `failed`. Only a
  task that changes nothing and names no command has nothing to verify.
- `files_modified`: the path of every file that you created, changed or deleted, from the root of the
  repository; `[]` if there is none.
- `issues`: whatever is left over, was assumed, or stands in the way, one text for each; `[]` only if there is
  none. What you took for granted without having seen it begins with `Assumption:`; a change that the task
  needs where you may not change anything begins with `Scope expansion:`.
- `summary`: what is different now, in a few sentences.
- `verification_summary`: the commands that you ran and what came of each, failures included. What you did not
  run is not in it; if you ran nothing, it says so and why."""

_COMPARED = "Your report is compared with the changes in git and with a run of the checks that is not yours."

FINAL = f"""\
Your last message is one JSON object and nothing else: no text around it, no code fence. It has exactly these
five fields:
{_FIELDS}

{_COMPARED}"""

CLOSING_TURN = f"""\
When the work is done you are asked, in a message of its own, for a report as one JSON object with exactly
these five fields. Until then answer as you like, and keep what the report needs:
{_FIELDS}

{_COMPARED}"""

STATUS_BLOCK = f"""\
Begin your final message with this block, filled in: one line for each name, in this order. Lists are in
brackets with commas between the items, `[]` where there is nothing.

    STATUS: SUCCESS
    FILES_CHANGED: [path, path]
    TESTS_RUN: [command: what came of it]
    NOTES: what is different now, in one line
    ASSUMPTIONS: [text]
    PATTERNS_DISCOVERED: [text]

- `STATUS` is one word: `SUCCESS`, `PARTIAL`, `FAILED` or `BLOCKED`. It is `SUCCESS` only if all of the task
  is done and verification has passed, as you saw it in the last run of the commands. Do not report SUCCESS
  unless verification passed; only a task that changes nothing and names no command has nothing to verify.
  `BLOCKED` is for what only somebody else can resolve; a line `BLOCKER: text` behind `NOTES` then says what.
- `FILES_CHANGED`: the path of every file that you created, changed or deleted, from the root of the
  repository.
- `TESTS_RUN`: the commands that you ran and what came of each, failures included. What you did not run is not
  in it.
- `ASSUMPTIONS`: what you took for granted without having seen it.
- `PATTERNS_DISCOVERED`: what the next one who works here should know.

{_COMPARED}"""

WORDINGS = {"final": FINAL, "closing-turn": CLOSING_TURN, "status-block": STATUS_BLOCK}
"""By the value of `output_contract`."""

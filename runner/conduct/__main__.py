"""The conductor's program: `python -I .../conduct/__main__.py RUN_FOLDER`. Edge: the run's own stdout.

The supervisor of a plan's run starts and watches it like any agent. It prints progress as JSON lines, and
ends with 0 only if every batch is done.
"""

from __future__ import annotations

import json
import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def main(argv: list[str]) -> int:
    from runner.conduct import plan_record
    from runner.conduct.conductor import Conductor
    from runner.conduct.stages import work_of
    from runner.conduct.summary import Ended, ended
    from runner.conduct.work import redactor
    from runner.disk.files import unwritable
    from runner.errors import RunnerError
    from runner.redact.redactor import Redactor
    from runner.runtimes import plan
    from runner.state.store import RunDir
    from runner.text.words import one_line
    from runner.usecases.frozen import thawed

    hides = Redactor()

    def say(text: str) -> None:
        _print({"type": plan.PROGRESS, "text": hides.redact_text(text)})

    def say_end(end: Ended) -> None:
        told = {name: text and hides.redact_text(text) for name, text in end.to_json().items()}
        _print({"type": plan.ENDED, **told})

    run = RunDir.from_path(os.path.abspath(argv[0]))
    env = {
        name: value for name, value in os.environ.items() if name not in ("RUNNER_RUN_ID", "RUNNER_MANIFEST")
    }
    try:
        config = thawed(run, env)
        hides = redactor(config, env)
        given, found = plan_record.load(run)
        work = work_of(config, run, given)
        work.say = say
        found = Conductor(run, work, found, dict(os.environ), say).carry_out()
    except (RunnerError, OSError) as error:
        refused = unwritable(error) if isinstance(error, OSError) else error
        text = "\n".join((refused.message, *refused.problems))
        say_end(Ended(refused.code, one_line(refused.message), refused.hint, text))
        return 1
    except KeyboardInterrupt:
        return 130
    end = ended(found, run.task_id)
    say_end(end)
    return 0 if end.code == "completed" else 1


def _print(record: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(record) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))
    from runner.disk.interpreter import find_packages

    find_packages()
    raise SystemExit(main(sys.argv[1:]))

"""The program of a trial: it shows on a node what a run would find there. `interpreter.command` starts it.

It reads `ask.json` in its folder, which proves that the folder and the key are shared, takes the environment
away that it was given, runs one command in that, and writes `answer.json`.
"""

from __future__ import annotations

import os
import sys

_LARGEST = 4 << 20
_SECONDS = 60.0


def main(folder: str) -> int:
    from runner.disk.files import read, withdraw
    from runner.errors import RunnerError
    from runner.executors.base import UNUSABLE
    from runner.processes.proc import host
    from runner.runtimes.shortrun import run
    from runner.state.authentic import refuse_forged, write_record
    from runner.value import json_value

    secret, path = f"{folder}/env.json", f"{folder}/ask.json"
    try:
        env = json_value(read(secret, _LARGEST, is_private=True))
        withdraw(secret)
        data = read(path, _LARGEST)
        refuse_forged(path, data)
        asked = json_value(data)
        ran = run(asked["argv"], env, seconds=_SECONDS, cwd=asked["root"], grace_s=1.0)
        answer = {
            "nonce": asked["nonce"],
            "node": host(),
            "out": ran.stdout,
            "why": ran.why or ran.stderr[-500:],
        }
        write_record(f"{folder}/answer.json", answer)
    except (OSError, ValueError, RunnerError) as error:
        os.write(2, f"{getattr(error, 'message', error)}\n".encode(errors="replace"))
        return UNUSABLE
    return 0


if __name__ == "__main__":
    sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))
    sys.exit(main(sys.argv[1]))

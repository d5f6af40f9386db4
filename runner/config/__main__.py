"""The process that compiles the settings for `runner.config.load`: JSON on stdin, the snapshot or the
problems on stdout.

It is started as `disk.interpreter` says, so it puts the folder of this package on the path.
"""

from __future__ import annotations

import json
import os
import sys

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))

from runner.disk.interpreter import find_packages

find_packages()


def main() -> None:
    from runner.config.compile import compile_settings
    from runner.config.find import ConfigFiles
    from runner.config.snapshot import code
    from runner.text.problems import as_error

    request = json.load(sys.stdin)
    key = request["key"]
    done = compile_settings(ConfigFiles(**request["places"]), key["environment"], key["sets"])
    answer: dict[str, object]
    if done.config is None:
        answer = {"error": as_error(done.problems)}
    else:
        answer = {
            "key": key,
            "code": code(),
            "inputs": done.inputs,
            "written_ns": done.written_ns,
            "config": done.config,
        }
    print(json.dumps(answer))


if __name__ == "__main__":
    main()

"""The `runner` command as a program: `python -m runner`, or by path under `-I` from where it is installed."""

import os
import sys

if __name__ == "__main__":
    if sys.version_info < (3, 11):  # noqa: UP036 - said by the old one, in words
        sys.exit("error: runner needs Python 3.11 or newer, and this is " + sys.version.split()[0])
    if not __package__:
        sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
        from runner.disk.interpreter import find_packages

        find_packages()
    from runner.cli.app import program

    program()

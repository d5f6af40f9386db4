"""`python -m runner`: the same as the `runner` command."""

from __future__ import annotations

from runner.cli.app import main

if __name__ == "__main__":
    raise SystemExit(main())

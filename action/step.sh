#!/bin/sh
# One step of action.yml: finds a Python for steps.py, or says what is missing here.
refuse() {
  echo "::error title=runner::$1"
  printf 'reason=platform_unsupported\nstatus=not-started\n' >> "$GITHUB_OUTPUT"
  exit 8
}
[ "$(uname -s)" = Linux ] || refuse "this action runs on Linux only: use runs-on: ubuntu-latest"
for python in python3 python3.14 python3.13 python3.12 python3.11; do
  found=$(command -v "$python") || continue
  "$found" -I -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2> /dev/null || continue
  exec "$found" -IB "${0%/*}/steps.py" "$@"
done
refuse "there is no Python 3.11 or newer on PATH: put actions/setup-python before this action"

#!/bin/sh
# One step of action.yml. `check` comes before the agent and looks for a Python once; the steps after it take that
# one and no other, as the agent may have written what PATH finds in the workspace.
refuse() {
  echo "::error title=runner::$1"
  printf 'reason=platform_unsupported\nstatus=not-started\n' >> "$GITHUB_OUTPUT"
  case $INPUT_REPORT in
    *summary*) printf '## No run was started: `platform_unsupported`\n\n    %s\n' "$1" >> "$GITHUB_STEP_SUMMARY" ;;
  esac
  exit 8
}
here=${0%/*}
case $1 in
  end | report) trap '' INT TERM ;; # of a cancelled job they have ten seconds, and use them
esac
if [ "$1" != check ]; then
  if [ -z "$INTERPRETER" ]; then # nothing came to be, and `check` has said why
    printf 'reason=%s\nstatus=%s\n' "${REASON:-interrupted}" "${STATUS:-not-started}" >> "$GITHUB_OUTPUT"
    exit 8
  fi
  exec "$INTERPRETER" -ISB "$here/steps.py" "$@"
fi
[ "$(uname -s)" = Linux ] || refuse "this action runs on Linux only: use runs-on: ubuntu-latest"
work=$(cd -P -- "${GITHUB_WORKSPACE:-/nowhere}" 2> /dev/null && pwd -P) || work=/nowhere
outside() {
  case $1/ in
    "$work"/*) return 1 ;;
    /*) return 0 ;;
  esac
  return 1
}
IFS=:
set -f
for name in python3 python3.14 python3.13 python3.12 python3.11; do
  for place in $PATH; do
    found=$place/$name
    [ -f "$found" ] && [ -x "$found" ] || continue
    real=$(cd -P -- "$place" && pwd -P) && outside "$real" && real=$(readlink -f -- "$found") && outside "$real" || continue
    # What it is made of: without `site` no file of an environment is read.
    said=$("$found" -ISB -c '
import os, sys
if sys.version_info >= (3, 11):
    parts = {sys.executable, sys.prefix, sys.base_prefix, sys.exec_prefix, os.__file__, *sys.path}
    work = os.path.join(sys.argv[1], "")
    if sys.executable and not any((os.path.realpath(one) + "/").startswith(work) for one in parts):
        print(os.path.realpath(sys.executable))
' "$work" 2> /dev/null) && [ -n "$said" ] || continue
    unset IFS
    printf 'python=%s\n' "$said" >> "$GITHUB_OUTPUT"
    exec "$said" -ISB "$here/steps.py" "$@"
  done
done
refuse "there is no Python 3.11 or newer on PATH outside of the workspace: put actions/setup-python before this action"

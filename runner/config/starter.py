"""The delegate.toml that `init` writes: a screen of TOML that says what was found, and teaches. Pure."""

from __future__ import annotations

from runner.lightjson import dumps

TYPE_CHECKING = False
if TYPE_CHECKING:
    from runner.config.detect import Detected

_TEXT = """\
# Tasks of this repository that `runner` can give to a coding agent. Commit this file; what is only
# yours goes into delegate.local.toml beside it.
#
#   runner check                                  is this file valid?
#   runner start --task hello --rehearse --wait   try it without a model: no login, no tokens
#   runner init --full --print                    every key there is, with its default
#
# For completion in an editor, write the schema to a file and name it in the FIRST line of this one:
#   runner schema delegate > .delegate.schema.json
#   #:schema ./.delegate.schema.json

schema_version = 1

[tasks.hello]                     # the key is the task id
title = "Say hello"
prompt = "Say what this repository is for, in one sentence."
sandbox = "read-only"             # the agent may read, and change nothing

[tasks.improve]                   # no prompt here: runner start --task improve --prompt "..."
title = "A small change, on demand"
sandbox = "workspace-write"       # the agent may change files of this repository, without network
{scope}
{verify}
timeout = "30m"
# retries = 1                     # a second attempt sees what was wrong with the first
# workspace = "worktree"          # a work tree of its own, until you `runner accept` its change
"""
_VERIFY = '# verify = [["make", "test"]]     # no test command was found; a run that fails yours is rejected'


def text(found: Detected) -> str:
    """The file for a repository in which this was found."""
    globs = dumps(found.scope or ("src/**", "tests/**"))
    scope = f"{'' if found.scope else '# '}scope = {globs}"
    verify = _VERIFY
    if (test := found.verify) is not None:
        verify = (
            f"verify = [{dumps(test.argv)}]\n# From {test.where}; a run whose change fails it is rejected."
        )
        verify += "".join(f"\n# Also found: {one}" for one in found.others)
    return _TEXT.format(scope=f"{scope:<33} # a change elsewhere is rejected", verify=verify)

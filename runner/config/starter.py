"""The delegate.toml that `init` writes: a screen of TOML that says what was found. Edge: disk."""

from __future__ import annotations

from runner.config.find import shipped
from runner.lightjson import dumps

TYPE_CHECKING = False
if TYPE_CHECKING:
    from runner.config.detect import Detected

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
    with open(shipped("pipelines/starter.toml"), encoding="utf-8") as file:
        marked = file.read().replace("#VERIFY", verify)
    return marked.replace("#SCOPE", f"{scope:<33} # a change elsewhere is rejected")

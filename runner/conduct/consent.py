"""A person's consent, once per project, to delegate plans. Edge: disk.

It is kept in the user's state folder, outside the repository: no committed file can give it, and no agent
that may write in the repository alone. What others could have written is not believed.
"""

from __future__ import annotations

import hashlib
import os

from runner.disk import home
from runner.disk.files import is_ours_alone, private_folder, read, replace_json, unwritable
from runner.errors import Unwritable
from runner.model import SCHEMA_VERSION, Level
from runner.state.manifest import timestamp
from runner.value import Count, Value, json_value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from runner.model import Sandbox

_LONGEST = 65_536


class Consent(Value):
    """What was agreed to: plans of `repo` (a real path) go to `runtime`, at this level or a narrower one."""

    schema_version: Count
    repo: str
    runtime: str
    level: Level
    network: bool
    at: str


def place(root: str, env: Mapping[str, str], sandbox: Sandbox | None = None) -> str:
    """The file of a consent for this repository. Unwritable where no folder for it is out of reach of those
    who work there: in the repository, or in what `sandbox` lets an agent write.
    """
    folder = os.path.join(home.state(env), "consents")
    reached = [root]
    if sandbox is not None and sandbox.level is Level.WORKSPACE_WRITE:
        reached += sandbox.writable
    for one in reached:
        home.refuse_inside(folder, one, "a consent")
    digest = hashlib.sha256(os.fsencode(os.path.realpath(root))).hexdigest()[:32]
    return f"{folder}/{digest}.json"


def given(root: str, env: Mapping[str, str]) -> Consent | None:
    """The consent for this repository. None where there is none, or one that cannot be believed: of another
    path, broken, or in a file or folder that others may write.
    """
    try:
        path = place(root, env)
        folder = os.path.dirname(path)
        if not all(is_ours_alone(os.stat(one)) for one in (folder, os.path.dirname(folder))):
            return None
        data = read(path, _LONGEST, is_private=True)
    except (OSError, Unwritable):
        return None
    try:
        found = Consent.from_json(json_value(data))
    except ValueError:
        return None
    is_ours = found.schema_version == SCHEMA_VERSION and found.repo == os.path.realpath(root)
    return found if is_ours else None


def covers(consent: Consent, runtime: str, sandbox: Sandbox) -> bool:
    """Whether that was agreed to: the same runtime, and neither level nor network any wider."""
    return (
        consent.runtime == runtime
        and sandbox.level.rank <= consent.level.rank
        and (consent.network or not _has_network(sandbox))
    )


def give(root: str, runtime: str, sandbox: Sandbox, env: Mapping[str, str]) -> Consent:
    """Stores it in the place of an earlier one. Unwritable with that left as it was if it cannot."""
    path = place(root, env, sandbox)
    network = _has_network(sandbox)
    repo = os.path.realpath(root)
    consent = Consent(SCHEMA_VERSION, repo, runtime, sandbox.level, network, timestamp())
    folder = os.path.dirname(path)
    try:
        private_folder(os.path.dirname(folder), os.path.basename(folder))
        replace_json(path, consent.to_json())
    except OSError as error:
        raise unwritable(error) from error
    return consent


def withdraw(root: str, env: Mapping[str, str]) -> bool:
    """Whether there was something to take away, good or broken. Unwritable if it is still there."""
    try:
        path = place(root, env)
    except Unwritable:
        return False  # nothing there can be trusted
    try:
        os.unlink(path)
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError as error:
        raise unwritable(error) from error
    return True


def _has_network(sandbox: Sandbox) -> bool:
    return sandbox.network or sandbox.level is Level.DANGER  # nothing could keep that from it

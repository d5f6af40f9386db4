"""What a person has decided about a repository. Edge: disk.

A decision is kept in the user's state folder, outside of the repository: no committed file can make it, and
no agent that may write in the repository alone. What others could have written is not believed. Each decision
is a file of its own, replaced as a whole, so writers at the same time cannot spoil each other's.
"""

from __future__ import annotations

import os

from runner.disk import home
from runner.disk.digest import sha256
from runner.disk.files import is_ours_alone, private_folder, read, replace_json, unwritable
from runner.disk.upwards import opened_to_others
from runner.errors import Unwritable
from runner.model import SCHEMA_VERSION
from runner.value import Count, Value, json_value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import TypeVar

    Made = TypeVar("Made", bound="Kept")

_LONGEST = 1 << 20


class Kept(Value):
    """What every decision says first: its format, and the repository that it is about (see `name_of`)."""

    schema_version: Count
    repo: str


def place(
    kind: str, what: str, root: str, env: Mapping[str, str], *, part: str = "", reached: Sequence[str] = ()
) -> str:
    """The file of a decision of this `kind` about the repository, or about a `part` of it. Unwritable where
    no folder for it is out of reach of those who work there: in the repository, or in one of `reached`; or of
    other users.
    `what` names the decision to people.
    """
    folder = os.path.join(home.state(env), kind)
    for one in (root, *reached):
        home.refuse_inside(folder, one, what)
    if opened := opened_to_others(os.path.dirname(folder)):
        raise Unwritable(
            f"{what} kept in {folder} could be replaced by others, who may write in {opened}",
            hint=f"`chmod go-w {opened}`, or set XDG_STATE_HOME to a folder that is yours alone",
        )
    subject = os.fsencode(os.path.realpath(root)) + (b"\0" + os.fsencode(part) if part else b"")
    return f"{folder}/{sha256(subject).hexdigest()[:32]}.json"


def made(path: str, root: str, shape: type[Made]) -> Made | None:
    """The decision that is kept there. None where there is none, or one that cannot be believed: of another
    path, broken, or in a file or folder that others may write.
    """
    folder = os.path.dirname(path)
    try:
        if not all(is_ours_alone(os.stat(one)) for one in (folder, os.path.dirname(folder))):
            return None
        found = shape.from_json(json_value(read(path, _LONGEST, is_private=True)))
    except (OSError, ValueError):
        return None
    is_ours = found.schema_version == SCHEMA_VERSION and found.repo == name_of(root)
    return found if is_ours else None


def name_of(path: str) -> str:
    """A path as a decision has it: with links followed, and the same text in every locale."""
    return os.fsencode(os.path.realpath(path)).decode("utf-8", "surrogateescape")


def keep(path: str, decision: Kept) -> None:
    """Stores it in the place of an earlier one, in folders that are ours alone. Unwritable with that left as
    it was if it cannot.
    """
    folder = os.path.dirname(path)
    try:
        private_folder(os.path.dirname(folder), os.path.basename(folder))
        replace_json(path, decision.to_json())
    except OSError as error:
        raise unwritable(error) from error


def withdraw(path: str) -> bool:
    """Whether there was something to take away, good or broken. Unwritable if it is still there."""
    try:
        os.unlink(path)
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError as error:
        raise unwritable(error) from error
    return True

"""USE CASE `trust`: may what the settings of a repository execute, send and widen be done here? Edge: disk.

A person says so once, for the list of `config.trust` as it is, or for the whole folder whatever it comes to
say. A start asks; what only looks never does. Nothing here executes anything.
"""

from __future__ import annotations

import os

from runner.config.find import LOCAL_NAME
from runner.disk import files, upwards
from runner.disk.decisions import name_of
from runner.disk.digest import sha256
from runner.errors import NotTrusted, RunnerError
from runner.model import SCHEMA_VERSION
from runner.state import trust
from runner.state.committed import tracked
from runner.state.manifest import timestamp
from runner.text.expansion import fitting, is_loose
from runner.text.terminal import plain
from runner.value import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from runner.model import Config
    from runner.state.trust import Changed, Trusted

VARIABLE = "RUNNER_TRUST"
_LARGEST = 256 * 1024 * 1024
_AT_EACH_START = 8 * 1024 * 1024
_PIECE = 1 << 20
_CONTENT = "content of "
_OUTSIDE = "outside: "


class Demands(Value):
    """What there is to trust, and whether it is trusted: `by` says how, None is not at all.

    `items` are (kind, key, words); `listed` is their digest without contents of files. `scripts` are the
    files whose contents count, whether they are there or not.
    `before` is what was trusted last, `changes` what runs have changed since.
    """

    root: str
    file: str = ""
    listed: str = ""
    scripts: tuple[str, ...] = ()
    items: tuple[tuple[str, ...], ...] = ()
    by: str | None = None
    before: Trusted | None = None
    changes: tuple[Changed, ...] = ()

    @property
    def digest(self) -> str:
        """Of what came with the repository, as it is now: the same before and after an installation, in every
        clone. It reads git's index, and most starts do not need it. What is among the items counts as it was
        read for them: nobody is shown one content and agrees to the digest of another.
        """
        seen = self.contents
        known = ((name, seen.get(f"{_CONTENT}{name}")) for name in self.scripts)
        came = [(name, said) for name, one in known if (said := committed_content(self.root, name, one))]
        from runner.config.trust import digest_of

        return digest_of([self.listed, came]) if came else self.listed

    @property
    def contents(self) -> dict[str, str]:
        """The files among the items, with what is in them."""
        return _contents(self.items)

    @property
    def known(self) -> dict[str, str]:
        """Those that were trusted last. A file that was not there then was trusted by its name: its command
        could only fail.
        """
        return _contents(() if self.before is None else self.before.items)


def demanded(config: Config, env: Mapping[str, str], *, rehearses: bool = False, task: str = "") -> Demands:
    """Of these settings, here and now. `rehearses`: the run talks to the scripted model only, and is of this
    task, if it is of one.
    """
    table = config.trust
    if not table:  # nothing came with the repository
        return Demands(config.root, by="nothing")
    scripts = scripts_of(config)
    contents = [(name, found) for name in scripts if (found := _content(config.root, name))]
    items = tuple(map(tuple, table["items"]))
    if contents:
        from runner.config.trust import OTHER, RUNS  # a start may name no script

        kinds = {True: OTHER, False: RUNS}  # what is played, an agent does in its sandbox
        items += tuple(
            (kinds[name in table["played"]], f"{_CONTENT}{name}", found) for name, found in contents
        )
    seen = Demands(config.root, table["file"], table["digest"], scripts, items)
    if VARIABLE in env and env[VARIABLE] == seen.digest:
        unseen = _beyond_digest(seen, trust.changes(config.root, env))
        return seen.replace(by=None if unseen else "variable", changes=unseen)
    if rehearses and (table["shipped"] or not any(_concerns(key, task) for _, key, _ in table["items"])):
        return seen.replace(by="nothing")  # nothing is sent, nothing runs that is not ours
    seen = seen.replace(
        before=trust.given(config.root, env, table["file"]), changes=trust.changes(config.root, env)
    )
    if seen.changes:
        return seen
    known, now, by = seen.known, seen.contents, "digest"
    came = [key.removeprefix(_CONTENT) for key in now if key not in known]
    loose = {f"{_CONTENT}{name}" for name in scripts} - {f"{_CONTENT}{name}" for name in table["scripts"]}
    is_rewritten = any(known.get(key, None if key in loose else words) != words for key, words in now.items())
    if seen.before is None or seen.before.digest != seen.listed or is_rewritten:
        if trust.given(config.root, env) is None or written_by_others(seen) is not None:
            return seen
        by = "folder"
    changes = _changed_by_unfinished(config.root, came) if came or by == "folder" else ()
    return seen.replace(changes=changes) if changes else seen.replace(by=by)


def scripts_of(config: Config, files: Iterable[str] | None = None) -> tuple[str, ...]:
    """The scripts whose contents count: those that are named, and of names with a `*` or a variable in them
    what git tracks (or these files) that a shell may make of them.
    """
    names = tuple(config.trust.get("scripts", ()))
    loose = [name for name in names if is_loose(name)]
    if not loose:
        return names
    found = fitting(loose, tracked(config.root) if files is None else files)
    return tuple(dict.fromkeys((*names, *sorted(found))))


def _concerns(key: str, task: str) -> bool:
    """Whether a run of the task does what this key says: not if it is of another one."""
    table, _, rest = key.partition(".")
    return not task or table not in ("tasks", "pipelines") or rest.startswith((f"{task}.", f'"{task}".'))


def _changed_by_unfinished(root: str, came: Collection[str]) -> tuple[Changed, ...]:
    """What differs since a run began that nobody has judged yet: it works, or its supervisor was killed. Its
    end will say whether that was the run. `came` are scripts that nobody was asked about.
    """
    from runner.state import authentic, index
    from runner.state.watched import TO_COME
    from runner.state.watched import changed as differing

    found = []
    for run in index.scan(root)[1]:
        try:
            then = authentic.own_invocation(run)
        except RunnerError:  # not ours, or of a runner that is older
            continue
        new = [name for name in came if then.watched.get(name) == TO_COME]
        if paths := differing(root, then.watched, new):
            found.append(trust.Changed(SCHEMA_VERSION, name_of(root), run.run_id, paths, timestamp()))
    return tuple(found)


def written_by_others(found: Demands) -> str | None:
    """What lets other users say what runs here: these settings, scripts in the repository, a folder above."""
    project = os.path.join(found.root, found.file)
    settings = (project, os.path.join(os.path.dirname(project), LOCAL_NAME))
    scripts = (f"{found.root}/{name}" for name in found.scripts)
    above = os.path.realpath(found.root).rstrip("/") + "/"
    paths = (*settings, *(path for path in scripts if os.path.realpath(path).startswith(above)))
    return next((place for path in paths if (place := upwards.written_by_others(path))), None)


def _not_the_folder(found: Demands, env: Mapping[str, str]) -> str | None:
    if trust.given(found.root, env) is None or (place := written_by_others(found)) is None:
        return None
    return f"are not trusted with the folder, since others can write {place}"


def refusal(found: Demands, env: Mapping[str, str]) -> NotTrusted:
    """The error for settings that nobody trusts, one line for each thing that is to be decided."""
    what = "have changed since they were trusted" if found.before else "are not trusted yet"
    what = _not_the_folder(found, env) or what
    if found.changes:
        what = "were changed by a run, or while it worked, and nobody has agreed to that yet"
    elif (said := env.get(VARIABLE)) is not None:
        what = f"are not what {VARIABLE} trusts ({said[:80]}), but {found.digest}"
    return NotTrusted(
        f"the settings of {found.root} {what}",
        hint=trust.nowhere_to_keep(found.root, env),
        problems=[*changed(found), *(" ".join(map(plain, row)) for row in difference(found))],
    )


def difference(found: Demands) -> list[tuple[str, str, str]]:
    """(what became of it, key, words) of everything that is not as it was trusted last."""
    from runner.text.differences import differences  # a start asks for it only to refuse

    before, now = (
        {row[1]: row[2] for row in rows if len(row) == 3}
        for rows in (found.before.items if found.before else (), found.items)
    )
    told = []
    for one in differences(before, now):
        old, new = (said and words_of(("", one.key, said)) for said in (one.before, one.after))
        told.append((f"{one.kind}:", one.key, one.replace(before=old, after=new).words))
    return told


def words_of(row: tuple[str, ...]) -> str:
    """The words of a row; of a content, as much as people compare."""
    return row[2][:19] if row[1].startswith(_CONTENT) else row[2]


def changed(found: Demands) -> list[str]:
    """A line for each run that changed what a start obeys."""
    return [f"run {one.run_id} changed {', '.join(one.paths) or 'the settings'}" for one in found.changes]


def agree(found: Demands, env: Mapping[str, str], *, folder: bool = False) -> None:
    """Stores that it is trusted, and what runs changed as agreed to. Unwritable where it cannot be kept."""
    trust.give(found.root, env, found.file, found.listed, found.items, found.changes)
    if folder:
        trust.give(found.root, env, "", None, ())


def pin(found: Demands, env: Mapping[str, str]) -> None:
    """Stores the contents of scripts that were not there when their commands were trusted: from now on a
    change of them is asked for. A store that cannot be written is no error: they are as before.

    What runs changed and is as it was again is forgotten: a later change of it is not theirs.
    """
    trust.forget_undone(found.root, env)
    now = found.contents | found.known
    if found.by != "digest" or len(now) == len(found.known):
        return
    settings = [row for row in found.items if not row[1].startswith(_CONTENT)]
    from runner.config.trust import RUNS

    items = (*settings, *((RUNS, key, words) for key, words in now.items()))
    try:
        trust.give(found.root, env, found.file, found.listed, items)
    except RunnerError:
        return


def _contents(items: Iterable[tuple[str, ...]]) -> dict[str, str]:
    return {row[1]: row[2] for row in items if len(row) == 3 and row[1].startswith(_CONTENT)}


def withdraw(root: str, file: str, env: Mapping[str, str]) -> bool:
    """Whether there was anything to take back, of these settings or of the folder."""
    return trust.withdraw(root, env, [file, ""])


def program_is_trusted(config: Config, runtime: str, env: Mapping[str, str]) -> bool:
    """Whether the program of a runtime may be started to ask it what it is: one that is not named by the
    settings of the repository always, one that is where these are trusted.
    """
    named = {key for _, key, _ in config.trust.get("items", ())}
    return f"runtimes.{runtime}.command" not in named or demanded(config, env).by is not None


def _beyond_digest(found: Demands, changes: tuple[Changed, ...]) -> tuple[Changed, ...]:
    """The changes of runs that the digest cannot tell: of scripts that did not come with the repository."""
    apart = {name for name in found.scripts if not committed_content(found.root, name)}
    return tuple(one for one in changes if apart.intersection(one.paths))


def committed_content(root: str, name: str, known: str | None = None) -> str | None:
    """What the repository itself says of this file: its content where git tracks it, where a tracked link
    leads, None of what was installed or made here. Without git, everything came with the folder. `known` is
    its content as it was read before.
    """
    from runner.disk.upwards import git_root
    from runner.state.committed import is_committed

    path = os.path.join(root, name)
    if git_root(root) is None or is_committed(root, os.path.realpath(path)):
        is_whole = known is not None and not known.startswith("file:")
        said = known if is_whole else _content(root, name, is_whole=True)
        return None if said is None or said.startswith(_OUTSIDE) else said
    return f"link:{os.readlink(path)}" if os.path.islink(path) and is_committed(root, path) else None


def _content(root: str, name: str, *, is_whole: bool = False) -> str | None:
    """The digest of a file's content; None where there is no such file. Of a large one, which no start has
    the time to read, which file it is and when it changed last, unless it is asked for as a whole.

    What a link leads to outside of the repository, such as the Python of a `.venv`, did not come with it: its
    name without a version is enough to see that the repository has put something else there.
    """
    path, above = os.path.join(root, name), os.path.realpath(root).rstrip("/") + "/"
    try:
        fd, found = files.follow(path)
    except (OSError, ValueError):
        return None
    with os.fdopen(fd, "rb") as file:
        real = os.path.realpath(path)
        if not real.startswith(above):
            return _OUTSIDE + os.path.basename(real).rstrip("0123456789.")
        if found.st_size > _AT_EACH_START and not is_whole:
            return f"file:{found.st_ino}:{found.st_size}:{found.st_mtime_ns}:{found.st_ctime_ns}"
        if found.st_size > _LARGEST:
            return f"size:{found.st_size}:{found.st_mtime_ns}"
        made = sha256()
        while piece := file.read(_PIECE):
            made.update(piece)
    return f"sha256:{made.hexdigest()}"

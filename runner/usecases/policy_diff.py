"""USE CASE `policy diff`: what settings at one commit let runs do, and at another do not. Edge: git.

Only what the repository brings counts, on both sides. Nothing of it is checked out, converted or executed.
"""

from __future__ import annotations

import os

from runner.config.commands import breaches_of
from runner.config.compile import compile_settings
from runner.config.facts import OTHER, WIDENS
from runner.config.find import FILE_NAME, LOCAL_NAME, SYSTEM_POLICY, ConfigFiles
from runner.config.sent import kept_back
from runner.config.snapshot import config_from_json
from runner.config.trust import digest_of
from runner.config.widening import BREACH, SettingChange, Side, changes, too_many
from runner.disk import files, home
from runner.disk.digest import sha256
from runner.errors import ConfigInvalid, UsageError
from runner.plan.pipeline import Pipeline
from runner.text.problems import dotted
from runner.text.words import count
from runner.usecases.trust import scripts_of
from runner.value import Value
from runner.workspace.git import Git, split
from runner.workspace.tree_at import UNTOUCHED, TreeAt

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from runner.config.compile import Compiled

_Contents = dict[str, tuple["str | None", "str | None", bool]]
_NOWHERE = f"{os.devnull}/none"
_SHALLOW = "this clone is shallow, and runner fetches nothing: `git fetch --unshallow origin`"
_LARGEST = 256 * 1024 * 1024
_MOST_LINKS = 40


class Point(Value):
    """`file` has the settings, None: there are none; `trust` is their digest as `runner trust` has it."""

    named: str
    commit: str
    file: str | None
    trust: str | None


class PolicyDiff(Value):
    base: Point
    head: Point
    breaches: tuple[SettingChange, ...]
    changes: tuple[SettingChange, ...]
    notes: tuple[str, ...]


def compare(
    start: str,
    env: Mapping[str, str],
    span: tuple[str, str | None],
    config: str | None,
    policies: Sequence[str],
) -> PolicyDiff:
    """`span` is BASE and HEAD. UsageError for what is no commit, ConfigInvalid for wrong settings at HEAD."""
    repository = _Repository(start)
    base, head, mark = _ends(*span)
    tip, last = repository.commit(base), repository.commit(head)
    fork = tip if mark == ".." else repository.fork(tip, last, base)
    before, after = TreeAt(repository.git, fork), TreeAt(repository.git, last)
    new, old = repository.settings(after, config), repository.settings(before, config)
    if config is not None and repository.inside(config) not in {*before.files, *after.files}:
        hint = "a path is one of the work tree, from this folder: `git ls-tree -r --name-only HEAD` has all"
        raise UsageError(f"--config {config}: no such file at {base} or {head}", hint=hint)
    given = repository.policies(policies, (f"{home.config(env)}/policy.toml", SYSTEM_POLICY), tip, base)
    now, then = repository.compiled(after, new, env, given), repository.compiled(before, old, env, None)
    read: dict[str | None, str] = {
        path.removeprefix(f"{repository.root}/"): base for path in given if given[path]
    }
    if wrong := repository.problems(now, after, new, head, read):
        at = base if all(one.startswith(f"{base}:") for one in wrong) else head
        raise ConfigInvalid(f"{count(len(wrong), 'problem')} at {at}", hint="", problems=wrong)
    notes = []
    if old is None or repository.problems(then, before, old, base):
        why = "has no settings" if old is None else "has settings that are wrong"
        notes.append(f"{base} {why}: all of {head} counts as new")
        if moved := repository.renamed_from(before, after, new):
            notes.append(f"{new} was {moved} before, where it was not in force")
        old, then = None, repository.compiled(before, None, env, None)
    elif new != old:
        notes.append(f"the settings of {base} are in {old}" + (f", those of {head} in {new}" if new else ""))
    one, other = side_of(then), side_of(now)
    was, now_has = _contents(one, before), _contents(other, after)
    told = (*changes(one, other), *_scripts(was, now_has, other))
    told += _sent(_led(one, before), _led(other, after))
    told += _elsewhere(before, after, (old, new)) if config is None else ()
    for path in filter(None, map(repository.inside, given)):
        if before.files.get(before.real(path) or "") != after.files.get(after.real(path) or ""):
            says = f"ceilings are other ones at {head}; those of {base} count here"
            told += (SettingChange(WIDENS, "trust", None, says, path, file=path),)
    points = (
        Point(base, fork, before.real(old or ""), _digest(one, was)),
        Point(head, last, after.real(new or ""), _digest(other, now_has)),
    )
    return PolicyDiff(*points, _breaches(other, now), told, tuple(notes))


def side_of(done: Compiled) -> Side:
    """With all that a stage does not say, as it is carried out."""
    config = config_from_json(done.config or {})
    stages = {name: Pipeline.from_json(one).to_json() for name, one in config.pipelines.items()}
    return Side(config.replace(pipelines=stages), done.layers[-1])


def _breaches(head: Side, done: Compiled) -> tuple[SettingChange, ...]:
    """What `check` has against it, and the numbers."""
    found = [(one.key, one.message, one.line) for one in breaches_of(head.config, done.layers)]
    found += [(dotted(path), sentence, head.line(path)) for path, sentence in too_many(head)]
    return tuple(SettingChange(BREACH, "policy", None, sentence, key, line) for key, sentence, line in found)


def _contents(side: Side, tree: TreeAt) -> _Contents:
    """Of each script that counts, and of each plan whose units may have commands: what there is in the words
    of `runner trust`, what is told of it, and whether it is told though it is named for the first time: a
    checkout has something else, or no command names it.
    """
    config, found = side.config, _Contents()
    scripts, exact = scripts_of(config, tree.files), {*config.trust.get("scripts", ())}
    plans = [stage.get("plan") or "{" for one in config.pipelines.values() for stage in one["stages"]]
    named = [os.path.relpath(os.path.join(config.root, one), config.root) for one in plans if "{" not in one]
    for name, (real, more) in tree.ways((*scripts, *named), "eol").items():
        link, told = tree.link(name), more and f"none: {more}"
        said = f"sha256:{sha256(tree.read(real, _LARGEST)).hexdigest()}" if real else link and f"link:{link}"
        if real and said:
            told = said[:19] + (more and f", its content is made at checkout (`{more}`)")
        found[name] = said, told or None, bool(real and more) or name not in exact
    return found


def _digest(side: Side, contents: _Contents) -> str | None:
    listed: str | None = side.config.trust.get("digest")
    scripts = scripts_of(side.config, contents)
    came = [(name, said) for name in scripts if (said := contents[name][0])]
    return digest_of([listed, came]) if came else listed


def _scripts(before: _Contents, after: _Contents, head: Side) -> list[SettingChange]:
    """Those whose content is another one, or is gone; what is played, an agent does in its sandbox."""
    played = head.config.trust.get("played", ())
    return [
        SettingChange(
            OTHER if name in played else WIDENS, "script", was[1], now[1] or "none", name, file=name
        )
        for name, now in after.items()
        if (was := before.get(name, (None, None, False) if now[2] else now))[:2] != now[:2]
    ]


def _led(side: Side, tree: TreeAt) -> dict[str, str | None]:
    """Of each prompt and map that is a file: where a link leads that leads to what no start sends."""
    root, found = side.config.root, dict[str, str | None]()
    for task in side.config.tasks.values():
        denied = side.config.sandboxes[task.sandbox].deny_read
        for path in filter(None, (task.prompt_file, task.map)):
            name = os.path.relpath(os.path.join(root, path), root)
            real, way = tree.follow(name)
            why = kept_back(root, real, denied) if real and real != name else None
            found[name] = (why and f"leads to {real}, which {why}") or way or found.get(name)
    return found


def _sent(before: dict[str, str | None], after: dict[str, str | None]) -> tuple[SettingChange, ...]:
    return tuple(
        SettingChange(WIDENS, "sends", before.get(name), way, name, file=name)
        for name, way in after.items()
        if way and way != before.get(name)
    )


def _elsewhere(before: TreeAt, after: TreeAt, seen: Sequence[str | None]) -> tuple[SettingChange, ...]:
    """Other settings, of which nothing is said here: what git has at each, or where it leads."""
    every, names = {*before.files, *after.files} - {*seen}, (FILE_NAME, LOCAL_NAME)
    paths = sorted(path for path in every if path.rpartition("/")[2] in names)
    then, now = before.ways(paths), after.ways(paths)
    there = {path: real or path for path, (real, _) in now.items()}
    says, gone = "not looked at; `--config {}` does", {*paths} - after.files.keys()
    return tuple(
        SettingChange(WIDENS, "trust", None, says.format(path), path, is_gone=path in gone, file=path)
        for path, at in there.items()
        if (then[path] != now[path] or before.files.get(at) != after.files.get(at))
        and not (path in gone and path.endswith(LOCAL_NAME))
    )


def _ends(base: str, head: str | None) -> tuple[str, str, str]:
    """BASE, HEAD and what is between them where they are one word, as git has it."""
    for mark in ("...", ".."):
        left, found, right = base.partition(mark)
        if found and head is None:
            return left or "HEAD", right or "HEAD", mark
    return base, head or "HEAD", "..."


class _Repository:
    """What git says of the repository around a folder."""

    def __init__(self, start: str) -> None:
        self.git = Git(os.path.realpath(start), UNTOUCHED, {"core.warnAmbiguousRefs": "true"})
        bare = self.git.line("rev-parse", "--is-bare-repository")
        if bare is None:
            self.git.run("rev-parse", "--git-dir")  # which says why
        what = "--absolute-git-dir" if bare == "true" else "--show-toplevel"
        self.root = os.path.realpath(os.fsdecode(self.git.run("rev-parse", what)[:-1]))
        self.prefix = "" if bare == "true" else self.git.line("rev-parse", "--show-prefix") or ""

    def commit(self, name: str) -> str:
        asked = ("rev-parse", "--verify", f"{name}^{{commit}}")
        status, out, said = self.git.ask(*asked) if name[:1] != "-" else (1, b"", "")
        found = out.decode().strip()
        if status != 0:
            hint = _SHALLOW if self._cut else "`git log` shows the commits there are"
            raise UsageError(f"{name!r} is no commit of {self.root}", hint=hint)
        word = said.partition("refname '")[2].partition("' is ambiguous")[0]
        if word not in ("", "HEAD") and not found.startswith(word):
            places = [f"refs/{place}{word}" for place in ("", "tags/", "heads/", "remotes/")]
            full = os.fsdecode(self.git.run("for-each-ref", "--format=%(refname)", *places)).split()
            raise UsageError(f"{name!r} is ambiguous", hint=f"say which: {', '.join(full)}")
        return found

    @property
    def _cut(self) -> set[str]:
        """The commits of a shallow clone whose parents it lacks, or some of them."""
        place = self.git.line("rev-parse", "--git-path", "shallow") or ""
        try:
            return {*files.read(os.path.join(self.git.cwd, place)).decode().split()}
        except OSError:
            return set()

    def fork(self, base: str, head: str, named: str) -> str:
        """Where HEAD left BASE: what BASE has got since is no change of HEAD. Where that is several commits,
        BASE itself.
        """
        status, out, _ = self.git.ask("merge-base", "--all", base, head)
        found = out.decode().split() if status == 0 else []
        cut = self._cut
        if cut and len(found) == 1:  # it may be an older one, behind what is cut off
            apart = self.git.run("rev-list", base, head, "--not", *found).decode().split()
            found = found if cut.isdisjoint(apart) else []
        if not found:
            hint = f"`{named}..HEAD` compares the two as they are"
            hint = f"{_SHALLOW}; {hint}" if cut else hint
            raise UsageError(f"nothing here says where HEAD left {named}", hint=hint)
        return found[0] if len(found) == 1 else base

    def settings(self, tree: TreeAt, config: str | None) -> str | None:
        """The path of the settings at a commit: the nearest, as a start finds them."""
        path = f"{self.prefix}{FILE_NAME}" if config is None else self.inside(config)
        if path is None:
            raise UsageError(f"--config {config}: expected a file of {self.root}", hint=None)
        while path not in tree.files and path.endswith(f"/{FILE_NAME}"):
            path = os.path.join(os.path.dirname(os.path.dirname(path)), FILE_NAME)
        return path if path in tree.files else None

    def renamed_from(self, before: TreeAt, after: TreeAt, new: str | None) -> str | None:
        asked = ("diff-tree", "-r", "-z", "-M", "--diff-filter=R", "--name-status")
        rows = iter(split(self.git.run(*asked, before.commit, after.commit)) if new is not None else ())
        return next((old for _, old, path in zip(rows, rows, rows, strict=True) if path == new), None)

    def inside(self, path: str) -> str | None:
        """A path of the work tree as git has it. No link below the root is followed: a commit says where it
        leads.
        """
        at, root, links = "/", self.root.rstrip("/"), 0
        left = os.path.normpath(os.path.join(self.git.cwd, path)).split("/")[::-1]
        while left and links < _MOST_LINKS:
            part = left.pop()
            at = os.path.dirname(at) if part == ".." else os.path.join(at, part)
            inner = os.path.normpath("/".join((at, *left[::-1])))
            if f"{at}/".startswith(f"{root}/") and f"{inner}/".startswith(f"{root}/"):
                return os.path.relpath(inner, self.root)
            if os.path.islink(at):
                links += 1
                left += os.readlink(at).split("/")[::-1]
                at = "/" if os.readlink(at)[:1] == "/" else os.path.dirname(at)
        return None

    def policies(
        self, paths: Sequence[str], usual: Sequence[str], base: str, named: str
    ) -> dict[str, bytes | None]:
        """Those of the repository as BASE has them, which no pull request changes; None: on the disk. Of the
        `usual` ones, those that lead there.
        """
        given: dict[str, bytes | None] = {}
        for path in (*paths, *usual):
            inner, full = self.inside(path), os.path.join(self.git.cwd, path)
            tree = TreeAt(self.git, base) if inner else None
            real = tree.real(inner) if tree and inner else None
            if real is None and path in usual:
                continue
            if real is None and (tree or not os.path.exists(full)):
                where = f" at {named}, where those of the repository are read" if tree else ""
                first = f"commit one to {named} first" if tree else "write one"
                hint = f"{first}, with such as `network = false`; `runner schema policy` has all ceilings"
                raise UsageError(f"--policy {path}: no such file{where}", hint=hint)
            given[full] = tree.read(real, _LARGEST) if tree and real else None
        return given

    def compiled(
        self,
        tree: TreeAt,
        file: str | None,
        env: Mapping[str, str],
        policies: Mapping[str, bytes | None] | None,
    ) -> Compiled:
        """What the repository brings there alone, under the ceilings of this machine and `policies`; None: no
        ceilings.
        """
        user = f"{home.config(env)}/policy.toml" if policies is not None else _NOWHERE
        project = os.path.join(self.root, file) if file else _NOWHERE
        real = tree.real(file) if file else None
        given = {path: data for path, data in (policies or {}).items() if data is not None}
        given |= {project: tree.read(real, _LARGEST)} if real else {}
        system = SYSTEM_POLICY if policies is not None else _NOWHERE
        places = ConfigFiles(
            self.root, project, f"{_NOWHERE}/l", f"{_NOWHERE}/u", user, system, home.find(env), required=False
        )
        named = [path for path in policies or () if path not in (user, system)]
        return compile_settings(places, {}, (), given=given, policies=named)

    def problems(
        self,
        done: Compiled,
        tree: TreeAt,
        file: str | None,
        named: str,
        others: Mapping[str | None, str] = {},
    ) -> list[str]:
        """`others`: at which commit another file was read."""
        at = {**others, file: named}
        found = [f"{at[one.source]}:{one}" if one.source in at else str(one) for one in done.problems]
        local = os.path.join(os.path.dirname(file or ""), LOCAL_NAME)
        found += [f"{named}:{local}: is tracked by git"] * (local in tree.files)
        no_file = "leads to no file of this commit"
        for real, more in tree.ways([file] if file else []).values():
            says = f"its content is made at checkout: take the attribute `{more}` away" if real else no_file
            found += [f"{named}:{real or file}: {says}"] * bool(more or not real)
        return found

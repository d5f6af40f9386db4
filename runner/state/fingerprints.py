"""What the secret values of a run can be known by once nobody has them: a keyed fingerprint each. Edge: disk.

The supervisor that started the run has the values. If it dies, who comes after it may have none, or others:
the fingerprint tells whether a value is the one that the agent got, and finds it in a file without having it.

Who can read our key can try guesses against a fingerprint: an agent of this account, sandboxed or not. A long
random value cannot be guessed. Of a short one only so much of the MAC is kept that many guesses fit.
"""

from __future__ import annotations

from runner.disk.files import read
from runner.errors import RunnerError
from runner.state import authentic
from runner.value import Value, json_value

TYPE_CHECKING = False
if TYPE_CHECKING:
    import re
    from collections.abc import Iterable, Iterator, Mapping

    from runner.state.store import RunDir

WITHHELD = "[withheld]"
"""Stands for a text that could not be redacted, as the value of a secret is not known."""
_LONG = 16
_OF_SHORT = 4
"""Hexadecimal digits of the MAC of a value that is shorter."""
_LARGEST = 1024 * 1024
_RUN_OF = rb'[^\x00-\x20\x7f"\\]{%d,}'
"""What stands together in a log, a JSON text or a shell command."""


class Fingerprint(Value):
    """`name` is the variable, `length` that of its value in bytes."""

    name: str
    length: int
    mac: str

    @property
    def is_searchable(self) -> bool:
        """Whether nothing else can have this MAC."""
        return self.length >= _LONG


class Fingerprints(Value):
    """`secrets.json` of a run."""

    secrets: tuple[Fingerprint, ...]
    schema_version: int = 1


class Known(Value):
    """What is known of the secret values of a run: `values`, and the names of those that are `missing`."""

    values: tuple[str, ...]
    missing: tuple[str, ...]


def note(run: RunDir, values: Mapping[str, str]) -> None:
    """Notes the values that a run's program gets, if they are not noted yet. Unwritable or OSError."""
    before = load(run)
    new = {name: value for name, value in values.items() if not _has(run, before or (), name, value)}
    if before is not None and not new:
        return
    of = authentic.macs(_label(run))
    found = [*(before or ())]
    for name, value in sorted(new.items()):
        data = _bytes(value)
        digits = of(data)
        found.append(Fingerprint(name, len(data), digits if len(data) >= _LONG else digits[:_OF_SHORT]))
    authentic.write_record(run.secrets, Fingerprints(tuple(found)).to_json(), durable=False)


def known(run: RunDir, names: Iterable[str], *envs: Mapping[str, str]) -> Known:
    """What these environments know of the values of a run; `names` are its secret variables."""
    had = {name: [env[name] for env in envs if env.get(name)] for name in names}
    values = tuple({value: None for found in had.values() for value in found})
    prints = load(run)
    if prints is None:
        return Known(values, tuple(name for name, found in had.items() if not found))
    missing = [one.name for one in prints if not any(is_of(run, one, v) for v in had.get(one.name, ()))]
    return Known(values, tuple(dict.fromkeys(missing)))


def _has(run: RunDir, prints: Iterable[Fingerprint], name: str, value: str) -> bool:
    return any(one.name == name and is_of(run, one, value) for one in prints)


def load(run: RunDir) -> tuple[Fingerprint, ...] | None:
    """Those of a run; None where nothing that we have written says what its values were."""
    try:
        data = read(run.secrets, _LARGEST)
        authentic.refuse_forged(run.secrets, data)
        told = json_value(data)
        told.pop("mac", None)
        return Fingerprints.from_json(told).secrets
    except (OSError, ValueError, AttributeError, RunnerError):
        return None


def is_of(run: RunDir, print_: Fingerprint, value: str) -> bool:
    """Whether this is the value."""
    data = _bytes(value)
    if len(data) != print_.length:
        return False
    try:
        return authentic.mac(_label(run), data).startswith(print_.mac)
    except RunnerError:
        return False


def search(run: RunDir, names: Iterable[str], texts: Iterable[bytes], most: int) -> list[str]:
    """The values of these names that stand in a text as they are; after `most` tries it is given up."""
    import re

    wanted: dict[int, set[str]] = {}
    for one in load(run) or ():
        if one.is_searchable and one.name in names:
            wanted.setdefault(one.length, set()).add(one.mac)
    found: list[str] = []
    if not wanted:
        return found
    of = authentic.macs(_label(run))
    pattern = re.compile(_RUN_OF % min(wanted))
    for window in _windows(texts, pattern, wanted):
        most -= 1
        if most < 0:
            break
        digits = of(window)
        if digits in wanted[len(window)]:
            wanted[len(window)].discard(digits)
            found.append(window.decode("utf-8", "surrogateescape"))
            if not any(wanted.values()):
                break
    return found


def _windows(texts: Iterable[bytes], pattern: re.Pattern[bytes], lengths: Iterable[int]) -> Iterator[bytes]:
    for text in texts:
        for run_of in pattern.finditer(text):
            word = run_of[0]
            for length in lengths:
                for at in range(len(word) - length + 1):
                    yield word[at : at + length]


def _label(run: RunDir) -> str:
    return f"secret of {run.run_id}"


def _bytes(value: str) -> bytes:
    return value.strip().encode("utf-8", "surrogateescape")

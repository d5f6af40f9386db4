"""The product's imports, read from its source with `ast`: nothing is executed."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping, Set
from dataclasses import dataclass
from functools import cache
from pathlib import Path

__all__ = ["ROOT", "Import", "circles", "closure", "imports", "modules", "modules_in", "nodes", "parsed"]

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Import:
    """One imported name. `late` ones stand in a function, `typing` ones are never executed."""

    target: str
    name: str | None
    late: bool
    typing: bool


@cache
def modules() -> dict[str, Path]:
    """Dotted name -> file, of every module of the product."""
    return modules_in(ROOT, ROOT / "runner")


def modules_in(base: Path, folder: Path) -> dict[str, Path]:
    """Dotted name, as seen from `base`, -> file, of every module in `folder`."""
    found = {}
    for path in sorted(folder.rglob("*.py")):
        parts = path.relative_to(base).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


@cache
def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


@cache
def nodes(path: Path) -> tuple[ast.AST, ...]:
    """Everything in the syntax tree of a file."""
    return tuple(ast.walk(parsed(path)))


@cache
def imports(path: Path) -> tuple[Import, ...]:
    """Every import of a file; `from package import module` names the module."""
    known = modules()
    found = []
    for node, late, typing in _walk(parsed(path), False, False):
        if isinstance(node, ast.Import):
            found += [Import(alias.name, None, late, typing) for alias in node.names]
        else:
            assert node.level == 0, f"{path}: relative import"
            for alias in node.names:
                whole = f"{node.module}.{alias.name}"
                target = whole if whole in known else str(node.module)
                found.append(Import(target, None if whole in known else alias.name, late, typing))
    return tuple(one for one in found if one.target != "__future__")


def closure(*starts: str) -> set[str]:
    """Everything that may be imported from there on, ours and foreign, late imports and packages included."""
    known = modules()
    seen: set[str] = set()
    queue = [*starts]
    while queue:
        module = queue.pop()
        if module in seen:
            continue
        seen.add(module)
        if module in known:
            queue += [one.target for one in imports(known[module]) if not one.typing]
            queue += [module.rpartition(".")[0]] if "." in module else []
    return seen


def circles(arrows: Mapping[str, Set[str]]) -> list[set[str]]:
    """The largest groups whose members all reach each other."""
    reach: dict[str, set[str]] = {}
    for start in arrows:
        seen: set[str] = set()
        queue = [*arrows[start]]
        while queue:
            at = queue.pop()
            if at not in seen:
                seen.add(at)
                queue += arrows.get(at, ())
        reach[start] = seen
    found: list[set[str]] = []
    for start in arrows:
        if start in reach[start] and not any(start in circle for circle in found):
            found.append({other for other in reach[start] if start in reach.get(other, ())})
    return found


def _walk(
    node: ast.AST, late: bool, typing: bool
) -> Iterator[tuple[ast.Import | ast.ImportFrom, bool, bool]]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Import | ast.ImportFrom):
            yield child, late, typing
        elif isinstance(child, ast.If) and ast.unparse(child.test) == "TYPE_CHECKING":
            for part in child.body:
                yield from _walk(ast.Module([part], []), late, True)
            for part in child.orelse:
                yield from _walk(ast.Module([part], []), late, typing)
        else:
            inside = isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
            yield from _walk(child, late or inside, typing)

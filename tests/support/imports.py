"""The product's imports, read from its source with `ast`: nothing is executed."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

__all__ = ["ROOT", "Import", "imports", "modules", "parsed", "unit_of"]

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Import:
    """One imported name. `late` ones stand in a function, `typing` ones are never executed."""

    target: str
    name: str | None
    late: bool
    typing: bool


def modules() -> dict[str, Path]:
    """Dotted name -> file, of every module of the product."""
    found = {}
    for path in sorted((ROOT / "runner").rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def imports(path: Path) -> list[Import]:
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
    return [one for one in found if one.target != "__future__"]


def unit_of(module: str) -> str:
    """The box of the architecture's picture: `runner.cli.app` -> `cli`."""
    parts = module.split(".")
    if len(parts) == 1:
        return "runner"
    if parts[1].startswith("redact") or parts[1] in ("seal", "terminal_text"):
        return "redact"
    return parts[1]


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

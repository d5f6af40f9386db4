"""Writes `schemas/delegate.schema.json` and `schemas/policy.schema.json` from the models. Edge: the disk.

Run as `python -m runner.config.generate`. A test compares the files with what this would write.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from runner.config.schema import PolicyShape, Shape

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pydantic import BaseModel

MODELS: dict[str, type[BaseModel]] = {"delegate": Shape, "policy": PolicyShape}
DIALECT = "https://json-schema.org/draft/2020-12/schema"


def document(name: str) -> str:
    """The text of one schema file."""
    schema = _clean(MODELS[name].model_json_schema())
    head = {"$schema": DIALECT, "title": MODELS[name].model_config["title"]}
    return json.dumps(head | schema, indent=2, ensure_ascii=False) + "\n"


def _clean(node: Any) -> Any:
    """pydantic's schema without what TOML cannot say: null, and the defaults that stand for "not
    set".
    """
    if isinstance(node, list):
        return [_clean(item) for item in node]
    if not isinstance(node, dict):
        return node
    node = {key: value for key, value in node.items() if not (key == "default" and value is None)}
    choices = [item for item in node.get("anyOf", ()) if item != {"type": "null"}]
    if len(choices) < len(node.get("anyOf", ())):
        del node["anyOf"]
        node = (choices[0] if len(choices) == 1 else {"anyOf": choices}) | node
    if isinstance(node.get("title"), str):
        del node["title"]
    if "patternProperties" in node:
        node["additionalProperties"] = False
    return {key: _clean(value) for key, value in node.items()}


def main(folder: str) -> None:
    Path(folder).mkdir(exist_ok=True)
    for name in MODELS:
        Path(folder, f"{name}.schema.json").write_text(document(name), encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "schemas")

"""One request to the model, as far as a script cares, whatever wire it came over. Pure values."""

from __future__ import annotations

from typing import Any, NamedTuple, TypeAlias

Json: TypeAlias = dict[str, Any]


class Offer(NamedTuple):
    """A tool that the model may call in its answer."""

    kind: str
    name: str
    namespace: str | None = None
    parameters: Json = {}

    @property
    def full_name(self) -> str:
        return f"{self.namespace}.{self.name}" if self.namespace else self.name


class Output(NamedTuple):
    """What came back from a call, without the lines that the agent puts around it."""

    call_id: str
    text: str
    rest: Json | None = None
    """The call that asks for the rest, if the command had not ended."""
    is_search: bool = False


class ModelRequest(NamedTuple):
    """What was asked, and by whom. Lists go from oldest to newest."""

    model: str
    effort: str | None
    kind: str
    """`turn`, or what else the agent wants for itself."""
    offers: tuple[Offer, ...]
    prompts: tuple[str, ...]
    outputs: tuple[Output, ...]
    fresh: tuple[Output, ...]
    """The outputs since the last message of user or model."""
    input_items: int
    is_streamed: bool = True
    schema: Json = {}
    """The form that the agent wants the answer in; empty for text."""

    @property
    def names(self) -> list[str]:
        return [offer.full_name for offer in self.offers]

    def find(self, kind: str, name: str) -> Offer | None:
        offers = (offer for offer in self.offers if (offer.kind, offer.name) == (kind, name))
        return next(offers, None)


def an_object(value: object) -> Json:
    return value if isinstance(value, dict) else {}


def objects(value: object) -> list[Json]:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def texts(content: object) -> str:
    """The text of a content that is one itself, or has parts."""
    if isinstance(content, str):
        return content
    return "\n".join(str(part["text"]) for part in objects(content) if "text" in part)

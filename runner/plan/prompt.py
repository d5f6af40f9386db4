"""Task -> prompt text: named sections in a fixed order. Pure; the same input gives the same bytes."""

from __future__ import annotations

from runner.errors import PromptInvalid
from runner.model import MAX_PROMPT_CHARS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


def compose(text: str, *, files: Sequence[str], blocks: Mapping[str, str]) -> str:
    """The prompt as the child gets it. A task with neither files nor blocks gets its own text, unchanged.

    PromptInvalid for what no agent CLI takes: nothing, NUL, half characters, more than 1,048,576 characters.
    """
    if not text.strip():
        raise PromptInvalid("the prompt is empty")
    sections = [text]
    if files:
        sections.append("## Files\n" + "\n".join(f"- {name}" for name in files))
    sections += [f"## {name}\n{block.strip()}" for name, block in blocks.items()]
    prompt = text if len(sections) == 1 else "\n\n".join(part.rstrip() for part in sections) + "\n"
    if "\0" in prompt:
        raise PromptInvalid("the prompt contains a NUL character")
    try:
        prompt.encode()
    except UnicodeEncodeError as error:
        raise PromptInvalid(f"the prompt is not valid UTF-8 (character {error.start + 1})") from None
    if len(prompt) > MAX_PROMPT_CHARS:
        raise PromptInvalid(
            f"the prompt has {len(prompt):,} characters, at most {MAX_PROMPT_CHARS:,} can be sent",
            hint="name files for the agent to read instead of pasting them",
        )
    return prompt

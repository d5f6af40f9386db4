"""Text that is safe to show: no cursor moves, no titles, no change of the reading order. Pure."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    import re

# Strings (OSC with titles and links, DCS, SOS, PM, APC) go with what is in them, but only where
# they are closed on the same line: an open one would let a child hide all that follows. What has no
# end loses only its introducer, so the rest is seen.
_SEQUENCE = (
    "(?:\x1b[\\]PX^_]|[\x90\x98\x9d-\x9f])[^\x00-\x08\x0a-\x1f\x7f-\x9f]*(?:\x07|\x1b\\\\|\x9c)"
    "|(?:\x1b\\[|\x9b)[0-?]*[ -/]*[@-~]"
    "|\x1b[ -/]*[0-~]"
)
_LINE_BREAK = "\r*\n|\r+|[\x0b\x0c\x85\u2028\u2029]"
# All that Unicode calls Bidi_Control, invisible marks and tags. The joiners that scripts and emoji need stay.
_MARKS = (
    "\xad\u061c\u180e\u200b\u200e\u200f\u202a-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\U000e0000-\U000e007f"
)
_UNSEEN = f"[\x00-\x08\x0e-\x1f\x7f-\x9f{_MARKS}]"
_SURROGATE = "[\ud800-\udfff]"
# What fonts leave out (Default_Ignorable_Code_Point) and Python calls printable; and the blank of Braille.
_FILLERS = "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2800\u3164\ufe00-\ufe0f\uffa0\U000e0100-\U000e01ef]"
_ANY = f"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff{_MARKS}]"


def clean_terminal(text: str) -> str:
    """The text as a plain file would show it: printable characters, tabs and line breaks.

    Escape sequences go, in seven and in eight bits. A carriage return becomes a line break and a
    backspace goes, so both what would be overwritten and what would overwrite it are seen. Lone
    surrogates, which no stream can print, become U+FFFD.
    """
    if is_plain(text) or not _compiled(_ANY).search(text):
        return text
    text = _compiled(_SEQUENCE).sub("", text)
    text = _compiled(_LINE_BREAK).sub("\n", text)
    text = _compiled(_UNSEEN).sub("", text)
    return _compiled(_SURROGATE).sub("\ufffd", text)


def is_blank(text: str) -> bool:
    """Whether nobody would see anything of it."""
    return not any(has_place(char) and not char.isspace() for char in clean_terminal(text))


def has_place(char: str) -> bool:
    """Whether a person can see that it is there: ink, or the room that a space takes."""
    return char.isprintable() and not _compiled(_FILLERS).match(char)


def is_plain(text: str) -> bool:
    """Whether nothing in it can do more than be seen. Python's own answer, at no cost worth a name."""
    return text.replace("\n", "").replace("\t", "").isprintable()


def escape_unseen(text: str) -> str:
    """A JSON text whose strings show what `clean_terminal` would take out, as escapes that mean the same."""
    return text if is_plain(text) else _compiled(_ANY).sub(_escape, text)


def plain(words: str) -> str:
    """On one line, and what cannot be seen as escapes: two values that differ in it never look the same."""
    shown = escape_unseen(words).replace("\n", "\\n")
    if not shown.isprintable():
        shown = "".join(char if char.isprintable() else rf"\u{ord(char):04x}" for char in shown)
    return shown if shown.isascii() else _compiled(_FILLERS).sub(lambda one: rf"\u{ord(one[0]):04x}", shown)


def revealed(text: str) -> str:
    """As `plain`, but with its lines and tabs: what a person approves or trusts, with every character."""
    return "\n".join("\t".join(map(plain, line.split("\t"))) for line in text.split("\n"))


def named(path: str) -> str:
    """The name of a file as `plain` has it, and blanks that no line would keep as escapes."""
    return _compiled(r"^ | $|(?<= ) ").sub(r"\\u0020", plain(path))


def _escape(found: re.Match[str]) -> str:
    units = found[0].encode("utf-16-be", "surrogatepass").hex()
    return "".join(f"\\u{units[at : at + 4]}" for at in range(0, len(units), 4))


def _compiled(source: str) -> re.Pattern[str]:
    import re  # plain text, which is nearly all there is, needs none; it keeps what it has compiled

    return re.compile(source)

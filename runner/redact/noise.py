"""A text as it is without what may split a value in it, or with its escapes decoded, and the way back. Pure.

What splits are colours, control characters, line ends and invisible marks, as they are or as escapes of JSON.
"""

from __future__ import annotations

import bisect

from runner.redact.shapes import compiled

TYPE_CHECKING = False
if TYPE_CHECKING:
    import re
    from collections.abc import Callable, Iterator

    Spans = Iterator[tuple[int, int]]
    Finder = Callable[[bytes, int, int], Spans]

_ESC = rb"(?:\x1b|\\{1,8}(?:u001[bB]|x1[bB]|033))"
_NOISE = (
    # a sequence of a terminal: a colour, a title, any other
    _ESC
    + rb"(?:\[[0-?]{0,64}[ -/]{0,4}[@-~]|[\]PX^_][^\x07\x1b\\\"\r\n]{0,256}(?:\x07|\\{1,8}u0007|"
    + _ESC
    + rb"\\{1,8})|[ -/]{0,4}[0-Z^-~])?"
    rb"|(?:\xc2\x9b|\\{1,8}u009[bB])[0-?]{1,64}[ -/]{0,4}[@-~]"
    # what the text has of its own: all that `text.terminal` takes out, and selectors of variants
    rb"|[\x00-\x08\x0a-\x1a\x1c-\x1f\x7f]+|\xc2[\x80-\x9f\xad]|\xd8\x9c|\xe2\x80[\x8b-\x8f\xa8-\xae]|\xe2\x81[\xa0-\xaf]"
    rb"|\xef\xbb\xbf|\xe1\xa0[\x8b-\x8f]|\xef\xbf[\xb9-\xbb]|\xef\xb8[\x80-\x8f]|\xf3\xa0[\x80\x81\x84-\x87][\x80-\xbf]"
    # joiners, fillers and vowels without ink (DerivedCoreProperties.txt, Default_Ignorable_Code_Point)
    rb"|\xcd\x8f|\xe1\x85[\x9f\xa0]|\xe1\x9e[\xb4\xb5]|\xe3\x85\xa4|\xef\xbe\xa0"
    # and the same in JSON
    rb"|\\{1,8}(?:[bfnr]|u(?:00[01189][0-9a-fA-F]|007[fF]|00[aA][dD]|061[cC]|20(?:0[b-fB-F]|2[89a-eA-E]|6.)"
    rb"|[fF][eE][fF]{2}|180[b-fB-F]|[fF]{3}[9abAB]|[fF][eE]0[0-9a-fA-F]|034[fF]|115[fF]|1160|17[bB][45]|3164"
    rb"|[fF]{2}[aA]0|[dD][bB]40\\{1,8}u[dD](?:[cC][0-7]|[dD][0-9a-eA-E])[0-9a-fA-F]))"
)
IN_JSON = rb"\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|\\u[0-9a-fA-F]{4}|\\[bfnrt\"\\/]"
IN_URL = IN_JSON + rb"|%[0-9a-fA-F]{2}"
"""What stands for one character of a text: in a string of JSON, and in a URL, itself perhaps in JSON."""
_SHORT = dict(zip(b'bfnrt"\\/', b'\b\f\n\r\t"\\/', strict=True))


def squeezed(data: bytes) -> bytes:
    """The bytes without noise."""
    return compiled(_NOISE).sub(b"", data)


def find_split(find: Finder, buf: bytes, start: int, stop: int) -> Spans:
    """Spans in `buf` of what `find` finds only when the noise is left out, beginning in [start, stop)."""
    tail = buf[start:]
    view = squeezed(tail)
    found = list(find(view, 0, len(view))) if len(view) < len(tail) else []
    for (first, last), (begin, end) in zip(found, _back(found, tail, _NOISE), strict=True):
        if end - begin != last - first and start + begin < stop:
            yield start + begin, start + end


def find_decoded(find: Finder, buf: bytes, escapes: bytes) -> Spans:
    """Spans in `buf` of what `find` finds once its escapes, `IN_JSON` or `IN_URL`, are decoded."""
    view = compiled(escapes).sub(_decoded, buf)
    return _back(list(find(view, 0, len(view))), buf, escapes)


def _decoded(escape: re.Match[bytes]) -> bytes:
    text = escape[0]
    if text[:1] == b"%":
        return bytes((int(text[1:], 16),))
    if text[1:2] != b"u":
        return bytes((_SHORT[text[1]],))
    units = bytes.fromhex(text.replace(rb"\u", b"").decode())
    return units.decode("utf-16-be", "surrogatepass").encode("utf-8", "surrogatepass")


def _back(found: list[tuple[int, int]], data: bytes, pattern: bytes) -> Spans:
    """Where the spans of a view stand in the data: an escape that is in one of them is so as a whole."""
    begins, shifts, width, at = [0], [(0, 0)], 0, 0
    for one in compiled(pattern).finditer(data) if found else ():
        width += one.start() - at
        at = one.end()
        if pattern is not _NOISE:
            begins.append(width)
            shifts.append((one.start() - width, at - width - len(_decoded(one))))
            width += len(_decoded(one))
        begins.append(width)
        shifts.append((at - width, at - width))
    for first, last in found:
        begin = first + shifts[bisect.bisect_right(begins, first) - 1][0]
        yield begin, last + shifts[bisect.bisect_right(begins, last - 1) - 1][1]

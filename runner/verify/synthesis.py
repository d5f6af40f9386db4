"""Holds a synthesis of two reviews to its protocol: nothing vanishes, and only code rebuts. Pure."""

from __future__ import annotations

import re

from runner.text.terminal import is_blank
from runner.text.words import and_more, one_line
from runner.verify.review import SEVERITIES

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from runner.verify.claim import Claim
    from runner.verify.review import Remark, ReviewFinding

_NEAR = 40
_TOGETHER = 20
"""Lines between two findings that can be one."""
_SHORTEST, _FEWEST = 8, 4
"""Characters of a quote, and how many of them are letters or digits."""
_ENDS = r"(?=\W{0,9}(?:$|[\n,;!)-]|[.:]\s|(?:because|overall|and|but|for|as|since|due)\b))"
_N = r"(?:\d{1,3}(?:\.\d+)?|one|two|three|four|five|six|seven|eight|nine|ten)"
_OF = rf"{_N}\s*(?:/|out of)\s*(?:5|10|100|five|ten|a hundred)\b(?:\s+points\b)?"
_GAP = r"[^\w/\[\n]{1,4}"
_LINK = rf"(?:'s)?{_GAP}(?:(?:is|at|as|of|it|an?|gets?|earns?|deserves?){_GAP}){{0,3}}"
_JUDGED = r"(?:alpha|beta|overall|quality|security|style|correctness|clarity|rigou?r|confidence)"
_JUDGES = r"(?:scor|rat|grad)e[sd]?"
_MARK = re.compile(
    rf"\b{_JUDGED}{_LINK}(?:{_OF}|{_N}\s*(?:%|percent\b|of \w+ points\b|-?stars?\b)|(?-i:[A-F])[+-]){_ENDS}"
    rf"|\b(?:scor(?:e[sd]?|ing)|ratings?|grade[sd]?|verdict){_LINK}(?:{_OF}|(?-i:[A-F])[+-]?(?!\w)){_ENDS}"
    rf"|\b(?:{_JUDGES}\s(?:it|them|both)|(?:alpha|beta)\s(?:is\s)?{_JUDGES})\s(?:{_OF}|{_N}){_ENDS}"
    rf"|(?:^|[\n.;:(,])\s{{0,9}}(?:an?\s)?(?:score|rating|grade)(?::|\sof)\s{_N}{_ENDS}"
    rf"|(?:^|[\n.!?]\s{{0,9}})(?:{_OF}|{_N} of \w+ points\b){_ENDS}|[\u2605\u2606\u2b50]{{3}}",
    re.IGNORECASE,
)
"""Behind what is judged or a word for judging, or alone in a sentence; it counts nothing that follows."""


def check(
    said: Claim,
    alpha: Sequence[ReviewFinding],
    beta: Sequence[ReviewFinding],
    look: Callable[[str], str | None],
    *,
    advocacy: bool = False,
) -> tuple[str, ...]:
    """What is wrong with it, one sentence each. The findings are A1, A2, ... and B1, B2, ... in their order;
    `look` gives the text of a file of the tree. `advocacy`: the first of two passes, which judges nothing.
    """
    known = _known(alpha, beta)
    if (synthesis := said.synthesis) is None:
        return ("it is no synthesis",)
    kept = [name for one in said.findings for name in one.sources]
    rebutted = [one.finding for one in synthesis.rebuttals]
    differing = [name for one in synthesis.differences for name in one.findings]
    argued = [one.finding for one in synthesis.steelman if not is_blank(one.argument)]
    both = [one.sources for one in said.findings]
    both += (one.findings for one in synthesis.differences if advocacy)
    shared = {name for pair in both if _can_be_one([known[n] for n in pair if n in known]) for name in pair}
    named = dict.fromkeys((*kept, *rebutted, *differing, *argued))
    found = [f"there is no finding `{one_line(name, 20)}`" for name in named if name not in known]
    for name in known:
        times = kept.count(name) + (name in rebutted)
        if not times and not advocacy:
            found.append(f"{name} has vanished: it is neither kept nor rebutted")
        elif times > (not advocacy):
            found.append(f"{name} is {'judged' if advocacy else 'kept or rebutted twice'}")
        if name not in differing and (advocacy or name not in shared):
            found.append(f"{name} is in no difference")
        if name not in argued and name not in shared:
            found.append(f"{name} has no steelman")
    for one in said.findings:
        found += _of_kept(one, {name: known[name] for name in one.sources if name in known})
    texts_of: dict[str, list[str] | None] = {}
    for row in synthesis.rebuttals:
        if row.file not in texts_of:
            text = look(row.file)
            texts_of[row.file] = None if text is None else text.removesuffix("\n").split("\n")
        name = one_line(row.finding, 20)
        found += (f"{name} is not rebutted: {why}" for why in _of_rebuttal(row, texts_of[row.file]))
    texts = [said.summary]  # and not what repeats the words of an analysis
    for row in (*synthesis.off_topic, *synthesis.differences, *synthesis.steelman, *synthesis.rebuttals):
        texts += (row.alpha, row.beta, row.argument, row.reasoning, row.reason)
    marks = filter(None, map(_MARK.search, texts))
    found += (f"it gives a mark: `{one_line(mark[0], 60)}`" for mark in marks)
    return tuple(and_more(found, 50))


def kept(
    said: Claim, alpha: Sequence[ReviewFinding], beta: Sequence[ReviewFinding]
) -> tuple[ReviewFinding, ...]:
    """The findings that a synthesis keeps, in the words of their sources and all of them: those of the
    gravest one, and what the other one says behind them. `said` has passed `check`.
    """
    known, found = _known(alpha, beta), []
    for one in said.findings:
        names = sorted(one.sources, key=lambda name: SEVERITIES.index(known[name].severity))
        made = known[names[0]].replace(sources=one.sources)
        for more in (known[name] for name in names[1:]):
            detail = f"{made.detail}\n\n{more.severity}, {more.where}: {more.title}\n{more.detail}"
            title = "; ".join(dict.fromkeys((made.title, more.title)))
            made = made.replace(title=title, detail=detail, evidence=f"{made.evidence}\n{more.evidence}")
        found.append(made)
    return tuple(found)


def _known(alpha: Sequence[ReviewFinding], beta: Sequence[ReviewFinding]) -> dict[str, ReviewFinding]:
    return {f"{side}{n}": one for side, some in (("A", alpha), ("B", beta)) for n, one in enumerate(some, 1)}


def _can_be_one(pair: Sequence[ReviewFinding]) -> bool:
    """Whether one of each analysis can be the same finding."""
    if len(pair) != 2 or not pair[0].file or pair[0].file != pair[1].file:
        return False
    lines = [one.line for one in pair if one.line is not None]
    return len(lines) != 1 and (not lines or abs(lines[0] - lines[1]) <= _TOGETHER)


def _of_kept(one: ReviewFinding, sources: dict[str, ReviewFinding]) -> Iterator[str]:
    where = f"the finding `{one_line(one.title, 60)}`"
    if not 1 <= len(one.sources) <= len({name[:1] for name in one.sources}):
        yield f"{where} has not one source, or one of each analysis"
    elif len(sources) == 2 and not _can_be_one([*sources.values()]):
        yield f"{where} joins what is not at one place: these are two findings"
    if lost := [name for name, source in sources.items() if source.file != one.file]:
        yield f"{where} is about another file than {lost[0]}"
    grave = [source.severity for source in sources.values()] or [one.severity]
    if one.severity != min(grave, key=SEVERITIES.index):
        yield f"{where} has not the gravest severity of its sources"


def _of_rebuttal(one: Remark, lines: list[str] | None) -> Iterator[str]:
    quote = one_line(one.quote)
    if lines is None:
        yield f"`{one_line(one.file, 100)}` is not in git (commit it first), or cannot be read"
    elif one.line is None or not 1 <= one.line <= len(lines):
        yield f"`{one_line(one.file, 100)}` has no such line"
    elif len(quote.replace(" ", "")) < _SHORTEST or sum(map(str.isalnum, quote)) < _FEWEST:
        yield "its quote is too short to show anything"
    else:
        near = lines[max(0, one.line - 1 - _NEAR) : one.line + _NEAR + one.quote.count("\n")]
        if quote not in one_line("\n".join(near)):
            yield f"its quote does not stand at line {one.line} of `{one_line(one.file, 100)}`"
    if is_blank(one.reasoning):
        yield "it does not say why the analysis is wrong"

"""Holds a synthesis of two reviews to its protocol: nothing vanishes, and only code rebuts. Pure."""

from __future__ import annotations

import re

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
_ENDS = r"(?=\W*(?:$|[\n,;!)-]|[.:]\s|(?:because|overall|and|but|for|as|since|due)\b))"
_SCORE = re.compile(
    r"\b(?:scor(?:e|es|ed|ing)|rat(?:ed|ing|ings)|graded?|confidence)\b\W{0,4}"
    r"(?:(?:is|of|at|as|it|this|them|a|an)\W+){0,3}\d[\d./]*"
    rf"|(?<![\w./])(?<!\bon )(?<!\bpage )\d\d?0?(?:\.\d+)?\s*(?:/|out of)\s*100?\b{_ENDS}"
    rf"|[:=]\W{{0,3}}\d(?:\.\d)?/5\b{_ENDS}",
    re.IGNORECASE,
)


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
    argued = [one.finding for one in synthesis.steelman if one.argument.strip()]
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
    texts = [said.summary, *(text for one in said.findings for text in (one.title, one.detail))]
    for row in (*synthesis.off_topic, *synthesis.differences, *synthesis.steelman, *synthesis.rebuttals):
        texts += (row.alpha, row.beta, row.argument, row.reasoning, row.reason)
    scores = filter(None, map(_SCORE.search, texts))
    found += (f"it gives a score: `{one_line(score[0], 60)}`" for score in scores)
    return tuple(and_more(found, 50))


def kept(
    said: Claim, alpha: Sequence[ReviewFinding], beta: Sequence[ReviewFinding]
) -> tuple[ReviewFinding, ...]:
    """The findings that a synthesis keeps, in the words of their sources: those of the gravest one, and what
    the other one says behind them. `said` has passed `check`.
    """
    known, found = _known(alpha, beta), []
    for one in said.findings:
        names = sorted(one.sources, key=lambda name: SEVERITIES.index(known[name].severity))
        made = known[names[0]].replace(sources=one.sources)
        for more in (known[name] for name in names[1:]):
            detail = f"{made.detail}\n\n{more.severity}, {more.where}: {more.title}\n{more.detail}"
            made = made.replace(detail=detail, evidence=f"{made.evidence}\n{more.evidence}")
            if made.line is None:
                made = made.replace(line=more.line, place=more.place)
        found.append(made)
    return tuple(found)


def _known(alpha: Sequence[ReviewFinding], beta: Sequence[ReviewFinding]) -> dict[str, ReviewFinding]:
    return {f"{side}{n}": one for side, some in (("A", alpha), ("B", beta)) for n, one in enumerate(some, 1)}


def _can_be_one(pair: Sequence[ReviewFinding]) -> bool:
    """Whether one of each analysis can be the same finding."""
    if len(pair) != 2 or pair[0].file != pair[1].file:
        return False
    lines = [one.line for one in pair if one.line is not None]
    return len(lines) < 2 or abs(lines[0] - lines[1]) <= _TOGETHER


def _of_kept(one: ReviewFinding, sources: dict[str, ReviewFinding]) -> Iterator[str]:
    where = f"the finding `{one_line(one.title, 60)}`"
    if not 1 <= len(one.sources) <= len({name[:1] for name in one.sources}):
        yield f"{where} has not one source, or one of each analysis"
    elif len(sources) == 2 and not _can_be_one([*sources.values()]):
        yield f"{where} joins what stands more than {_TOGETHER} lines apart: these are two findings"
    if lost := [name for name, source in sources.items() if source.file != one.file]:
        yield f"{where} is about another file than {lost[0]}"
    grave = [source.severity for source in sources.values()] or [one.severity]
    if one.severity != min(grave, key=SEVERITIES.index):
        yield f"{where} has not the gravest severity of its sources"


def _of_rebuttal(one: Remark, lines: list[str] | None) -> Iterator[str]:
    quote = one_line(one.quote)
    if lines is None:
        yield f"`{one_line(one.file, 100)}` is no file of the project that can be looked at"
    elif one.line is None or not 1 <= one.line <= len(lines):
        yield f"`{one_line(one.file, 100)}` has no such line"
    elif len(quote.replace(" ", "")) < _SHORTEST or sum(map(str.isalnum, quote)) < _FEWEST:
        yield "its quote is too short to show anything"
    else:
        near = lines[max(0, one.line - 1 - _NEAR) : one.line + _NEAR + one.quote.count("\n")]
        if quote not in one_line("\n".join(near)):
            yield f"its quote does not stand at line {one.line} of `{one_line(one.file, 100)}`"
    if not one.reasoning.strip():
        yield "it does not say why the analysis is wrong"

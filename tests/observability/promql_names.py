"""The names in a PromQL expression: its selectors with the labels that they match, and its groupings with the families inside.

Not a parser (promtool is): strings hold no brackets here, and that is asserted.
"""

import re

import attrs

KEYWORDS = {"and", "or", "unless", "bool", "by", "without", "on", "ignoring", "group_left", "group_right", "offset"}
NAME = r"[a-zA-Z_:][a-zA-Z0-9_:]*"
SELECTOR = re.compile(rf"({NAME})(?:\{{([^{{}}]*)\}})?")
LISTS = re.compile(r"\b(by|without|on|ignoring|group_left|group_right)\s*\(([^()]*)\)")


@attrs.frozen
class Selector:
    """One metric and the labels that its matchers name."""

    metric: str
    labels: tuple[str, ...]


@attrs.frozen
class Grouping:
    """The labels of one `by (...)` and the metrics of what it sums."""

    labels: tuple[str, ...]
    metrics: tuple[str, ...]


def selectors(expr: str) -> list[Selector]:
    """Every metric that `expr` asks for."""
    bare = LISTS.sub(" ", re.sub(r"\[[^\]]*\]", " ", _without_strings(expr)))
    found = []
    for match in SELECTOR.finditer(bare):
        after = bare[match.end() :].lstrip()
        before = bare[: match.start()][-1:]
        if match[2] is None and (match[1] in KEYWORDS or after.startswith("(") or before.isdigit() or before == "."):
            continue
        labels = tuple(re.findall(rf"({NAME})\s*(?:=~|!~|!=|=)", match[2] or ""))
        found.append(Selector(match[1], labels))
    return found


def groupings(expr: str) -> list[Grouping]:
    """Every `by (...)` with the metrics of its operand, which may stand after it or before it."""
    bare = _without_strings(expr)
    found = []
    for match in re.finditer(r"\bby\s*\(([^()]*)\)", bare):
        labels = tuple(label.strip() for label in match[1].split(",") if label.strip())
        rest = bare[match.end() :]
        if rest.lstrip().startswith("("):
            operand = _group(rest, rest.index("("))
        else:
            operand = _group_before(bare[: match.start()].rstrip())
        found.append(Grouping(labels, tuple(one.metric for one in selectors(operand))))
    return found


def argued(expr: str, function: str) -> set[str]:
    """The metrics inside calls of this function."""
    bare = _without_strings(expr)
    calls = re.finditer(rf"\b{function}\s*(?=\()", bare)
    return {one.metric for call in calls for one in selectors(_group(bare, call.end()))}


def _without_strings(expr: str) -> str:
    for text in re.findall(r'"([^"]*)"', expr):
        assert not set(text) & set("{}[]"), f"a bracket in a string: {text!r}"
    return re.sub(r'"[^"]*"', '""', expr)


def _group(text: str, start: int) -> str:
    """From the bracket at `start` to the one that closes it."""
    depth = 0
    for place in range(start, len(text)):
        depth += {"(": 1, ")": -1}.get(text[place], 0)
        if depth == 0:
            return text[start : place + 1]
    raise AssertionError(f"a bracket stays open in {text!r}")


def _group_before(text: str) -> str:
    assert text.endswith(")"), f"nothing to sum before `by`: {text!r}"
    return _group(text[::-1].translate(str.maketrans("()", ")(")), 0)[::-1].translate(str.maketrans("()", ")("))

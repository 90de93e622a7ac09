"""Google's Gemini: candidates of content parts, whole or in chunks of the same shape.

`candidatesTokenCount` excludes thoughts. Vertex streams the arguments of a call as `partialArgs`, values at JSON paths
(cloud.google.com/vertex-ai, "streaming function call arguments"), from a part that names the call to one whose `willContinue` is absent.
"""

import re
from collections.abc import Iterable
from copy import copy
from itertools import pairwise
from typing import Any

from recorded.said import Call, Counts, Json, Said

_STEP = re.compile(r"\.([A-Za-z_0-9]+)|\['([^']*)'\]|\[(\d+)\]")


def whole(answer: Json) -> Said:
    return streamed([answer])


def streamed(chunks: Iterable[Json]) -> Said:
    text = thoughts = ending = ""
    calls: list[Json] = []
    usage: Json = {}
    for chunk in chunks:
        usage = chunk.get("usageMetadata") or usage
        for candidate in (chunk.get("candidates") or [])[:1]:
            ending = candidate.get("finishReason") or ending
            for part in (candidate.get("content") or {}).get("parts") or []:
                if "functionCall" in part:
                    _grow(calls, part["functionCall"])
                elif part.get("thought"):
                    thoughts += part.get("text") or ""
                else:
                    text += part.get("text") or ""
    made = tuple(Call(call["name"], call["args"], call["id"]) for call in calls)
    return Said(text, (thoughts,) if thoughts else (), made, "", ending, _counts(usage))


def _grow(calls: list[Json], call: Json) -> None:
    if call.get("name"):
        calls.append({"name": call["name"], "args": call.get("args") or {}, "id": call.get("id") or ""})
    for piece in call.get("partialArgs") or []:
        _put(calls[-1]["args"], piece)


def _put(args: Json, piece: Json) -> None:
    steps = [word or quoted or int(number) for word, quoted, number in _STEP.findall(piece["jsonPath"])]
    place: Any = args
    for step, after in pairwise(steps):
        place = _at(place, step, [] if isinstance(after, int) else {})
    last = steps[-1]
    if "stringValue" in piece:
        before = _at(place, last, "")
        place[last] = before + piece["stringValue"]
    elif (value := next((piece[name] for name in ("numberValue", "boolValue") if name in piece), None)) is not None:
        _at(place, last, value)
    elif "nullValue" in piece:
        _at(place, last, None)


def _at(place: Any, step: Any, fresh: Any) -> Any:
    """What stands there, made where nothing does."""
    if isinstance(place, list):
        while len(place) <= step:
            place.append(copy(fresh))
    else:
        place.setdefault(step, fresh)
    return place[step]


def _counts(usage: Json) -> Counts | None:
    if "promptTokenCount" not in usage:
        return None
    thoughts = usage.get("thoughtsTokenCount")
    output = usage.get("candidatesTokenCount", 0) + (thoughts or 0)
    given = usage["promptTokenCount"] + usage.get("toolUsePromptTokenCount", 0)
    return Counts(given, output, usage.get("cachedContentTokenCount"), None, thoughts)

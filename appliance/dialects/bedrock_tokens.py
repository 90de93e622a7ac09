"""Bedrock's CountTokens: a conversation as the Converse request whose input is to be counted.

Source: botocore's service model of bedrock-runtime (CountTokensRequest: `{"input": {"converse": {...}}}`; `{"inputTokens": n}` comes
back) and docs.aws.amazon.com/bedrock/latest/userguide/count-tokens.html.
"""

from collections.abc import Mapping
from typing import Any

import orjson

from appliance.core.conversation import Conversation
from appliance.core.fault import Fault, FaultKind
from appliance.dialects.bedrock_model import abilities
from appliance.dialects.bedrock_request import write_request
from appliance.dialects.codec import Target, Written
from appliance.dialects.upstream_json import parse

_COUNTED = ("messages", "system", "toolConfig", "additionalModelRequestFields")
"""Members of ConverseTokensRequest; the others of a Converse request weigh nothing."""


def counted_model(model: str) -> str:
    """The id that CountTokens takes: the foundation model's. It refuses ids of cross-region profiles ("us.anthropic.claude-..."), by which
    most models must be asked (pydantic-ai pull request 3367, Portkey's gateway issue 1437). Empty where the id is not of a Claude model:
    Amazon counts for no others."""
    name = model.rpartition("/")[2]
    if not abilities(model).claude:
        return ""
    place = name.find("anthropic.")
    return name[place:] if place >= 0 else ""


def write_count(conversation: Conversation, target: Target) -> Written | Fault:
    written = write_request(conversation, target)
    if isinstance(written, Fault):
        return written
    body: Mapping[str, Any] = orjson.loads(written.body)
    counted = {name: body[name] for name in _COUNTED if name in body}
    return Written(orjson.dumps({"input": {"converse": counted}}), written.dropped)


def read_count_answer(body: bytes) -> int | Fault:
    """`{"inputTokens": n}`; PROTOCOL where it is none."""
    try:
        answer = parse(body)
    except ValueError:
        answer = None
    count = answer.get("inputTokens") if isinstance(answer, dict) else None
    if type(count) is not int or count < 0:
        return Fault(FaultKind.PROTOCOL, "the backend sent an answer without a count of tokens")
    return count

"""Requests for Bedrock, for tests: written, or refused, with the fields that a test is about."""

import orjson

from appliance.core.conversation import Conversation, OutputFormat, ReasoningWish, Tool
from appliance.core.fault import Fault, FaultKind
from appliance.core.message import Message, Text
from appliance.dialects.bedrock import BEDROCK
from appliance.dialects.codec import Target

SONNET = "us.anthropic.claude-sonnet-4-5-20250929-v1:0"
OPUS = "anthropic.claude-opus-4-7"
OLD = "anthropic.claude-3-5-sonnet-20240620-v1:0"
LLAMA = "meta.llama3-3-70b-instruct-v1:0"
HI = (Message("user", (Text("Hi"),)),)
SCHEMA = {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"], "additionalProperties": False}
HIGH = ReasoningWish(effort="high")
JSON = OutputFormat("json_schema", SCHEMA, "answer", "An answer.")
F = Tool("f", "Does f.", {"type": "object", "properties": {"x": {"type": "string"}}})


def written(model: str = SONNET, target: Target | None = None, **fields: object) -> tuple[dict, tuple[str, ...]]:
    fields.setdefault("messages", HI)
    found = BEDROCK.write_request(Conversation("asked", **fields), target or Target(model))  # type: ignore[arg-type]
    assert not isinstance(found, Fault), found
    return orjson.loads(found.body), found.dropped


def refused(model: str = SONNET, **fields: object) -> Fault:
    fields.setdefault("messages", HI)
    found = BEDROCK.write_request(Conversation("asked", **fields), Target(model))  # type: ignore[arg-type]
    assert isinstance(found, Fault), found
    assert found.kind is FaultKind.BAD_REQUEST
    return found

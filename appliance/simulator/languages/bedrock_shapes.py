"""Converse's requests as the service's model declares them, and its refusal of what does not fit. Pure.

The rule: one table of structures with their constraints; a body is checked against it before anybody looks at what it says. A member that
the model does not declare is refused, which the service does not always do: whoever writes one has made a mistake. Source: the Converse API
reference and the service model that Amazon's SDKs carry.
"""

import base64
import binascii
import re
from collections.abc import Mapping
from typing import Any

import attrs

from appliance.simulator.api_error import ApiError
from appliance.simulator.languages.bedrock_errors import invalid, unreadable

FAULTS_MAX = 16  # told of one body
DEPTH_MAX = 64


@attrs.frozen
class Member:
    """`kind` is String, Integer, Float, Boolean, Document (any JSON), Blob (base64) or a structure's name.

    Attributes:
        many: a list of them; mapped: a map of them.
        least, most: bounds of a number, of a text's length, or of a list's.
        values, pattern: of a text.
    """

    kind: str
    many: bool = False
    mapped: bool = False
    least: float | None = None
    most: float | None = None
    values: tuple[str, ...] = ()
    pattern: str = ""


@attrs.frozen
class Structure:
    """`union`: exactly one member is set."""

    members: Mapping[str, Member]
    required: tuple[str, ...] = ()
    union: bool = False


STRING, DOCUMENT, BOOLEAN, BLOB = Member("String"), Member("Document"), Member("Boolean"), Member("Blob", least=1)
TEXT = Member("String", least=1)
S3_URI = Member("String", pattern=r"s3://[a-z0-9][.\-a-z0-9]{1,61}[a-z0-9](/.*)?")
TOOL_NAME = Member("String", least=1, most=64, pattern="[a-zA-Z0-9_-]+")
TOOL_ID = Member("String", least=1, most=64, pattern="[a-zA-Z0-9_.:-]+")


def a(kind: str) -> Member:
    return Member(kind)


def some(kind: str, least: float | None = None, most: float | None = None) -> Member:
    return Member(kind, many=True, least=least, most=most)


def one_of(*values: str) -> Member:
    return Member("String", values=values)


CONVERSED: Mapping[str, Member] = {  # what converse and count-tokens have in common
    "messages": some("Message"),
    "system": some("SystemContentBlock"),
    "toolConfig": a("ToolConfiguration"),
    "additionalModelRequestFields": DOCUMENT,
}
EMPTY = Structure({})
STRUCTURES: Mapping[str, Structure] = {
    "ConverseRequest": Structure(
        {
            **CONVERSED,
            "inferenceConfig": a("InferenceConfiguration"),
            "guardrailConfig": DOCUMENT,
            "projectIdentifier": STRING,
            "promptVariables": DOCUMENT,
            "additionalModelResponseFieldPaths": Member("String", many=True, most=10),
            "requestMetadata": Member("String", mapped=True),
            "performanceConfig": a("PerformanceConfiguration"),
            "serviceTier": a("ServiceTier"),
            "outputConfig": a("OutputConfig"),
        }
    ),
    "CountTokensRequest": Structure({"input": a("CountTokensInput")}, ("input",)),
    "CountTokensInput": Structure({"converse": a("ConverseTokensRequest"), "invokeModel": a("InvokeModelTokensRequest")}, union=True),
    "ConverseTokensRequest": Structure(CONVERSED),
    "InvokeModelTokensRequest": Structure({"body": BLOB}, ("body",)),
    "Message": Structure({"role": one_of("user", "assistant"), "content": some("ContentBlock")}, ("role", "content")),
    "ContentBlock": Structure(
        {
            "text": STRING,
            "image": a("ImageBlock"),
            "document": a("DocumentBlock"),
            "video": a("VideoBlock"),
            "toolUse": a("ToolUseBlock"),
            "toolResult": a("ToolResultBlock"),
            "guardContent": DOCUMENT,
            "cachePoint": a("CachePointBlock"),
            "reasoningContent": a("ReasoningContentBlock"),
            "citationsContent": DOCUMENT,
            "searchResult": DOCUMENT,
        },
        union=True,
    ),
    "SystemContentBlock": Structure({"text": TEXT, "guardContent": DOCUMENT, "cachePoint": a("CachePointBlock")}, union=True),
    "ImageBlock": Structure({"format": one_of("png", "jpeg", "gif", "webp"), "source": a("MediaSource")}, ("format", "source")),
    "VideoBlock": Structure({"format": STRING, "source": a("MediaSource")}, ("format", "source")),
    "MediaSource": Structure({"bytes": BLOB, "s3Location": a("S3Location")}, union=True),
    "S3Location": Structure({"uri": S3_URI, "bucketOwner": STRING}, ("uri",)),
    "DocumentBlock": Structure(
        {
            "format": one_of("pdf", "csv", "doc", "docx", "xls", "xlsx", "html", "txt", "md"),
            "name": Member("String", least=1, most=200),
            "source": a("DocumentSource"),
            "context": STRING,
            "citations": DOCUMENT,
        },
        ("name", "source"),
    ),
    "DocumentSource": Structure(
        {"bytes": BLOB, "s3Location": a("S3Location"), "text": STRING, "content": some("DocumentContentBlock")}, union=True
    ),
    "DocumentContentBlock": Structure({"text": STRING}, union=True),
    "ToolUseBlock": Structure({"toolUseId": TOOL_ID, "name": TOOL_NAME, "input": DOCUMENT, "type": STRING}, ("toolUseId", "name", "input")),
    "ToolResultBlock": Structure(
        {"toolUseId": TOOL_ID, "content": some("ToolResultContentBlock"), "status": one_of("success", "error"), "type": STRING},
        ("toolUseId", "content"),
    ),
    "ToolResultContentBlock": Structure(
        {
            "json": DOCUMENT,
            "text": STRING,
            "image": a("ImageBlock"),
            "document": a("DocumentBlock"),
            "video": a("VideoBlock"),
            "searchResult": DOCUMENT,
        },
        union=True,
    ),
    "CachePointBlock": Structure({"type": one_of("default"), "ttl": one_of("5m", "1h")}, ("type",)),
    "ReasoningContentBlock": Structure({"reasoningText": a("ReasoningTextBlock"), "redactedContent": a("Blob")}, union=True),
    "ReasoningTextBlock": Structure({"text": STRING, "signature": STRING}, ("text",)),
    "InferenceConfiguration": Structure(
        {
            "maxTokens": Member("Integer", least=1),
            "temperature": Member("Float", least=0, most=1),
            "topP": Member("Float", least=0, most=1),
            "stopSequences": Member("String", many=True, most=2500),
        }
    ),
    "ToolConfiguration": Structure({"tools": some("Tool", least=1), "toolChoice": a("ToolChoice")}, ("tools",)),
    "Tool": Structure({"toolSpec": a("ToolSpecification"), "systemTool": DOCUMENT, "cachePoint": a("CachePointBlock")}, union=True),
    "ToolSpecification": Structure(
        {"name": TOOL_NAME, "description": TEXT, "inputSchema": a("ToolInputSchema"), "strict": BOOLEAN}, ("name", "inputSchema")
    ),
    "ToolInputSchema": Structure({"json": DOCUMENT}, union=True),
    "ToolChoice": Structure({"auto": a("Empty"), "any": a("Empty"), "tool": a("SpecificToolChoice")}, union=True),
    "SpecificToolChoice": Structure({"name": TOOL_NAME}, ("name",)),
    "Empty": EMPTY,
    "PerformanceConfiguration": Structure({"latency": one_of("standard", "optimized")}),
    "ServiceTier": Structure({"type": one_of("priority", "default", "flex", "reserved")}, ("type",)),
    "OutputConfig": Structure({"textFormat": a("OutputFormat")}),
    "OutputFormat": Structure({"type": one_of("json_schema"), "structure": a("OutputFormatStructure")}, ("type", "structure")),
    "OutputFormatStructure": Structure({"jsonSchema": a("JsonSchemaDefinition")}, union=True),
    "JsonSchemaDefinition": Structure({"schema": STRING, "name": STRING, "description": STRING}, ("schema",)),
}


def shape_error(name: str, body: Mapping[str, Any]) -> ApiError | None:
    """Everything that is out of bounds, or the first thing that is not even of its kind."""
    checker = Checker()
    checker.structure(STRUCTURES[name], body, "", 0)
    if checker.unreadable is not None:
        return checker.unreadable
    found = checker.faults
    if not found:
        return None
    plural = "s" if len(found) > 1 else ""
    return invalid(f"{len(found)} validation error{plural} detected: {'; '.join(found)}")


@attrs.define
class Checker:
    faults: list[str] = attrs.field(factory=list)
    unreadable: ApiError | None = None

    def structure(self, known: Structure, value: Any, path: str, depth: int) -> None:
        if not isinstance(value, dict) or depth > DEPTH_MAX:
            self.mismatch(value, path)
            return
        given = {name: one for name, one in value.items() if one is not None}
        for name, one in given.items():
            where = f"{path}.{name}" if path else name
            if name not in known.members:
                pointer = "#/" + path.replace(".member", "").replace(".", "/")
                told = f"Malformed input request: {pointer}: extraneous key [{name}] is not permitted"
                self.unreadable = self.unreadable or invalid(f"{told}, please reformat your input and try again.")
            else:
                self.member(known.members[name], one, where, depth + 1)
        for name in known.required:
            if name not in given:
                self.fault("null", f"{path}.{name}" if path else name, "Member must not be null")
        if known.union and len(given) != 1:
            self.fault("null" if not given else ", ".join(given), path, "Member must have exactly one member set")

    def member(self, known: Member, value: Any, path: str, depth: int) -> None:
        if known.many:
            if not isinstance(value, list):
                self.mismatch(value, path)
                return
            self.bounds(known, len(value), path, "length")
            single = attrs.evolve(known, many=False, least=None, most=None)
            for i, item in enumerate(value):
                self.member(single, item, f"{path}.{i + 1}.member", depth)
        elif known.mapped:
            if not isinstance(value, dict):
                self.mismatch(value, path)
                return
            for name, item in value.items():
                self.member(attrs.evolve(known, mapped=False), item, f"{path}.{name}.member", depth)
        elif known.kind in STRUCTURES:
            self.structure(STRUCTURES[known.kind], value, path, depth)
        elif not of_kind(known.kind, value):
            self.mismatch(value, path)
        elif known.kind in ("String", "Blob"):
            self.bounds(known, len(value), path, "length")
            if known.values and value not in known.values:
                self.fault(value, path, f"Member must satisfy enum value set: [{', '.join(known.values)}]")
            if known.pattern and re.fullmatch(known.pattern, value) is None:
                self.fault(value, path, f"Member must satisfy regular expression pattern: {known.pattern}")
        elif known.kind in ("Integer", "Float"):
            self.bounds(known, value, path, "value")

    def bounds(self, known: Member, size: float, path: str, what: str) -> None:
        if known.least is not None and size < known.least:
            self.fault(str(size), path, f"Member must have {what} greater than or equal to {known.least}")
        if known.most is not None and size > known.most:
            self.fault(str(size), path, f"Member must have {what} less than or equal to {known.most}")

    def fault(self, value: str, path: str, told: str) -> None:
        if len(self.faults) < FAULTS_MAX:
            self.faults.append(f"Value '{value:.60}' at '{path}' failed to satisfy constraint: {told}")

    def mismatch(self, value: Any, path: str) -> None:
        self.unreadable = self.unreadable or unreadable(value, path)


def of_kind(kind: str, value: Any) -> bool:
    match kind:
        case "String":
            return isinstance(value, str)
        case "Boolean":
            return isinstance(value, bool)
        case "Integer":
            return isinstance(value, int) and not isinstance(value, bool)
        case "Float":
            return isinstance(value, int | float) and not isinstance(value, bool)
        case "Blob":
            return isinstance(value, str) and is_base64(value)
    return True


def is_base64(text: str) -> bool:
    try:
        base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return False
    return True

"""Gemini's messages as their protobuf declares them, and the service's refusal of what they do not hold. Pure.

The rule: one table of messages; a body is checked against it before anybody looks at what it says, and every fault of it is reported at
once, with the path in protobuf's spelling. Field names may come in camelCase or in snake_case, as protobuf's JSON allows. Source:
ai.google.dev/api/generate-content, /embeddings, /tokens and /caching#Schema.
"""

import base64
import binascii
import re
from collections.abc import Iterator, Mapping
from typing import Any

import attrs

from appliance.simulator.languages.gemini_errors import GeminiError, Violation, of_violations

VIOLATIONS_MAX = 32  # of one body; the service lists all
DEPTH_MAX = 100  # the service's own bound on nested messages

TEXT, INTEGER, NUMBER, FLAG, BYTES, ANY = "TYPE_STRING", "TYPE_INT32", "TYPE_FLOAT", "TYPE_BOOL", "TYPE_BYTES", "any"
NAMESPACE = "type.googleapis.com/google.ai.generativelanguage.v1beta."
SCHEMA_TYPES = ("TYPE_UNSPECIFIED", "STRING", "NUMBER", "INTEGER", "BOOLEAN", "ARRAY", "OBJECT", "NULL")


@attrs.frozen
class Field:
    """`kind` is a scalar's type, a message's name or an enumeration; `many` is "" for one value, "list" or "map"."""

    kind: str
    many: str = ""
    values: tuple[str, ...] = ()


def one(kind: str) -> Field:
    return Field(kind)


def many(kind: str) -> Field:
    return Field(kind, "list")


def choice(name: str, *values: str) -> Field:
    return Field(name, values=values)


MESSAGES: Mapping[str, Mapping[str, Field]] = {
    "GenerateContentRequest": {
        "model": one(TEXT),
        "contents": many("Content"),
        "systemInstruction": one("Content"),
        "tools": many("Tool"),
        "toolConfig": one("ToolConfig"),
        "safetySettings": many("SafetySetting"),
        "generationConfig": one("GenerationConfig"),
        "cachedContent": one(TEXT),
        "serviceTier": one(TEXT),
        "store": one(FLAG),
        "labels": Field(TEXT, "map"),
    },
    "Content": {"parts": many("Part"), "role": one(TEXT)},
    "Part": {
        "text": one(TEXT),
        "inlineData": one("Blob"),
        "fileData": one("FileData"),
        "functionCall": one("FunctionCall"),
        "functionResponse": one("FunctionResponse"),
        **dict.fromkeys(("executableCode", "codeExecutionResult", "toolCall", "toolResponse"), one(ANY)),
        "thought": one(FLAG),
        "thoughtSignature": one(BYTES),
        **dict.fromkeys(("partMetadata", "videoMetadata", "mediaResolution"), one(ANY)),
    },
    "Blob": {"mimeType": one(TEXT), "data": one(BYTES)},
    "FileData": {"mimeType": one(TEXT), "fileUri": one(TEXT)},
    "FunctionCall": {"id": one(TEXT), "name": one(TEXT), "args": Field(ANY, "map")},
    "FunctionResponse": {
        "id": one(TEXT),
        "name": one(TEXT),
        "response": Field(ANY, "map"),
        "parts": many("FunctionResponsePart"),
        "willContinue": one(FLAG),
        "scheduling": choice("FunctionResponse.Scheduling", "SCHEDULING_UNSPECIFIED", "SILENT", "WHEN_IDLE", "INTERRUPT"),
    },
    "FunctionResponsePart": {"inlineData": one("Blob")},
    "Tool": {
        "functionDeclarations": many("FunctionDeclaration"),
        **dict.fromkeys(("googleSearch", "googleSearchRetrieval", "codeExecution", "urlContext"), one(ANY)),
        **dict.fromkeys(("computerUse", "fileSearch", "googleMaps", "mcpServers"), one(ANY)),
    },
    "FunctionDeclaration": {
        "name": one(TEXT),
        "description": one(TEXT),
        "behavior": choice("FunctionDeclaration.Behavior", "UNSPECIFIED", "BLOCKING", "NON_BLOCKING"),
        "parameters": one("Schema"),
        "parametersJsonSchema": one(ANY),
        "response": one("Schema"),
        "responseJsonSchema": one(ANY),
    },
    "Schema": {
        "type": choice("Type", *SCHEMA_TYPES),
        **dict.fromkeys(("format", "title", "description", "pattern"), one(TEXT)),
        "nullable": one(FLAG),
        **dict.fromkeys(("enum", "required", "propertyOrdering"), many(TEXT)),
        **dict.fromkeys(("minItems", "maxItems", "minProperties", "maxProperties", "minLength", "maxLength"), one(INTEGER)),
        **dict.fromkeys(("minimum", "maximum"), one(NUMBER)),
        **dict.fromkeys(("example", "default"), one(ANY)),
        "properties": Field("Schema", "map"),
        "items": one("Schema"),
        "anyOf": many("Schema"),
    },
    "ToolConfig": {
        "functionCallingConfig": one("FunctionCallingConfig"),
        "retrievalConfig": one(ANY),
        "includeServerSideToolInvocations": one(FLAG),
    },
    "FunctionCallingConfig": {
        "mode": choice("FunctionCallingConfig.Mode", "MODE_UNSPECIFIED", "AUTO", "ANY", "NONE", "VALIDATED"),
        "allowedFunctionNames": many(TEXT),
    },
    "SafetySetting": {"category": one(TEXT), "threshold": one(TEXT)},
    "GenerationConfig": {
        "stopSequences": many(TEXT),
        "responseMimeType": one(TEXT),
        "responseSchema": one("Schema"),
        **dict.fromkeys(("responseJsonSchema", "speechConfig", "imageConfig", "audioTranscriptionConfig"), one(ANY)),
        "responseModalities": many(TEXT),
        **dict.fromkeys(("candidateCount", "maxOutputTokens", "seed", "logprobs"), one(INTEGER)),
        **dict.fromkeys(("temperature", "topP", "topK", "presencePenalty", "frequencyPenalty"), one(NUMBER)),
        **dict.fromkeys(("responseLogprobs", "enableEnhancedCivicAnswers"), one(FLAG)),
        "mediaResolution": one(TEXT),
        "thinkingConfig": one("ThinkingConfig"),
    },
    "ThinkingConfig": {
        "includeThoughts": one(FLAG),
        "thinkingBudget": one(INTEGER),
        "thinkingLevel": choice("ThinkingConfig.ThinkingLevel", "THINKING_LEVEL_UNSPECIFIED", "MINIMAL", "LOW", "MEDIUM", "HIGH"),
    },
    "CountTokensRequest": {"model": one(TEXT), "contents": many("Content"), "generateContentRequest": one("GenerateContentRequest")},
    "EmbedContentRequest": {
        "model": one(TEXT),
        "content": one("Content"),
        "taskType": one(TEXT),
        "title": one(TEXT),
        "outputDimensionality": one(INTEGER),
    },
    "BatchEmbedContentsRequest": {"model": one(TEXT), "requests": many("EmbedContentRequest")},
}
def without_id(name: str) -> Mapping[str, Field]:
    return {field: kind for field, kind in MESSAGES[name].items() if field != "id"}


# Where Vertex AI declares other fields: no ids of calls, and what is counted stands at the top.
VERTEX: Mapping[str, Mapping[str, Field]] = {
    "FunctionCall": without_id("FunctionCall"),
    "FunctionResponse": without_id("FunctionResponse"),
    "CountTokensRequest": {
        name: MESSAGES["GenerateContentRequest"][name] for name in ("model", "contents", "systemInstruction", "tools", "generationConfig")
    },
}
ONE_OF: Mapping[str, tuple[str, ...]] = {  # of which a message may hold one alone
    "Part": (
        "text", "inlineData", "fileData", "functionCall", "functionResponse", "executableCode", "codeExecutionResult", "toolCall",
        "toolResponse",
    ),
}  # fmt: skip


def read_message(name: str, body: Mapping[str, Any], *, vertex: bool = False) -> dict[str, Any] | GeminiError:
    """The body with every name in camelCase and every null left out, or the service's complaints about all of it."""
    reader = Reader(VERTEX if vertex else {})
    read = reader.message(name, body, "", 0)
    return of_violations(reader.violations) if reader.violations else read


@attrs.define
class Reader:
    """Reads one body. `otherwise` has the messages that differ from the table's; `violations` is what was wrong so far."""

    otherwise: Mapping[str, Mapping[str, Field]]
    violations: list[Violation] = attrs.field(factory=list)

    def message(self, name: str, body: Mapping[str, Any], path: str, depth: int) -> dict[str, Any]:
        fields, read = self.otherwise.get(name) or MESSAGES[name], dict[str, Any]()
        if depth > DEPTH_MAX:
            self.wrong(path, "Message too deep. Max recursion depth reached.")
            return read
        for given, value in body.items():
            known = camel(given)
            field = fields.get(known)
            if field is None:
                where = f" at '{path}'" if path else ""
                self.wrong(path, f'Invalid JSON payload received. Unknown name "{given}"{where}: Cannot find field.')
            elif value is not None:
                if known in ONE_OF.get(name, ()) and any(other in read for other in ONE_OF[name]):
                    self.wrong(path, f"Invalid value at '{path}' (oneof), oneof field 'data' is already set. Cannot set '{known}'")
                read[known] = self.field(field, value, f"{path}.{snake(known)}" if path else snake(known), depth + 1)
        return read

    def field(self, field: Field, value: Any, path: str, depth: int) -> Any:
        if field.many == "list":
            if not isinstance(value, list):
                self.wrong(path, f"Invalid value at '{path}' ({field.kind}), {shown(value)}")
                return []
            return [self.value(field, item, f"{path}[{i}]", depth) for i, item in enumerate(value)]
        if field.many == "map":
            if not isinstance(value, dict):
                self.wrong(path, f"Invalid value at '{path}' (Map), {shown(value)}")
                return {}
            return {key: self.value(field, item, f"{path}[{i}].value", depth) for i, (key, item) in enumerate(value.items())}
        if isinstance(value, list) and field.kind != ANY:
            where = f"Unknown name \"{leaf(path)}\" at '{parent(path)}'"
            self.wrong(path, f"Invalid JSON payload received. {where}: Proto field is not repeating, cannot start list.")
            return None
        return self.value(field, value, path, depth)

    def value(self, field: Field, value: Any, path: str, depth: int) -> Any:
        if field.kind == ANY:
            return value
        if field.kind in MESSAGES:
            if isinstance(value, dict):
                return self.message(field.kind, value, path, depth)
            self.wrong(path, f"Invalid value at '{path}' ({NAMESPACE}{field.kind}), {shown(value)}")
            return {}
        if field.values:
            if isinstance(value, str) and value.upper() in field.values:  # the service takes either case
                return value.upper()
            self.wrong(path, f"Invalid value at '{path}' ({NAMESPACE}{field.kind}), {shown(value)}")
            return field.values[0]
        read = SCALARS[field.kind](value)
        if read is None:
            extra = "Base64 decoding failed for " if field.kind == BYTES else ""
            self.wrong(path, f"Invalid value at '{path}' ({field.kind}), {extra}{shown(value)}")
        return read

    def wrong(self, path: str, text: str) -> None:
        if len(self.violations) < VIOLATIONS_MAX:
            self.violations.append(Violation(path, text))


def integer(value: Any) -> int | None:
    """A whole number of 64 bits, also as a float without a fraction or as a text, as protobuf's JSON allows."""
    if isinstance(value, str) and re.fullmatch(r"-?\d{1,18}", value):
        return int(value)
    if isinstance(value, float) and value.is_integer():
        return int(value) if abs(value) < 2**63 else None
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def number(value: Any) -> float | None:
    return value if isinstance(value, int | float) and not isinstance(value, bool) else None


def decodable(value: Any) -> str | None:
    """The text of a bytes field, as it came, where it is base64 in either alphabet, padded or not."""
    if not isinstance(value, str):
        return None
    plain = value.rstrip("=").replace("-", "+").replace("_", "/")
    try:
        base64.b64decode(plain + "=" * (-len(plain) % 4), validate=True)
    except (binascii.Error, ValueError):
        return None
    return value


SCALARS: Mapping[str, Any] = {
    TEXT: lambda value: value if isinstance(value, str) else None,
    FLAG: lambda value: value if isinstance(value, bool) else None,
    INTEGER: integer,
    NUMBER: number,
    BYTES: decodable,
}


def camel(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(part[:1].upper() + part[1:] for part in rest)


def snake(name: str) -> str:
    return re.sub(r"[A-Z]", lambda match: "_" + match[0].lower(), name)


def leaf(path: str) -> str:
    return path.rpartition(".")[2]


def parent(path: str) -> str:
    return path.rpartition(".")[0]


def shown(value: Any) -> str:
    return f'"{value:.60}"' if isinstance(value, str) else f"{value!r:.60}"


def part_kinds(part: Mapping[str, Any]) -> Iterator[str]:
    """Which of the fields that carry data a part has."""
    return (name for name in ONE_OF["Part"] if name in part)

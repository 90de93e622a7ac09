"""Conversations are written in Converse's words, and nothing of them is lost without a word."""

import json
from itertools import pairwise

import attrs
import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from appliance.core.conversation import Conversation, OutputFormat, ReasoningWish, Sampling, Tool, ToolChoice
from appliance.core.fault import Fault, FaultKind
from appliance.core.message import Citation, Foreign, Media, Message, Reasoning, Refusal, Text, ToolCall, ToolResult
from appliance.core.seal import Seal
from appliance.dialects.bedrock import BEDROCK
from appliance.dialects.bedrock_answer import JSON_TOOL
from appliance.dialects.bedrock_model import abilities
from appliance.dialects.codec import Target

SONNET = "us.anthropic.claude-sonnet-4-5-20250929-v1:0"
OPUS = "anthropic.claude-opus-4-7"
OLD = "anthropic.claude-3-5-sonnet-20240620-v1:0"
LLAMA = "meta.llama3-3-70b-instruct-v1:0"
HI = (Message("user", (Text("Hi"),)),)
SCHEMA = {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"], "additionalProperties": False}
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


def turns(*messages: Message, model: str = SONNET) -> tuple[list, tuple[str, ...]]:
    body, dropped = written(model, messages=messages)
    return body["messages"], dropped


def test_the_least_request_is_one_turn():
    assert written() == ({"messages": [{"role": "user", "content": [{"text": "Hi"}]}]}, ())


def test_a_conversation_with_tools_thoughts_media_and_cache_marks():
    report = Media("document", "application/pdf", "aG8=", name="Q3 report_v2.pdf", context="of the board", cites=True, cache="5m")
    body, dropped = written(
        messages=(
            Message("system", (Text("Be brief.", cache="1h"),)), Message("developer", (Text("No jokes."),)),
            Message("user", (Text("Look:"), Media("image", "image/png", "aGk="), report)),
            Message("assistant", (
                Reasoning("Hm.", seal=Seal("bedrock", "c2ln")), Reasoning(seal=Seal("bedrock", "eHg="), hidden=True), Text("I look."),
                ToolCall("t1", "f", '{"x": 1.50, "y": 12345678901234567890123}'), ToolCall("t2", "f", ""),
            )),
            Message("tool", (ToolResult("t1", (Text("one"), Media("image", "image/jpeg", "aGk="))),)),
            Message("tool", (ToolResult("t2", (Text(""),), is_error=True, cache="5m"),)),
            Message("user", (Text("Go on."),)),
        ),
        tools=(F, Tool("g", strict=True, cache="5m"),), max_tokens=100,
    )  # fmt: skip
    assert dropped == ()
    assert body["system"] == [{"text": "Be brief."}, {"cachePoint": {"type": "default", "ttl": "1h"}}, {"text": "No jokes."}]
    assert body["inferenceConfig"] == {"maxTokens": 100}
    assert body["toolConfig"] == {"tools": [
        {"toolSpec": {"name": "f", "description": "Does f.", "inputSchema": {"json": F.parameters}}},
        {"toolSpec": {"name": "g", "inputSchema": {"json": {"type": "object", "properties": {}}}, "strict": True}},
        {"cachePoint": {"type": "default"}},
    ]}  # fmt: skip
    first, second, third = body["messages"]
    assert first == {"role": "user", "content": [
        {"text": "Look:"}, {"image": {"format": "png", "source": {"bytes": "aGk="}}},
        {"document": {"format": "pdf", "source": {"bytes": "aG8="}, "name": "Q3 report-v2-pdf", "context": "of the board",
                      "citations": {"enabled": True}}},
        {"cachePoint": {"type": "default"}},
    ]}  # fmt: skip
    assert second["role"] == "assistant"
    assert second["content"][:3] == [
        {"reasoningContent": {"reasoningText": {"text": "Hm.", "signature": "c2ln"}}}, {"reasoningContent": {"redactedContent": "eHg="}},
        {"text": "I look."},
    ]  # fmt: skip
    assert [one["toolUse"]["toolUseId"] for one in second["content"][3:]] == ["t1", "t2"]
    assert second["content"][4]["toolUse"]["input"] == {}
    assert third == {"role": "user", "content": [
        {"toolResult": {"toolUseId": "t1", "content": [{"text": "one"}, {"image": {"format": "jpeg", "source": {"bytes": "aGk="}}}]}},
        {"toolResult": {"toolUseId": "t2", "content": [{"text": "(no output)"}], "status": "error"}},
        {"cachePoint": {"type": "default"}}, {"text": "Go on."},
    ]}  # fmt: skip


def test_arguments_keep_their_digits():
    call = Message("assistant", (ToolCall("t", "f", '{"x": 1.50, "y": 12345678901234567890123}'),))
    found = BEDROCK.write_request(Conversation("m", (*HI, call)), Target(SONNET))
    assert not isinstance(found, Fault)
    assert b'{"x": 1.50, "y": 12345678901234567890123}' in found.body


def test_turns_alternate_and_blank_words_are_left_out():
    found, dropped = turns(
        *HI, Message("user", (Text(" \n"), Text(""))), Message("user", (Text("there"),), name="eve"), Message("assistant", (Text(""),)),
        Message("assistant", (Refusal("No."), Text("Well, "))),
    )  # fmt: skip
    assert found == [
        {"role": "user", "content": [{"text": "Hi"}, {"text": "there"}]}, {"role": "assistant", "content": [{"text": "No."},
        {"text": "Well,"}]},
    ]  # fmt: skip
    assert dropped == ("messages[1].parts[0]: blank text", "messages[2].name")


def test_instructions_in_the_middle_move_to_the_front_and_that_is_said():
    body, dropped = written(messages=(*HI, Message("system", (Text("New rule."),)), Message("user", (Text("So?"),))))
    assert body["system"] == [{"text": "New rule."}]
    assert dropped == ("messages[1].role",)


def test_instructions_alone_are_the_question():
    body, dropped = written(messages=(Message("system", (Text("Rules."),)), Message("system", (Text("Write a poem."),))))
    assert body == {"system": [{"text": "Rules."}], "messages": [{"role": "user", "content": [{"text": "Write a poem."}]}]}
    assert dropped == ("messages[1].role",)


def test_documents_have_names_of_their_own_and_words_beside_them():
    doc = Media("document", "text/plain", "Grüße", plain=True)
    found, _ = turns(Message("user", (doc, attrs.evolve(doc, name="a/b")))), Message("user", ())
    content = found[0][0]["content"]
    assert [one["document"]["name"] for one in content if "document" in one] == ["document", "a-b"]
    assert content[0] == {"text": "document"}
    assert content[1]["document"]["source"] == {"bytes": "R3LDvMOfZQ=="}
    twice, _ = turns(Message("user", (Text("x"), doc, doc)))
    assert [one["document"]["name"] for one in twice[0]["content"][1:]] == ["document", "document (2)"]


@pytest.mark.parametrize(("part", "param"), [
    (Media("image", "image/png", url="https://a.example/x.png"), "messages[0].parts[0]"),
    (Media("image", "image/tiff", "aGk="), "messages[0].parts[0]"), (Media("image", "image/png", file_id="file-1"), "messages[0].parts[0]"),
    (Media("document", "application/zip", "aGk="), "messages[0].parts[0]"),
])  # fmt: skip
def test_media_that_cannot_be_carried_are_refused_by_name(part, param):
    assert refused(messages=(Message("user", (part,)),)).param == param


def test_media_in_s3_are_named():
    found, _ = turns(Message("user", (Media("video", "video/mp4", url="s3://bucket/film.mp4"),)))
    assert found[0]["content"] == [{"video": {"format": "mp4", "source": {"s3Location": {"uri": "s3://bucket/film.mp4"}}}}]


def test_what_only_others_can_read_is_left_out_and_said():
    found, dropped = turns(
        *HI,
        Message("assistant", (
            Reasoning("a", seal=Seal("anthropic", "x")), Reasoning("b"), Reasoning(seal=Seal("openai", "y"), hidden=True),
            Text("c", (Citation("t"),), seal=Seal("gemini", "z")), Foreign("anthropic", "web_search_tool_result", {}),
            Foreign("bedrock", "guardContent", {"guardContent": {"text": {"text": "g"}}}), Media("image", "image/png", "aGk="),
            ToolCall("id with spaces", "f", "{}", seal=Seal("gemini", "s")),
        )),
        Message("tool", (ToolResult("id with spaces", (Text("r"),), is_error=True),)),
    )  # fmt: skip
    use = found[1]["content"][2]["toolUse"]
    assert found[1]["content"] == [{"text": "c"}, {"guardContent": {"text": {"text": "g"}}}, {"toolUse": use}]
    assert use["toolUseId"].startswith("call_")
    assert found[2]["content"][0]["toolResult"] == {"toolUseId": use["toolUseId"], "content": [{"text": "r"}], "status": "error"}
    path = "messages[1].parts"
    assert dropped == (
        f"{path}[0]: sealed reasoning of anthropic", f"{path}[1]: reasoning without a seal", f"{path}[2]: sealed reasoning of openai",
        f"{path}[3].citations", f"{path}[3].seal", f"{path}[4]: web_search_tool_result", f"{path}[6]: image", f"{path}[7].seal",
    )  # fmt: skip


def test_a_claude_signature_is_not_sent_to_another_vendors_model():
    _, dropped = turns(*HI, Message("assistant", (Reasoning("a", seal=Seal("bedrock", "x")), Text("b"))), model="openai.gpt-oss-120b-1:0")
    assert dropped == ("messages[1].parts[0]: sealed reasoning of bedrock",)


@pytest.mark.parametrize("arguments", ["nonsense", "[1,2]", '"x"', "{"])
def test_arguments_that_are_no_object_are_refused(arguments):
    fault = refused(messages=(*HI, Message("assistant", (ToolCall("t", "f", arguments),))))
    assert fault.param == "messages[1].parts[0].arguments"
    assert arguments not in fault.message


def test_free_text_tools_and_namespaces_become_functions():
    body, dropped = written(
        tools=(Tool("patch", custom=True, grammar={"type": "grammar", "syntax": "lark", "definition": "start: x"}), Tool("g",
        namespace="n")),
        messages=(*HI, Message("assistant", (ToolCall("t", "patch", "*** Begin", custom=True), ToolCall("u", "g", "{}", namespace="n")))),
    )
    first, second = body["toolConfig"]["tools"]
    assert first["toolSpec"]["inputSchema"]["json"]["required"] == ["input"]
    assert "start: x" in first["toolSpec"]["description"]
    assert second["toolSpec"]["name"] == "n__g"
    assert [one["toolUse"]["input"] for one in body["messages"][1]["content"]] == [{"input": "*** Begin"}, {}]
    assert body["messages"][1]["content"][1]["toolUse"]["name"] == "n__g"
    assert dropped == ("tools[0].grammar",)


@pytest.mark.parametrize(("choice", "config", "reported"), [
    (None, {"tools": 2}, ()), (ToolChoice("auto"), {"tools": 2}, ()), (ToolChoice("required"), {"tools": 2, "toolChoice": {"any": {}}}, ()),
    (ToolChoice("named", "f"), {"tools": 2, "toolChoice": {"tool": {"name": "f"}}}, ()), (ToolChoice("none"), None, ()),
    (ToolChoice("required", allowed=("g",)), {"tools": 1, "toolChoice": {"any": {}}}, ()),
])  # fmt: skip
def test_the_choice_among_tools(choice, config, reported):
    body, dropped = written(tools=(F, Tool("g")), tool_choice=choice)
    found = body.get("toolConfig")
    assert (found and {**found, "tools": len(found["tools"])}) == config
    assert dropped == reported


def test_no_tools_but_a_history_with_calls():
    history = (*HI, Message("assistant", (ToolCall("t", "f"),)), Message("tool", (ToolResult("t", (Text("r"),)),)))
    body, dropped = written(messages=history, tools=(F,), tool_choice=ToolChoice("none"))
    assert [one["toolSpec"]["name"] for one in body["toolConfig"]["tools"]] == ["f"]
    assert dropped == ("tool_choice",)
    body, dropped = written(messages=history)
    (stub,) = body["toolConfig"]["tools"]
    assert stub["toolSpec"]["name"] == "f"
    assert "not available" in stub["toolSpec"]["description"]
    assert dropped == ()


@pytest.mark.parametrize(("fields", "param"), [
    ({"tool_choice": ToolChoice("required")}, "tool_choice"), ({"tools": (F,), "tool_choice": ToolChoice("named", "g")},
    "tool_choice.name"),
    ({"tools": (Tool("a b"),)}, "tools[0].name"), ({"tools": (Tool(JSON_TOOL),)}, "tools[0].name"),
    ({"sampling": Sampling(candidates=2)}, "sampling.candidates"), ({"modalities": ("audio",)}, "modalities"), ({"previous": "resp_1"},
    "previous"),
    ({"messages": ()}, "messages"), ({"messages": (Message("user", (Text(" "),)),)}, "messages"),
    ({"messages": (Message("system", (Media("image", "image/png", "aGk="),)), *HI)}, "messages[0].parts[0]"),
])  # fmt: skip
def test_what_would_change_the_meaning_is_refused(fields, param):
    assert refused(**fields).param == param


def test_tools_of_other_providers_are_reported_and_own_ones_said():
    grounding = Tool("nova_grounding", server=True, family="bedrock", raw={"systemTool": {"name": "nova_grounding"}})
    body, dropped = written(tools=(Tool("web_search", server=True, family="openai", raw={"type": "web_search"}), grounding))
    assert body["toolConfig"] == {"tools": [{"systemTool": {"name": "nova_grounding"}}]}
    assert dropped == ("tools[0]: web_search",)


def test_sampling_is_said_where_there_are_words_for_it():
    everything = Sampling(1.7, 0.9, 40, 0.1, ("END", " "), 7, 0.5, 0.5, 1.1, {"1": 2}, True, 3, 1)
    body, dropped = written(OLD, sampling=everything)
    assert body["inferenceConfig"] == {"temperature": 1, "topP": 0.9, "stopSequences": ["END"]}
    assert body["additionalModelRequestFields"] == {"top_k": 40}
    assert body["additionalModelResponseFieldPaths"] == ["/stop_sequence", "/delta/stop_sequence"]
    assert dropped == (
        "sampling.temperature", "sampling.stop[1]", "sampling.min_p", "sampling.seed", "sampling.presence_penalty",
        "sampling.frequency_penalty", "sampling.repetition_penalty", "sampling.logit_bias", "sampling.logprobs", "sampling.top_logprobs",
    )  # fmt: skip


@pytest.mark.parametrize(("model", "inference", "additional", "dropped"), [
    (SONNET, {"temperature": 0.5}, {"top_k": 4}, ("sampling.top_p",)),
    (OPUS, None, None, ("sampling.temperature", "sampling.top_p", "sampling.top_k")),
    ("amazon.nova-pro-v1:0", {"temperature": 0.5, "topP": 0.9}, {"inferenceConfig": {"topK": 4}}, ()),
    ("cohere.command-r-v1:0", {"temperature": 0.5, "topP": 0.9}, {"k": 4}, ()),
    ("mistral.mistral-large-2402-v1:0", {"temperature": 0.5, "topP": 0.9}, {"top_k": 4}, ()),
    (LLAMA, {"temperature": 0.5, "topP": 0.9}, None, ("sampling.top_k",)),
    ("arn:aws:bedrock:us-east-1:123456789012:application-inference-profile/abcdefgh", {"temperature": 0.5, "topP": 0.9}, None,
    ("sampling.top_k",)),
])  # fmt: skip
def test_sampling_by_model(model, inference, additional, dropped):
    body, reported = written(model, sampling=Sampling(0.5, 0.9, 4))
    assert (body.get("inferenceConfig"), body.get("additionalModelRequestFields"), reported) == (inference, additional, dropped)


HIGH = ReasoningWish(effort="high")


@pytest.mark.parametrize(("model", "wish", "max_tokens", "additional", "dropped"), [
    (SONNET, HIGH, None, {"thinking": {"type": "enabled", "budget_tokens": 16_384}}, ()),
    (SONNET, HIGH, 4_000, {"thinking": {"type": "enabled", "budget_tokens": 3_000}}, ()),
    (SONNET, HIGH, 1_000, None, ("reasoning",)),
    (SONNET, ReasoningWish(enabled=True, budget_tokens=5_000), 8_000, {"thinking": {"type": "enabled", "budget_tokens": 5_000}}, ()),
    (SONNET, ReasoningWish(enabled=True, budget_tokens=9_000), 8_000, {"thinking": {"type": "enabled", "budget_tokens": 7_999}},
     ("reasoning.budget_tokens",)),
    (SONNET, ReasoningWish(enabled=True, budget_tokens=-1), None, {"thinking": {"type": "enabled", "budget_tokens": 8_192}}, ()),
    (SONNET, ReasoningWish(effort="none"), None, None, ()), (SONNET, ReasoningWish(enabled=False), None, None, ()),
    (SONNET, ReasoningWish(summary="auto", sealed=True), None, None, ()),
    (OPUS, HIGH, 100, {"thinking": {"type": "adaptive"}, "output_config": {"effort": "high"}}, ()),
    (OPUS, ReasoningWish(enabled=True, shown=True), None, {"thinking": {"type": "adaptive", "display": "summarized"}}, ()),
    (OPUS, ReasoningWish(budget_tokens=30_000), None, {"thinking": {"type": "adaptive"}, "output_config": {"effort": "xhigh"}}, ()),
    ("anthropic.claude-opus-4-6-v1", ReasoningWish(effort="xhigh"), None, {"thinking": {"type": "adaptive"},
    "output_config": {"effort": "high"}}, ()),
    ("anthropic.claude-opus-4-6-v1", ReasoningWish(budget_tokens=2_000), None, {"thinking": {"type": "enabled",
    "budget_tokens": 2_000}}, ()),
    (OLD, HIGH, None, None, ("reasoning",)), (LLAMA, HIGH, None, None, ("reasoning",)),
    ("openai.gpt-oss-120b-1:0", ReasoningWish(effort="xhigh"), None, {"reasoning_effort": "high"}, ()),
    ("openai.gpt-oss-120b-1:0", ReasoningWish(effort="none"), None, None, ("reasoning",)),
    ("us.amazon.nova-2-lite-v1:0", HIGH, None, {"reasoningConfig": {"type": "enabled", "maxReasoningEffort": "high"}}, ()),
    ("us.amazon.nova-2-lite-v1:0", HIGH, 99, {"reasoningConfig": {"type": "enabled", "maxReasoningEffort": "medium"}},
    ("reasoning.effort",)),
    ("us.amazon.nova-2-lite-v1:0", ReasoningWish(effort="none"), None, {"reasoningConfig": {"type": "disabled"}}, ()),
])  # fmt: skip
def test_thinking_by_model(model, wish, max_tokens, additional, dropped):
    body, reported = written(model, reasoning=wish, max_tokens=max_tokens)
    assert (body.get("additionalModelRequestFields"), reported) == (additional, dropped)


def test_thinking_gives_way_to_what_it_forbids():
    body, dropped = written(reasoning=HIGH, sampling=Sampling(0.2, 0.97, 5))
    assert body["inferenceConfig"] == {"topP": 0.97}
    assert dropped == ("sampling.temperature", "sampling.top_k")
    _, dropped = written(reasoning=HIGH, tools=(F,), tool_choice=ToolChoice("required"))
    assert dropped == ("reasoning",)
    loop = (*HI, Message("assistant", (ToolCall("t", "f"),)), Message("tool", (ToolResult("t", (Text("r"),)),)))
    assert written(messages=loop, reasoning=HIGH, tools=(F,))[1] == ("reasoning",)
    signed = (*HI, Message("assistant", (Reasoning("x", seal=Seal("bedrock", "s")), ToolCall("t", "f"))), loop[2])
    assert "thinking" in written(messages=signed, reasoning=HIGH, tools=(F,))[0]["additionalModelRequestFields"]


JSON = OutputFormat("json_schema", SCHEMA, "answer", "An answer.")


def test_structured_output_where_the_model_has_it():
    body, dropped = written(output=JSON)
    definition = body["outputConfig"]["textFormat"]["structure"]["jsonSchema"]
    assert (json.loads(definition["schema"]), definition["name"], definition["description"]) == (SCHEMA, "answer", "An answer.")
    assert body["outputConfig"]["textFormat"]["type"] == "json_schema"
    assert "toolConfig" not in body
    body, dropped = written("anthropic.claude-opus-4-6-v1", output=JSON, reasoning=HIGH)
    assert body["additionalModelRequestFields"]["output_config"] == {"effort": "high", "format": {"type": "json_schema", "schema": SCHEMA}}
    assert "outputConfig" not in body
    assert dropped == ()


@pytest.mark.parametrize(("model", "output", "fields", "choice"), [
    (OLD, JSON, {}, {"tool": {"name": JSON_TOOL}}), (OLD, OutputFormat("json_object"), {}, {"tool": {"name": JSON_TOOL}}),
    (SONNET, OutputFormat("json_schema", {"type": "object"}), {}, {"tool": {"name": JSON_TOOL}}), (OLD, JSON, {"tools": (F,)}, {"any": {}}),
    (LLAMA, JSON, {}, None), (OLD, JSON, {"tools": (F,), "tool_choice": ToolChoice("none")}, {"tool": {"name": JSON_TOOL}}),
])  # fmt: skip
def test_structured_output_through_a_tool_where_it_has_none(model, output, fields, choice):
    body, dropped = written(model, output=output, **fields)
    assert body["toolConfig"]["tools"][-1]["toolSpec"]["name"] == JSON_TOOL
    assert body["toolConfig"].get("toolChoice") == choice
    assert "outputConfig" not in body
    assert dropped == ()


def test_a_named_tool_is_called_whatever_the_format():
    body, _ = written(OLD, output=JSON, tools=(F,), tool_choice=ToolChoice("named", "f"))
    assert [one["toolSpec"]["name"] for one in body["toolConfig"]["tools"]] == ["f"]


def test_the_rest_is_said_or_reported():
    body, dropped = written(
        user="u", metadata={"team": "search", "odd": "ü"}, cache_key="k", verbosity="low", service_tier="flex", store=True,
        parallel_tools=False,
        tools=(F,), family="openai", extra={"prediction": {}},
    )  # fmt: skip
    assert body["requestMetadata"] == {"team": "search"}
    assert body["serviceTier"] == {"type": "flex"}
    assert dropped == ("metadata", "user", "cache_key", "verbosity", "store", "parallel_tools", "extra.prediction")


def test_fields_of_the_own_family_are_said_again():
    extra = {"guardrailConfig": {"guardrailIdentifier": "g"}, "additionalModelRequestFields": {"a": 1, "top_k": 9}}
    body, dropped = written(OLD, family="bedrock", extra=extra, sampling=Sampling(top_k=3))
    assert body["guardrailConfig"] == {"guardrailIdentifier": "g"}
    assert body["additionalModelRequestFields"] == {"a": 1, "top_k": 3}
    assert dropped == ()


def test_the_operator_drops_and_renames_fields():
    body, dropped = written(
        target=Target(OLD, drop=("topP", "serviceTier"), rename={"maxTokens": "maxNewTokens"}), max_tokens=5, sampling=Sampling(top_p=0.5),
        service_tier="flex",
    )  # fmt: skip
    assert body["inferenceConfig"] == {"maxNewTokens": 5}
    assert dropped == ("serviceTier", "topP")


@pytest.mark.parametrize(("model", "vendor"), [
    (SONNET, "anthropic"), ("global.anthropic.claude-haiku-4-5-20251001-v1:0", "anthropic"), ("us-gov.anthropic.claude-x", "anthropic"),
    ("arn:aws:bedrock:us-east-1:123456789012:inference-profile/us.amazon.nova-pro-v1:0", "amazon"),
    ("arn:aws:bedrock:eu:1:custom-model/x", ""),
])  # fmt: skip
def test_the_vendor_is_read_from_every_form_of_id(model, vendor):
    assert abilities(model).vendor == vendor


def test_ids_are_escaped_in_the_path():
    assert BEDROCK.path("anthropic.claude-v2:1", False) == "/model/anthropic.claude-v2%3A1/converse"
    assert BEDROCK.path("arn:aws:bedrock:us:1:inference-profile/a",
        True) == "/model/arn%3Aaws%3Abedrock%3Aus%3A1%3Ainference-profile%2Fa/converse-stream"


words = st.text(max_size=20)
some_parts = st.one_of(
    st.builds(Text, words, cache=st.sampled_from(["", "5m", "1h"])),
    st.builds(Reasoning, words, seal=st.none() | st.builds(Seal, st.sampled_from(["bedrock", "anthropic"]), st.just("c2ln"))),
    st.builds(Media, st.just("image"), st.just("image/png"), st.just("aGk=")),
    st.builds(Media, st.just("document"), st.just("application/pdf"), st.just("aGk="), name=words),
)
call_parts = st.builds(ToolCall, st.text(min_size=1, max_size=9), st.just("f"), st.sampled_from(["", "{}", '{"x":"y"}']))
result_parts = st.builds(ToolResult, st.text(min_size=1, max_size=9), st.lists(st.builds(Text, words), max_size=2).map(tuple),
    is_error=st.booleans())
some_messages = st.one_of(
    st.builds(Message, st.just("system"), st.lists(st.builds(Text, words), max_size=2).map(tuple)),
    st.builds(Message, st.just("user"), st.lists(some_parts, max_size=3).map(tuple)),
    st.builds(Message, st.just("assistant"), st.lists(some_parts | call_parts, max_size=3).map(tuple)),
    st.builds(Message, st.just("tool"), st.lists(result_parts, min_size=1, max_size=2).map(tuple)),
)
conversations = st.builds(
    Conversation, st.just("m"), st.lists(some_messages, max_size=5).map(tuple), max_tokens=st.none() | st.integers(1, 9_000),
    tools=st.sampled_from([(), (F,)]), output=st.sampled_from([None, JSON, OutputFormat("json_object")]),
    tool_choice=st.sampled_from([None, ToolChoice("auto"), ToolChoice("none"), ToolChoice("required")]),
    reasoning=st.sampled_from([None, HIGH, ReasoningWish(effort="none"), ReasoningWish(budget_tokens=2_000)]),
    sampling=st.builds(Sampling, st.none() | st.floats(0, 2), st.none() | st.floats(0.1, 1), st.none() | st.integers(1, 99)),
)  # fmt: skip


@settings(deadline=None)
@given(conversations, st.sampled_from([SONNET, OPUS, OLD, LLAMA, "amazon.nova-2-lite-v1:0", "openai.gpt-oss-120b-1:0"]))
def test_every_request_keeps_to_the_languages_rules(conversation, model):
    found = BEDROCK.write_request(conversation, Target(model))
    if isinstance(found, Fault):
        assert found.param
        return
    body = orjson.loads(found.body)
    roles = [one["role"] for one in body["messages"]]
    assert all(a != b for a, b in pairwise(roles))
    for turn in body["messages"]:
        assert turn["content"]
        assert all(one["text"].strip() for one in turn["content"] if "text" in one)
    blocks = [block for turn in body["messages"] for block in turn["content"]]
    if any("toolUse" in one for one in blocks):
        assert "toolConfig" in body
    validated(body, model)


def validated(body: dict, model: str) -> None:
    """By Amazon's own description of the API, where it is installed."""
    try:
        import botocore.session
        from botocore.validate import ParamValidator
    except ImportError:
        return
    global _SHAPE
    if _SHAPE is None:
        _SHAPE = botocore.session.get_session().get_service_model("bedrock-runtime").operation_model("Converse").input_shape
    report = ParamValidator().validate({**body, "modelId": model}, _SHAPE)
    assert not report.has_errors(), report.generate_report()


_SHAPE = None


def test_amazons_own_description_is_at_hand_or_the_reason_is_said():
    pytest.importorskip("botocore", reason="botocore is not installed: requests are not held against its model")
    body, _ = written(output=JSON, tools=(F,), reasoning=ReasoningWish(effort="low"), max_tokens=9_000, metadata={"a": "b"},
        service_tier="flex")
    validated(body, SONNET)

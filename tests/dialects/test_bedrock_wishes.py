"""How to answer is said in the words of the model behind Bedrock, and what it would refuse is reported."""

import json

import pytest
from bedrock_requests import HI, HIGH, JSON, LLAMA, OLD, OPUS, SCHEMA, SONNET, F, written

from appliance.core.conversation import OutputFormat, ReasoningWish, Sampling, ToolChoice
from appliance.core.message import Message, Reasoning, Text, ToolCall, ToolResult
from appliance.core.seal import Seal
from appliance.dialects.bedrock import BEDROCK
from appliance.dialects.bedrock_answer import JSON_TOOL
from appliance.dialects.bedrock_model import abilities
from appliance.dialects.codec import Target


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
        family="openai", extra={"prediction": {}},
    )  # fmt: skip
    assert body["requestMetadata"] == {"team": "search"}
    assert body["serviceTier"] == {"type": "flex"}
    assert dropped == ("metadata", "user", "cache_key", "verbosity", "store", "prediction")


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

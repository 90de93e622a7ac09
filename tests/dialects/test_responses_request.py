"""What a caller of the Responses API asks is read as it is meant, or refused by the path of what is wrong."""

from typing import Any

import pytest

from appliance.core.conversation import Conversation, OutputFormat, ReasoningWish, Sampling, Tool, ToolChoice
from appliance.core.fault import Fault, FaultKind
from appliance.core.message import Citation, Foreign, Media, Message, Part, Reasoning, Refusal, Text, ToolCall, ToolResult
from appliance.core.seal import Seal, wrap
from appliance.dialects.responses import RESPONSES

HELLO = {"model": "m", "input": "hello"}


def read(**fields: Any) -> Conversation:
    found = RESPONSES.read_request({**HELLO, **fields})
    assert isinstance(found, Conversation), found
    return found


def items(*given: dict[str, Any]) -> tuple[Message, ...]:
    return read(input=list(given)).messages


def only_part(*content: dict[str, Any]) -> Part:
    return items({"role": "user", "content": list(content)})[0].parts[0]


def refused(**fields: Any) -> Fault:
    found = RESPONSES.read_request({**HELLO, **fields})
    assert isinstance(found, Fault), found
    assert found.kind is FaultKind.BAD_REQUEST
    return found


def test_a_text_is_a_users_message_and_instructions_are_the_systems():
    asked = read(instructions="be brief")
    assert asked.messages == (Message("system", (Text("be brief"),)), Message("user", (Text("hello"),)))
    assert (asked.model, asked.stream, asked.family, asked.extra) == ("m", False, "openai_responses", {})


@pytest.mark.parametrize("role", ["user", "system", "developer", "assistant"])
def test_messages_come_in_the_easy_form_and_in_the_full_one(role: str):
    full = {"type": "message", "role": role, "status": "completed", "id": "msg_1", "content": [{"type": "input_text", "text": "a"}]}
    assert items({"role": role, "content": "a"}) == items(full) == (Message(role, (Text("a"),)),)  # type: ignore[arg-type]


def test_every_kind_of_content_is_read():
    image = "data:image/jpeg;base64,aGk="
    assert only_part({"type": "input_image", "image_url": image, "detail": "low"}) == Media("image", "image/jpeg", "aGk=", detail="low")
    assert only_part({"type": "input_image", "image_url": "https://x.test/a.png", "detail": "auto"}) == Media("image", url="https://x.test/a.png")
    assert only_part({"type": "input_image", "file_id": "file_1"}) == Media("image", file_id="file_1")
    pdf = {"type": "input_file", "filename": "a.pdf", "file_data": "data:application/pdf;base64,JVBE"}
    assert only_part(pdf) == Media("document", "application/pdf", "JVBE", name="a.pdf")
    assert only_part({**pdf, "file_data": "JVBE"}) == Media("document", "application/pdf", "JVBE", name="a.pdf")
    assert only_part({"type": "input_file", "file_url": "https://x.test/a.pdf"}) == Media("document", url="https://x.test/a.pdf")
    assert only_part({"type": "input_file", "file_id": "file_2"}) == Media("document", file_id="file_2")
    assert only_part({"type": "input_audio", "input_audio": {"data": "UklG", "format": "wav"}}) == Media("audio", "audio/wav", "UklG")
    assert only_part({"type": "refusal", "refusal": "no"}) == Refusal("no")
    marked = {"type": "input_text", "text": "a", "prompt_cache_breakpoint": {"mode": "explicit"}}
    assert only_part(marked) == Text("a", cache="5m")
    assert only_part({**marked, "prompt_cache_breakpoint": {"mode": "explicit", "ttl": "30m"}}) == Text("a", cache="1h")
    cited = {"type": "url_citation", "url": "https://x.test", "title": "X", "start_index": 0, "end_index": 1}
    said = only_part({"type": "output_text", "text": "a", "annotations": [cited], "logprobs": []})
    assert said == Text("a", (Citation("X", "https://x.test", "", 0, 1, cited),))


def test_one_turn_of_the_models_is_one_message_and_a_run_of_results_another():
    assert items(
        {"role": "user", "content": "weather?"},
        {"type": "reasoning", "id": "rs_1", "summary": [{"type": "summary_text", "text": "hm"}], "encrypted_content": "gAAA"},
        {"type": "message", "role": "assistant", "id": "msg_1", "content": [{"type": "output_text", "text": "let me see"}]},
        {"type": "function_call", "id": "fc_1", "call_id": "c1", "name": "weather", "arguments": '{"city":"Rome"}', "status": "completed"},
        {"type": "custom_tool_call", "id": "ctc_1", "call_id": "c2", "name": "exec", "namespace": "functions", "input": "ls"},
        {"type": "function_call_output", "call_id": "c1", "output": "sun"},
        {"type": "custom_tool_call_output", "call_id": "c2", "output": [
            {"type": "input_text", "text": "a"}, {"type": "input_image", "image_url": "https://x.test/a.png"},
        ]},
        {"role": "user", "content": "thanks"},
    ) == (
        Message("user", (Text("weather?"),)),
        Message("assistant", (
            Reasoning("hm", summary=True, seal=Seal("openai", "gAAA")), Text("let me see"), ToolCall("c1", "weather", '{"city":"Rome"}'),
            ToolCall("c2", "exec", "ls", "functions", custom=True),
        )),
        Message("tool", (
            ToolResult("c1", (Text("sun"),), "weather"),
            ToolResult("c2", (Text("a"), Media("image", url="https://x.test/a.png")), "exec", custom=True),
        )),
        Message("user", (Text("thanks"),)),
    )  # fmt: skip


def test_thoughts_are_read_with_their_seals():
    raw, summary = {"type": "reasoning_text", "text": "raw"}, {"type": "summary_text", "text": "in short"}

    def thoughts(**item: Any) -> tuple[Part, ...]:
        return items({"type": "reasoning", "summary": [], **item})[0].parts

    assert thoughts(encrypted_content="abc") == (Reasoning(seal=Seal("openai", "abc"), hidden=True),)
    assert thoughts(content=[raw]) == (Reasoning("raw"),)
    assert thoughts(content=[raw], summary=[summary], encrypted_content="abc") == (
        Reasoning("raw"), Reasoning("in short", True, Seal("openai", "abc")),
    )  # fmt: skip
    anthropic = Seal("anthropic", "sig+/=")
    assert thoughts(summary=[summary], encrypted_content=wrap(anthropic, "openai")) == (Reasoning("in short", True, anthropic),)
    assert thoughts(id="rs_1") == (Foreign("openai_responses", "reasoning", {"type": "reasoning", "summary": [], "id": "rs_1"}),)


def test_a_seal_that_was_carried_behind_a_call_goes_back_to_it():
    call = {"type": "function_call", "call_id": "c1", "name": "f", "arguments": "{}"}
    google = Seal("gemini", "sig")
    carrier = {"type": "reasoning", "summary": [], "encrypted_content": "prev." + wrap(google, "openai")}
    assert items(call, carrier) == (Message("assistant", (ToolCall("c1", "f", "{}", seal=google),)),)
    assert items(carrier, call)[0].parts == (Reasoning(seal=google, hidden=True), ToolCall("c1", "f", "{}"))


def test_a_seal_that_was_carried_ahead_of_a_call_goes_back_to_it_and_to_no_other():
    call = {"type": "function_call", "call_id": "c1", "name": "f", "arguments": "{}"}
    words = {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "x"}]}
    google = Seal("gemini", "sig")
    carrier = {"type": "reasoning", "summary": [], "encrypted_content": "next." + wrap(google, "openai")}
    assert items(carrier, call)[0].parts == (ToolCall("c1", "f", "{}", seal=google),)
    assert items(carrier, words, call)[0].parts == (Text("x"), ToolCall("c1", "f", "{}"))


def test_tools_of_every_kind_are_read():
    schema = {"type": "object", "properties": {}}
    grammar = {"type": "grammar", "syntax": "lark", "definition": "start: /.+/"}
    search = {"type": "web_search", "search_context_size": "low"}
    asked = read(tools=[
        {"type": "function", "name": "f", "description": "does f", "parameters": schema, "strict": True},
        {"type": "custom", "name": "apply_patch", "description": "patches", "format": grammar},
        {"type": "custom", "name": "free", "format": {"type": "text"}},
        {"type": "namespace", "name": "crm", "description": "customers", "tools": [
            {"type": "function", "name": "find", "parameters": schema, "defer_loading": True}, {"type": "custom", "name": "note"},
        ]},
        search,
    ])  # fmt: skip
    assert asked.tools == (
        Tool("f", "does f", schema, True),
        Tool("apply_patch", "patches", custom=True, grammar=grammar),
        Tool("free", custom=True),
        Tool("find", parameters=schema, namespace="crm", namespace_description="customers"),
        Tool("note", custom=True, namespace="crm", namespace_description="customers"),
        Tool("web_search", server=True, family="openai_responses", raw=search),
    )
    assert asked.extra == {"tools[*].defer_loading": True}


def test_tools_come_also_in_items_of_the_input_and_the_last_of_a_name_counts():
    exec_tool = {"type": "custom", "name": "exec"}
    functions = {"type": "namespace", "name": "functions", "description": "", "tools": [exec_tool]}
    found = {"type": "tool_search_output", "call_id": "s", "tools": [{"type": "function", "name": "f", "description": "new"}]}
    asked = read(
        tools=[{"type": "function", "name": "f", "description": "old"}],
        input=[{"type": "additional_tools", "role": "developer", "tools": [functions]}, {"role": "user", "content": "go"}, found],
    )
    assert asked.tools == (Tool("exec", custom=True, namespace="functions"), Tool("f", "new"))
    searched = Message("assistant", (Foreign("openai_responses", "tool_search_output", found),))
    assert asked.messages == (Message("user", (Text("go"),)), searched)


@pytest.mark.parametrize(
    ("given", "choice"),
    [
        ("auto", ToolChoice("auto")),
        ("none", ToolChoice("none")),
        ("required", ToolChoice("required")),
        ({"type": "function", "name": "f"}, ToolChoice("named", "f")),
        ({"type": "custom", "name": "c"}, ToolChoice("named", "c")),
        ({"type": "web_search_preview"}, ToolChoice("named", "web_search_preview")),
        (
            {"type": "allowed_tools", "mode": "required", "tools": [{"type": "function", "name": "f"}, {"type": "image_generation"}]},
            ToolChoice("required", allowed=("f", "image_generation")),
        ),
    ],
)
def test_a_choice_of_tools_is_read(given: Any, choice: ToolChoice):
    assert read(tool_choice=given).tool_choice == choice


def test_all_other_wishes_are_read():
    schema = {"type": "object"}
    asked = read(
        stream=True, max_output_tokens=7, parallel_tool_calls=False, temperature=0.5, top_p=0.9, top_logprobs=3, store=False,
        text={"format": {"type": "json_schema", "name": "n", "schema": schema, "strict": True, "description": "d"}, "verbosity": "low"},
        reasoning={"effort": "xhigh", "summary": "auto"}, include=["reasoning.encrypted_content", "message.output_text.logprobs"],
        previous_response_id="resp_1", prompt_cache_key="k", metadata={"a": "b"}, safety_identifier="u", user="old", service_tier="flex",
        presence_penalty=0.1, stream_options={"include_obfuscation": False}, truncation="disabled",
    )  # fmt: skip
    assert asked == Conversation(
        "m", (Message("user", (Text("hello"),)),), stream=True, max_tokens=7, parallel_tools=False, store=False, verbosity="low",
        output=OutputFormat("json_schema", schema, "n", "d", True), reasoning=ReasoningWish(effort="xhigh", summary="auto", sealed=True),
        sampling=Sampling(temperature=0.5, top_p=0.9, top_logprobs=3, logprobs=True, presence_penalty=0.1), previous="resp_1",
        cache_key="k", metadata={"a": "b"}, user="u", service_tier="flex", family="openai_responses",
    )  # fmt: skip


def test_what_is_not_known_is_carried_and_null_means_nothing():
    asked = read(client_metadata={"a": 1}, truncation="auto", include=["web_search_call.results"], future=1, temperature=None, tools=None)
    assert asked.extra == {"client_metadata": {"a": 1}, "truncation": "auto", "include": ["web_search_call.results"], "future": 1}
    assert (asked.sampling.temperature, asked.tools) == (None, ())


def test_what_could_not_be_carried_is_named():
    phased = {"type": "message", "role": "assistant", "phase": "commentary", "content": "hm"}
    asked = read(input=[phased], reasoning={"effort": "low", "mode": "pro"})
    assert asked.extra == {"input[*].phase": True, "reasoning.mode": True}


def test_messages_between_agents_are_read_as_far_as_they_are_not_encrypted():
    item = {"type": "agent_message", "author": "/root", "recipient": "/root/worker"}
    words = {"type": "input_text", "text": "task:"}
    sealed = {"type": "encrypted_content", "encrypted_content": "gAAAAB"}
    plain = {**sealed, "encrypted_content": "do it"}
    assert items({**item, "content": [words, plain]}) == (Message("user", (Text("task:"), Text("do it"))),)
    assert items({**item, "content": [sealed]})[0].parts == (Foreign("openai_responses", "encrypted_content", sealed),)


@pytest.mark.parametrize(
    ("fields", "path"),
    [
        ({"model": 3}, "model"),
        ({"model": None}, "model"),
        ({"input": None}, "input"),
        ({"input": 3}, "input"),
        ({"input": ["hello"]}, "input[0]"),
        ({"input": [{"role": "robot", "content": "a"}]}, "input[0].role"),
        ({"input": [{"role": "user"}]}, "input[0].content"),
        ({"input": [{"role": "user", "content": [{"type": "video"}]}]}, "input[0].content[0].type"),
        ({"input": [{"role": "user", "content": [{"type": "input_text", "text": 1}]}]}, "input[0].content[0].text"),
        ({"input": [{"role": "user", "content": [{"type": "input_image"}]}]}, "input[0].content[0].image_url"),
        ({"input": [{"role": "user", "content": [{"type": "input_image", "image_url": "data:,x"}]}]}, "input[0].content[0].image_url"),
        ({"input": [{"role": "user", "content": [{"type": "input_file"}]}]}, "input[0].content[0].file_data"),
        ({"input": [{"type": "function_call", "name": "f"}]}, "input[0].call_id"),
        ({"input": [{"type": "function_call_output", "call_id": "c"}]}, "input[0].output"),
        ({"input": [{"type": "item_reference", "id": "msg_1"}]}, "input[0]"),
        ({"input": [{"id": "msg_1"}]}, "input[0]"),
        ({"input": [{"type": "compaction", "encrypted_content": "x"}]}, "input[0]"),
        ({"input": [{"type": "additional_tools", "tools": [{"type": "function"}]}]}, "input[0].tools[0].name"),
        ({"tools": {"f": 1}}, "tools"),
        ({"tools": [{"name": "f"}]}, "tools[0].type"),
        ({"tools": [{"type": "function", "function": {"name": "f"}}]}, "tools[0].name"),
        ({"tools": [{"type": "namespace", "name": "n", "tools": [{"type": "mcp"}]}]}, "tools[0].tools[0].type"),
        ({"tool_choice": "any"}, "tool_choice"),
        ({"tool_choice": {"type": "function"}}, "tool_choice.name"),
        ({"stream": "false"}, "stream"),
        ({"max_output_tokens": 1.5}, "max_output_tokens"),
        ({"temperature": "1"}, "temperature"),
        ({"text": {"format": {"type": "yaml"}}}, "text.format.type"),
        ({"text": {"format": {"type": "json_schema"}}}, "text.format.schema"),
        ({"reasoning": {"effort": "extreme"}}, "reasoning.effort"),
        ({"reasoning": {"summary": "long"}}, "reasoning.summary"),
        ({"include": "all"}, "include"),
        ({"metadata": {"a": 1}}, "metadata.a"),
        ({"store": 1}, "store"),
        ({"conversation": "conv_1"}, "conversation"),
        ({"prompt": {"id": "p"}}, "prompt"),
        ({"background": True}, "background"),
    ],
)
def test_what_is_wrong_is_refused_by_its_path(fields: dict[str, Any], path: str):
    fault = refused(**fields)
    assert fault.param == path
    assert fault.message.startswith(path)


def test_faults_do_not_repeat_what_was_said():
    fault = refused(input=[{"role": "user", "content": [{"type": "input_image", "image_url": "data:secret words"}]}])
    assert "secret" not in repr(fault)
    assert "secret" not in repr(read(input="secret"))


def call(call_id: str) -> dict[str, Any]:
    return {"type": "function_call", "call_id": call_id, "name": "f", "arguments": "{}"}


def output(call_id: str) -> dict[str, Any]:
    return {"type": "function_call_output", "call_id": call_id, "output": call_id}


def said(role: str, text: str) -> dict[str, Any]:
    return {"role": role, "content": text}


@pytest.mark.parametrize(
    ("items", "order"),
    [
        ([call("a"), call("b"), output("a"), said("assistant", "hm"), output("b")], ["call a,b", "result a,b", "assistant"]),
        ([call("a"), said("user", "wait"), output("a")], ["call a", "result a", "user"]),
        ([call("a"), said("developer", "x"), said("user", "y"), output("a"), call("b"), output("b")],
         ["call a", "result a", "developer", "user", "call b", "result b"]),
        ([call("a"), output("a"), call("b"), output("b")], ["call a", "result a", "call b", "result b"]),
        ([said("user", "x"), output("lost")], ["user", "result lost"]),
        ([output("a"), call("a")], ["result a", "call a"]),
    ],
)  # fmt: skip
def test_results_follow_their_calls_whatever_stands_between(items: list[Any], order: list[str]):
    found = []
    for message in read(input=items).messages:
        calls = [part.id for part in message.parts if isinstance(part, ToolCall)]
        results = [part.call_id for part in message.parts if isinstance(part, ToolResult)]
        found.append(f"call {','.join(calls)}" if calls else f"result {','.join(results)}" if results else message.role)
    assert found == order


def test_what_a_tool_says_that_nobody_called_is_told_as_the_users_words():
    told = {"type": "function_call_output", "name": "automation_update", "output": "done"}
    conversation = read(input=[said("user", "x"), told])
    assert conversation.messages[1] == Message("user", (Text("Output of the tool automation_update:"), Text("done")))
    assert "input[*].call_id" in conversation.extra

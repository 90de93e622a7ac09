"""Botocore, over real sockets, reads every shape that the simulator sends in Converse's language, and signs for it; the rest by hand."""

import struct
import zlib
from pathlib import Path

import httpx
import orjson
import pytest

from appliance.simulator.settings import Settings
from tests.simulator.conftest import served

session = pytest.importorskip("botocore.session", reason="botocore is not installed")
from botocore.config import Config  # noqa: E402
from botocore.exceptions import ClientError, EventStreamError  # noqa: E402

RECORDED = Path(__file__).parents[2].parent / "shared" / "recordings" / "wire" / "amazon-bedrock"
recorded = pytest.mark.skipif(not RECORDED.is_dir(), reason="no recordings beside the project")

CLAUDE = "us.anthropic.claude-sonnet-4-5-20250929-v1:0"
PROFILE = "arn:aws:bedrock:us-east-1:123456789012:application-inference-profile/abc"
ASK = [{"role": "user", "content": [{"text": "Tell me something."}]}]
CITY = {"type": "object", "properties": {"city": {"enum": ["Paris", "Rome"]}}, "required": ["city"]}
WEATHER = {"toolSpec": {"name": "get_weather", "description": "The weather.", "inputSchema": {"json": CITY}}}
CLOCK = {"toolSpec": {"name": "get_time", "inputSchema": {"json": {"type": "object", "properties": {}}}}}
TOOLS = {"tools": [WEATHER, CLOCK]}
THINK = {"thinking": {"type": "enabled", "budget_tokens": 1024}}


def connected(url, secret="secret"):
    config = Config(retries={"total_max_attempts": 1}, read_timeout=30)
    keys = {"aws_access_key_id": "AKIDEXAMPLE", "aws_secret_access_key": secret}
    return session.get_session().create_client("bedrock-runtime", region_name="us-east-1", endpoint_url=url, config=config, **keys)


@pytest.fixture(scope="module")
def client(url):
    return connected(url)


@pytest.fixture(scope="module")
def http(url):
    with httpx.Client(base_url=url, timeout=30, verify=False) as talk:
        yield talk


def said(text):
    return [{"role": "user", "content": [{"text": text}]}]


def streamed(client, model="sim", messages=ASK, **fields):
    return list(client.converse_stream(modelId=model, messages=messages, **fields)["stream"])


def frames(data):
    """Message type, name and payload of each frame, its sums checked."""
    found = []
    while data:
        total, size, prelude = struct.unpack(">III", data[:12])
        assert zlib.crc32(data[:8]) == prelude
        assert zlib.crc32(data[: total - 4]) == struct.unpack(">I", data[total - 4 : total])[0]
        headers, at = {}, 12
        while at < 12 + size:
            name_end = at + 1 + data[at]
            length = struct.unpack(">H", data[name_end + 1 : name_end + 3])[0]
            headers[data[at + 1 : name_end].decode()] = data[name_end + 3 : name_end + 3 + length].decode()
            at = name_end + 3 + length
        found.append((headers[":message-type"], headers.get(":event-type") or headers.get(":exception-type"), data[12 + size : total - 4]))
        data = data[total:]
    return found


def raw(http, fault="", operation="converse-stream", **fields):
    headers = {"x-sim-fault": fault} if fault else {}
    return http.post(f"/model/sim/{operation}", json={"messages": ASK, **fields}, headers=headers)


def folded(events):
    """The content that a stream says, as a client puts it together."""
    content = []
    for event in events:
        ((name, value),) = event.items()
        if name == "contentBlockStart":
            content.append({"toolUse": {**value["start"]["toolUse"], "input": ""}})
        elif name == "contentBlockDelta":
            delta = value["delta"]
            if value["contentBlockIndex"] == len(content):
                content.append({"text": ""} if "text" in delta else {"reasoningContent": {"reasoningText": {"text": ""}}})
            block = content[value["contentBlockIndex"]]
            if "text" in delta:
                block["text"] += delta["text"]
            elif "toolUse" in delta:
                block["toolUse"]["input"] += delta["toolUse"]["input"]
            elif "signature" in delta["reasoningContent"]:
                block["reasoningContent"]["reasoningText"]["signature"] = delta["reasoningContent"]["signature"]
            else:
                block["reasoningContent"]["reasoningText"]["text"] += delta["reasoningContent"]["text"]
        elif name == "contentBlockStop" and "toolUse" in content[-1]:
            assert value["contentBlockIndex"] == len(content) - 1
            content[-1]["toolUse"]["input"] = orjson.loads(content[-1]["toolUse"]["input"] or "{}")
    return content


@pytest.mark.parametrize(
    ("text", "fields"),
    [
        ("Tell me something.", {}),
        ("[[reasoning=5]]", {}),
        ("[[say=I will.]] Call get_weather and get_time, both.", {"toolConfig": TOOLS}),
        ("[[reasoning=5]] Call get_time.", {"toolConfig": TOOLS}),
    ],
)
def test_whole_and_streamed_say_the_same_and_count_the_same(client, text, fields):
    whole = client.converse(modelId="sim", messages=said(text), **fields)
    events = streamed(client, messages=said(text), **fields)
    assert folded(events) == whole["output"]["message"]["content"]
    assert events[0] == {"messageStart": {"role": "assistant"}}
    assert events[-2]["messageStop"]["stopReason"] == whole["stopReason"]
    usage = events[-1]["metadata"]["usage"]
    assert {name: whole["usage"][name] for name in usage} == usage
    assert usage["totalTokens"] == usage["inputTokens"] + usage["outputTokens"]


def test_the_same_question_in_openais_language_gets_the_same_words_and_counts(client, http):
    messages = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Tell me something."}]
    other = http.post("/v1/chat/completions", json={"model": "sim", "messages": messages}).json()
    answer = client.converse(modelId="sim", messages=ASK, system=[{"text": "Be brief."}])
    assert answer["output"]["message"]["content"] == [{"text": other["choices"][0]["message"]["content"]}]
    assert answer["usage"]["inputTokens"] == other["usage"]["prompt_tokens"]
    assert answer["usage"]["outputTokens"] == other["usage"]["completion_tokens"]


def shape(value):
    """Which fields there are, at any depth, but for padding; of lists every item's."""
    if isinstance(value, dict):
        return {name: shape(one) for name, one in value.items() if name not in ("p", "input")}
    return [shape(one) for one in value] if isinstance(value, list) else type(value).__name__


@recorded
@pytest.mark.parametrize(("name", "text"), [("amazon-bedrock-text", "Hello."), ("amazon-bedrock-reasoning", "[[reasoning=5]]")])
def test_answers_have_the_shape_of_recorded_ones(http, name, text):
    fields = {"messages": said(text)}
    paths = ["/stop_sequence", "/delta/stop_sequence"]
    theirs = orjson.loads((RECORDED / f"{name}.json").read_bytes())
    ours = raw(http, operation="converse", **fields).json()
    assert shape(ours) == shape(theirs)
    told = [orjson.loads(line) for line in (RECORDED / f"{name}.chunks.txt").read_bytes().splitlines() if line.strip()]
    made = [{name: orjson.loads(body)} for _, name, body in frames(raw(http, additionalModelResponseFieldPaths=paths, **fields).content)]

    def steps(events):
        """The kinds of events, in order; an empty last piece of thought is left out, which the service sends."""
        found = [orjson.dumps(shape(event), option=orjson.OPT_SORT_KEYS) for event in events]
        return [one for i, one in enumerate(found) if i == 0 or one != found[i - 1]]

    assert steps(made) == steps(told)


@pytest.mark.parametrize("model", ["sim", CLAUDE, PROFILE])
@pytest.mark.parametrize("stream", [False, True])
def test_a_tool_loop_of_three_turns_with_thoughts(client, model, stream):
    """The signature of a thought comes back with it and is accepted."""
    messages = said("[[reasoning=4]] Use both get_weather and get_time.")

    def ask():
        fields = {"toolConfig": TOOLS, "inferenceConfig": {"maxTokens": 4000}, "additionalModelRequestFields": THINK}
        if stream:
            content = folded(streamed(client, model, messages, **fields))
        else:
            content = client.converse(modelId=model, messages=messages, **fields)["output"]["message"]["content"]
        messages.append({"role": "assistant", "content": content})
        assert "signature" in content[0]["reasoningContent"]["reasoningText"]
        return [block["toolUse"] for block in content if "toolUse" in block], content[-1].get("text")

    def answer(call, **result):
        return {"toolResult": {"toolUseId": call["toolUseId"], "content": [result]}}

    calls, _ = ask()
    assert [(c["name"], c["toolUseId"][:8]) for c in calls] == [("get_weather", "tooluse_"), ("get_time", "tooluse_")]
    assert (calls[0]["input"]["city"] in ("Paris", "Rome"), calls[1]["input"]) == (True, {})
    messages.append({"role": "user", "content": [answer(calls[0], text="fine"), answer(calls[1], text="[[calls=1]]")]})
    (call,), _ = ask()
    messages.append({"role": "user", "content": [answer(call, json={"weather": "sunny"})]})
    assert ask() == ([], 'The tool answered: {"weather":"sunny"}')


def test_a_call_without_arguments_streams_one_empty_piece(client):
    events = streamed(client, messages=said("Call get_time."), toolConfig={"tools": [CLOCK]})
    assert [e["contentBlockDelta"]["delta"] for e in events if "contentBlockDelta" in e] == [{"toolUse": {"input": ""}}]


@pytest.mark.parametrize(
    ("config", "reason", "text"),
    [({"maxTokens": 2}, "max_tokens", "one two"), ({"stopSequences": [" three", "zz"]}, "stop_sequence", "one two")],
)
def test_bounds_and_stops(client, config, reason, text):
    paths = ["/stop_sequence", "/delta/stop_sequence"]
    fields = {"inferenceConfig": config, "additionalModelResponseFieldPaths": paths}
    answer = client.converse(modelId="sim", messages=said("[[say=one two three]]"), **fields)
    assert (answer["stopReason"], answer["output"]["message"]["content"]) == (reason, [{"text": text}])
    told = {"stop_sequence": " three" if reason == "stop_sequence" else None}
    assert answer["additionalModelResponseFields"] == told
    events = streamed(client, messages=said("[[say=one two three]]"), **fields)
    assert events[-2]["messageStop"] == {"stopReason": reason, "additionalModelResponseFields": {"delta": told}}


def test_tool_choice_and_a_schema_are_obeyed(client):
    forced = client.converse(modelId="sim", messages=ASK, toolConfig={**TOOLS, "toolChoice": {"tool": {"name": "get_time"}}})
    assert forced["output"]["message"]["content"][0]["toolUse"]["name"] == "get_time"
    assert client.converse(modelId="sim", messages=ASK, toolConfig={**TOOLS, "toolChoice": {"any": {}}})["stopReason"] == "tool_use"
    schema = orjson.dumps({"type": "object", "properties": {"n": {"const": 7}}, "required": ["n"]}).decode()
    output = {"textFormat": {"type": "json_schema", "structure": {"jsonSchema": {"schema": schema, "name": "n"}}}}
    answer = client.converse(modelId="sim", messages=ASK, outputConfig=output)["output"]["message"]
    assert orjson.loads(answer["content"][0]["text"]) == {"n": 7}


@pytest.mark.parametrize(
    ("model", "more", "tokens"),
    [
        (CLAUDE, {"thinking": {"type": "enabled", "budget_tokens": 2048}}, 32),
        ("us.anthropic.claude-opus-4-7", {"thinking": {"type": "adaptive"}, "output_config": {"effort": "low"}}, 16),
        ("us.amazon.nova-2-lite-v1:0", {"reasoningConfig": {"type": "enabled", "maxReasoningEffort": "high"}}, 64),
        ("openai.gpt-oss-120b-1:0", {"reasoning_effort": "low"}, 16),
        ("sim-reasoner", {}, 32),
        ("sim-reasoner", {"thinking": {"type": "disabled"}}, 0),
    ],
)
def test_each_vendors_words_say_how_much_is_thought(client, model, more, tokens):
    fields = {"inferenceConfig": {"maxTokens": 9000}, "additionalModelRequestFields": more}
    whole = client.converse(modelId=model, messages=said("[[tokens=5]]"), **fields)
    assert whole["usage"]["outputTokens"] == tokens + 5
    assert ("reasoningContent" in whole["output"]["message"]["content"][0]) == bool(tokens)


def test_cache_points_split_the_input_into_read_written_and_new(client):
    long, point = {"text": "word " * 1500}, {"cachePoint": {"type": "default"}}
    first = client.converse(modelId="sim", messages=[{"role": "user", "content": [long, point]}])["usage"]
    assert (first["inputTokens"], first["cacheReadInputTokens"]) == (0, 0)
    assert first["cacheWriteInputTokens"] > 1500
    turns = [{"role": "user", "content": [long, point]}, {"role": "assistant", "content": [{"text": "Yes."}]}, *said("More?")]
    turns[2]["content"].append(point)
    second = streamed(client, messages=turns)[-1]["metadata"]["usage"]
    assert second["cacheReadInputTokens"] == first["cacheWriteInputTokens"]
    assert second["cacheWriteInputTokens"] > 0
    assert second["totalTokens"] == sum(second[n] for n in ("inputTokens", "outputTokens", "cacheReadInputTokens", "cacheWriteInputTokens"))
    plain = client.converse(modelId="sim", messages=[{"role": "user", "content": [long]}])["usage"]
    assert (plain["cacheWriteInputTokens"], plain["inputTokens"]) == (0, first["cacheWriteInputTokens"])


def test_tokens_pictures_and_documents_are_counted_as_they_are_billed(client):
    picture = {"image": {"format": "png", "source": {"bytes": b"png"}}}
    document = {"document": {"format": "pdf", "name": "one", "source": {"bytes": b"pdf"}}}
    messages = [{"role": "user", "content": [{"text": "Look."}, picture, document]}]
    billed = client.converse(modelId="sim", messages=messages, toolConfig=TOOLS)["usage"]["inputTokens"]
    counted = client.count_tokens(modelId="sim", input={"converse": {"messages": messages, "toolConfig": TOOLS}})["inputTokens"]
    assert counted == billed
    plain = client.count_tokens(modelId="sim", input={"converse": {"messages": said("Look."), "toolConfig": TOOLS}})["inputTokens"]
    assert counted == plain + 765 + 1500


# What the service refuses


def use(*ids):
    return {"role": "assistant", "content": [{"toolUse": {"toolUseId": i, "name": "get_time", "input": {}}} for i in ids]}


def results(*ids, **more):
    return {"role": "user", "content": [{"toolResult": {"toolUseId": i, "content": [{"text": "x"}], **more}} for i in ids]}


USER = ASK[0]
FORGED = {"role": "assistant", "content": [{"reasoningContent": {"reasoningText": {"text": "a", "signature": "AAAA"}}}, {"text": "b"}]}
UNSIGNED = {"role": "assistant", "content": [{"reasoningContent": {"reasoningText": {"text": "a"}}}, {"text": "b"}]}


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"messages": []}, "A conversation must start with a user message."),
        ({"messages": [use("a")]}, "A conversation must start with a user message."),
        ({"messages": [USER, USER]}, "A conversation must alternate between user and assistant roles."),
        ({"messages": said(" ")}, "The text field in the ContentBlock object at messages.0.content.0 is blank."),
        ({"messages": [{"role": "user", "content": []}]}, "The content field in the Message object at messages.0 is empty."),
        ({"messages": [{"role": "user"}]}, "Value 'null' at 'messages.1.member.content' failed to satisfy constraint: Member must not be"),
        ({"messages": [{"role": "tool", "content": []}]}, "Member must satisfy enum value set: [user, assistant]"),
        ({"messages": [{"role": "user", "content": [{"type": "text", "text": "a"}]}]}, "#/messages/1/content/1: extraneous key [type]"),
        ({"max_tokens": 5}, "extraneous key [max_tokens] is not permitted"),
        ({"inferenceConfig": {"maxTokens": 0, "topP": 2}}, "2 validation errors detected: Value '0' at 'inferenceConfig.maxTokens'"),
        ({"inferenceConfig": {"maxTokens": "5"}}, "STRING_VALUE can not be converted"),
        ({"toolConfig": {"tools": []}}, "at 'toolConfig.tools' failed to satisfy constraint"),
        ({"toolConfig": {"tools": [{"toolSpec": {**CLOCK["toolSpec"], "name": "get.time"}}]}}, "regular expression pattern: [a-zA-Z0-9_-]"),
        ({"toolConfig": {"tools": [CLOCK, CLOCK]}}, "duplicate tool names: get_time"),
        ({"toolConfig": {**TOOLS, "toolChoice": {"tool": {"name": "f"}}}}, "is not in toolConfig.tools"),
        ({"messages": [USER, use("a"), results("a")]}, "The toolConfig field must be defined when using toolUse and toolResult"),
        ({"messages": [USER, use("a", "b"), results("a")], "toolConfig": TOOLS}, "Expected toolResult blocks at messages.2.content for the "
         "following Ids: b"),
        ({"messages": [USER, use("a"), results("a", "b")], "toolConfig": TOOLS}, "The number of toolResult blocks at messages.2.content"),
        ({"messages": [USER, FORGED, USER]}, "messages.1.content.0: Invalid `signature` in `thinking` block"),
        ({"messages": [{"role": "user", "content": [{"document": {"name": "a", "source": {"text": "x"}}}]}]}, "A text block is required"),
        ({"messages": [{"role": "user", "content": [{"text": "a"}, {"document": {"name": "a_b", "source": {"text": "x"}}}]}]}, "file name"),
    ],
)  # fmt: skip
def test_mistakes_are_refused_in_the_services_words(http, fields, told):
    response = raw(http, operation="converse", **fields)
    assert (response.status_code, list(response.json())) == (400, ["message"])
    assert told in response.json()["message"]
    assert response.headers["x-amzn-errortype"].split(":")[0] in ("ValidationException", "SerializationException")


@pytest.mark.parametrize(
    ("model", "fields", "told"),
    [
        (CLAUDE, {"messages": [USER, UNSIGNED, USER]}, "messages.1.content.0.thinking.signature: Field required"),
        (CLAUDE, {"inferenceConfig": {"temperature": 1, "topP": 1}}, "`temperature` and `top_p` cannot both be specified"),
        (CLAUDE, {"additionalModelRequestFields": {"topK": 5}}, "extraneous key [topK] is not permitted"),
        (CLAUDE, {"additionalModelRequestFields": THINK, "inferenceConfig": {"maxTokens": 1024}}, "must be greater than"),
        (CLAUDE, {"additionalModelRequestFields": THINK, "inferenceConfig": {"temperature": 0.5}}, "may only be set to 1"),
        (CLAUDE, {"additionalModelRequestFields": THINK, "toolConfig": {**TOOLS, "toolChoice": {"any": {}}}}, "Thinking may not be"),
        (CLAUDE, {"additionalModelRequestFields": THINK, "messages": [USER, use("a"), results("a")], "toolConfig": TOOLS},
         "messages.1.content.0.type: Expected `thinking` or `redacted_thinking`, but found `tool_use`"),
        (CLAUDE, {"messages": [USER, {"role": "assistant", "content": [{"text": "a "}]}]}, "cannot end with trailing whitespace"),
        ("meta.llama3-1-70b-instruct-v1:0", {"toolConfig": {**TOOLS, "toolChoice": {"any": {}}}}, "toolChoice.any"),
        ("mistral.mistral-large-2407-v1:0", {"messages": [USER, use("a"), results("a", status="error")], "toolConfig": TOOLS}, "status"),
    ],
)  # fmt: skip
def test_models_have_their_vendors_rules(client, model, fields, told):
    with pytest.raises(ClientError) as raised:
        client.converse(modelId=model, **{"messages": ASK, **fields})
    assert raised.value.response["Error"]["Code"] == "ValidationException"
    assert told in raised.value.response["Error"]["Message"]


def test_a_signature_or_a_bearer_key_is_checked_as_the_service_checks_it():
    """Botocore signs; the secret is the required key. Ids with slashes and colons are where signers differ. (Botocore sends no bearer key
    without TLS.)"""
    with served(Settings(require_key="right")) as url:
        for model in ("sim", PROFILE, CLAUDE, "sim é+no_usage"):
            assert connected(url, "right").converse(modelId=model, messages=ASK)["stopReason"] == "end_turn"
        with pytest.raises(ClientError) as raised:
            connected(url, "wrong").converse(modelId="sim", messages=ASK)
        assert raised.value.response["Error"]["Code"] == "InvalidSignatureException"
        with httpx.Client(base_url=url, verify=False) as http:
            assert raw(http).headers["x-amzn-errortype"].startswith("MissingAuthenticationTokenException:")
            http.headers["authorization"] = "Bearer right"
            assert raw(http).status_code == 200
            http.headers["authorization"] = "Bearer wrong"
            assert (raw(http).status_code, raw(http).json()["message"][:22]) == (403, "Authentication failed:")


def test_the_form_of_a_signature_is_looked_at_where_anybody_may_come(http):
    good = "AWS4-HMAC-SHA256 Credential=A/20250101/us-east-1/bedrock/aws4_request, SignedHeaders=host;x-amz-date, Signature=" + "0" * 64
    dated = {"x-amz-date": "20250101T000000Z"}

    def status(authorization, **headers):
        return http.post("/model/sim/converse", json={"messages": ASK}, headers={"authorization": authorization, **headers}).status_code

    assert status(good, **dated) == 200
    assert status(good) == 403
    for other in ("/bedrock/", "host;x-amz-date", "Credential=", "20250101"):
        assert status(good.replace(other, "x" if other != "/bedrock/" else "/s3/"), **dated) == 403


# Faults


@pytest.mark.parametrize(
    ("fault", "status", "name"),
    [
        ("400", 400, "ValidationException"),
        ("403", 403, "AccessDeniedException"),
        ("404", 404, "ResourceNotFoundException"),
        ("408", 408, "ModelTimeoutException"),
        ("424", 424, "ModelErrorException"),
        ("429", 429, "ThrottlingException"),
        ("429;code=ModelNotReadyException", 429, "ModelNotReadyException"),
        ("500", 500, "InternalServerException"),
        ("503", 503, "ServiceUnavailableException"),
        ("context_length", 400, "ValidationException"),
        ("content_filter", 400, "ValidationException"),
        ("quota", 429, "ThrottlingException"),
    ],
)
def test_botocore_reads_the_exception_of_every_status(client, fault, status, name):
    for call in (client.converse, client.converse_stream):
        with pytest.raises(getattr(client.exceptions, name)) as raised:
            call(modelId=f"sim+{fault}", messages=ASK)
        assert raised.value.response["ResponseMetadata"]["HTTPStatusCode"] == status


@pytest.mark.parametrize(
    ("status", "name"),
    [
        (429, "throttlingException"),
        (503, "serviceUnavailableException"),
        (500, "internalServerException"),
        (400, "validationException"),
        (424, "modelStreamErrorException"),
    ],
)
def test_an_error_in_a_stream_is_a_frame_that_botocore_raises(client, status, name):
    got = []
    with pytest.raises(EventStreamError) as raised:
        got.extend(client.converse_stream(modelId=f"sim+error_event=3;status={status}", messages=ASK)["stream"])
    assert raised.value.response["Error"]["Code"] == name


def test_faults_change_frames_as_they_change_openais_events(http):
    whole = frames(raw(http).content)
    assert raw(http).headers["content-type"] == "application/vnd.amazon.eventstream"
    assert [name for _, name, _ in whole][-2:] == ["messageStop", "metadata"]
    assert frames(raw(http, "no_done").content) == whole[:-2]
    assert frames(raw(http, "truncate=3").content) == whole[:3]
    assert [name for _, name, _ in frames(raw(http, "no_usage").content)][-1] == "messageStop"
    assert orjson.loads(frames(raw(http, "finish=content_filter").content)[-2][2])["stopReason"] == "content_filtered"
    huge = frames(raw(http, "huge_line=100k").content)
    assert (len(huge), len(orjson.loads(huge[2][2])["delta"]["text"])) == (len(whole) + 1, 102_400)
    broken = frames(raw(http, "garbage_json=1").content)
    assert (len(broken), broken[1][2]) == (len(whole) + 1, b'{"contentBlockIndex":0,"delta":{"text":"oh')
    assert b"<!DOCTYPE html>" in raw(http, "garbage_sse=1").content
    for same in ("gzip", "trickle=0ms", "burst", "crlf", "comments=2"):
        assert frames(raw(http, same).content) == whole
    assert "usage" not in raw(http, "no_usage", "converse").json()
    assert raw(http, "finish=length", "converse").json()["stopReason"] == "max_tokens"


@pytest.mark.parametrize(("fault", "end"), [("cut=3", "fin"), ("reset=3", "reset"), ("hang=3", "silent"), ("cut", "fin")])
async def test_connections_end_in_the_middle_of_a_message(sim, fault, end):
    body = orjson.dumps({"messages": ASK})
    head = f"POST /model/sim/converse-stream HTTP/1.1\r\nhost: sim\r\nx-sim-fault: {fault}\r\ncontent-length: {len(body)}\r\n\r\n"
    wire = await sim.raw(head.encode() + body, sim.quiet_s(end))
    assert (wire.end, len(frames(b"".join(wire.chunks)))) == (end, 3 if "=" in fault else 0)


@recorded
def test_recordings_are_served_below_the_models_path():
    with served(Settings(recordings=RECORDED.parents[1])) as url:
        client = connected(url)
        theirs = orjson.loads((RECORDED / "amazon-bedrock-text.json").read_bytes())
        assert client.converse(modelId="rec/amazon-bedrock/amazon-bedrock-text", messages=ASK)["output"] == theirs["output"]
        events = streamed(client, "rec/amazon-bedrock/amazon-bedrock-reasoning")
        assert events[-1]["metadata"]["usage"]["outputTokens"] == 94

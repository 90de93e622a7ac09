"""What the gateway reads of a request, and what it refuses before any backend is asked."""

import json

import pytest

from appliance.core.fault import Fault, FaultKind
from appliance.dialects.openai_chat import read_request
from appliance.dialects.protocol import ParsedRequest

CHAT = {"model": "gpt-4o", "messages": [{"role": "user", "content": "hello you"}]}


def _read(fields: object, operation: str = "chat") -> ParsedRequest:
    parsed = read_request(json.dumps(fields).encode(), operation)
    assert isinstance(parsed, ParsedRequest), parsed
    return parsed


def _refused(body: bytes, operation: str = "chat") -> Fault:
    fault = read_request(body, operation)
    assert isinstance(fault, Fault), fault
    assert fault.kind is FaultKind.BAD_REQUEST
    return fault


def test_a_plain_request_is_read() -> None:
    parsed = _read({**CHAT, "stream": True, "max_tokens": 7, "user": "u1", "stream_options": {"include_usage": True}})
    assert (parsed.operation, parsed.model, parsed.stream, parsed.max_tokens) == ("chat", "gpt-4o", True, 7)
    assert (parsed.wants_usage, parsed.user, parsed.prompt_tokens_estimate) == (True, "u1", 2)
    assert parsed.fields["messages"] == CHAT["messages"]


def test_unknown_fields_and_odd_values_are_the_upstreams_affair() -> None:
    odd = {"frobnicate": {"a": 1}, "temperature": "hot", "max_tokens": "many", "stream": None, "user": 3, "stream_options": 5}
    parsed = _read({**CHAT, **odd})
    assert (parsed.max_tokens, parsed.stream, parsed.user, parsed.wants_usage) == (None, False, "", False)


@pytest.mark.parametrize(
    ("body", "operation", "param"),
    [
        (b'{"messages":[]}', "chat", "model"),
        (b'{"model":"","messages":[]}', "chat", "model"),
        (b'{"model":"  ","messages":[]}', "chat", "model"),
        (b'{"model":null,"messages":[]}', "chat", "model"),
        (b'{"model":7,"messages":[]}', "chat", "model"),
        (b'{"model":["gpt-4o"],"messages":[]}', "embeddings", "model"),
        (b'{"model":"' + b"x" * 600 + b'","messages":[]}', "chat", "model"),
        (b'{"model":"m","messages":[],"stream":"true"}', "chat", "stream"),
        (b'{"model":"m","messages":[],"stream":1}', "chat", "stream"),
        (b'{"model":"m"}', "chat", "messages"),
        (b'{"model":"m","messages":"hi"}', "chat", "messages"),
    ],
)
def test_what_the_gateway_relies_on_is_checked(body: bytes, operation: str, param: str) -> None:
    assert _refused(body, operation).param == param


def test_completions_and_embeddings_need_no_messages() -> None:
    assert _read({"model": "m", "prompt": "once upon a time"}, "text_completion").prompt_tokens_estimate == 4
    parsed = _read({"model": "m", "input": ["abcd", "efgh"], "max_tokens": 3}, "embeddings")
    assert (parsed.prompt_tokens_estimate, parsed.max_tokens) == (2, None)


@pytest.mark.parametrize("field", ["model", "stream", "stream_options", "max_tokens", "max_completion_tokens", "n"])
def test_a_deciding_field_that_stands_twice_is_refused_however_it_is_spelled(field: str) -> None:
    value = {"model": '"m"', "stream": "true", "stream_options": "{}"}.get(field, "1")
    head = b"{" if field == "model" else b'{"model":"m",'
    escaped = "".join(f"\\u{ord(letter):04x}" for letter in field)
    for other in (field, escaped, field[:-1] + f"\\u{ord(field[-1]):04X}"):
        body = head + f'"messages":[],"{field}":{value}, "{other}" : {value}}}'.encode()
        fault = _refused(body)
        assert (fault.param, fault.code) == (field, "duplicate_field")


def test_the_same_name_deeper_or_inside_a_text_is_no_duplicate() -> None:
    tools = [{"function": {"parameters": {"properties": {"model": {}, "stream": {}, "n": {}}}}}]
    assert _read({**CHAT, "tools": tools, "metadata": {"model": "x"}}).model == "gpt-4o"
    quoting = {"model": "gpt-4o", "messages": [{"role": "user", "content": 'say "model":"x" and \\"model\\" \u0001'}]}
    assert _read(quoting).model == "gpt-4o"
    parsed = read_request(b'{"mod\\u0065l":"a","messages":[]}', "chat")
    assert isinstance(parsed, ParsedRequest)
    assert parsed.model == "a"


def test_the_newer_token_field_wins() -> None:
    assert _read({**CHAT, "max_tokens": 9, "max_completion_tokens": 4}).max_tokens == 9, "some backends obey one, some the other"
    assert _read({**CHAT, "max_tokens": 4, "max_completion_tokens": 9}).max_tokens == 9
    assert _read({**CHAT, "max_completion_tokens": None, "max_tokens": 9}).max_tokens == 9
    assert _read({**CHAT, "max_tokens": True}).max_tokens is None


def test_images_do_not_count_as_text_but_tools_do() -> None:
    image = {"type": "image_url", "image_url": {"url": "data:image/png;base64," + "A" * 4000}}
    parts = [{"type": "text", "text": "x" * 40}, image]
    assert _read({"model": "m", "messages": [{"role": "user", "content": parts}]}).prompt_tokens_estimate == 10
    tools = [{"type": "function", "function": {"name": "f", "description": "d" * 400}}]
    assert _read({**CHAT, "tools": tools}).prompt_tokens_estimate > 100


def test_odd_messages_never_break_the_estimate() -> None:
    deep: object = 1
    for _ in range(500):
        deep = [deep]
    odd = [None, 3, "text", [], {"content": 5}, {"content": [None, 7, ["x"], {"text": 3}]}, {"content": "日本"}]
    odd += [{"content": [{"type": kind, "text": "x"}]} for kind in (None, 3, [], {}, ["image_url"])]
    assert _read({"model": "m", "messages": odd, "tools": deep}).prompt_tokens_estimate >= 1


def test_the_prompt_is_not_in_the_representation() -> None:
    assert "hello you" not in repr(_read(CHAT))


@pytest.mark.parametrize("code", [0, 9, 10, 13, 31, 127, 0x85])
@pytest.mark.parametrize("place", ["{}m", "a{}b", "m{}"])
@pytest.mark.parametrize("operation", ["chat", "text_completion", "embeddings"])
def test_a_model_with_control_characters_is_refused(code: int, place: str, operation: str) -> None:
    fault = _refused(json.dumps({**CHAT, "model": place.format(chr(code))}).encode(), operation)
    assert (fault.param, fault.code) == ("model", "invalid_value")


def test_a_model_with_half_a_surrogate_pair_is_refused() -> None:
    _refused(b'{"model":"a\\ud800b","messages":[]}')


@pytest.mark.parametrize("model", ["日本/模型", "my model", "m\u00a0x", "🙂"])
def test_a_model_may_have_any_printed_character(model: str) -> None:
    assert _read({**CHAT, "model": model}).model == model


def test_a_user_reaches_logs_and_labels_without_control_characters() -> None:
    fields = {**CHAT, "user": 'a\r\nlevel="x"\x00\x1b[2J\x85z'}
    parsed = _read(fields)
    assert parsed.user == 'alevel="x"[2Jz'
    assert parsed.fields["user"] == fields["user"]  # what goes upstream is the caller's

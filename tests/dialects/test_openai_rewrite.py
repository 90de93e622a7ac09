"""A rewritten request differs from the caller's only where it was asked to."""

import json
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from json_text import SEEDS, JsonText

from appliance.dialects.json_scan import members
from appliance.dialects.openai_chat import read_request, rewrite
from appliance.dialects.protocol import ParsedRequest, Rewrite

OTHER_NAMES = ["temperature", "user", "max_tokens", "max_completion_tokens", "stream_options", "tools", "é", "a/b", "x_1", "top_p"]


def _parsed(body: bytes, operation: str = "chat") -> ParsedRequest:
    parsed = read_request(body, operation)
    assert isinstance(parsed, ParsedRequest), parsed
    return parsed


def _rewritten(text: str, wanted: Rewrite, operation: str = "chat") -> str:
    body = text.encode()
    return rewrite(body, _parsed(body, operation), wanted).decode()


def _request(seed: int) -> bytes:
    """A valid streamed chat request with odd spacing and spelling; keys are unique."""
    text = JsonText(seed)
    others = text.chance.sample(OTHER_NAMES, text.chance.randint(0, 5))
    model = text.string("".join(letter for letter in text.word() if letter >= " ") + "m")  # a name has no control characters
    parts = [f'"model"{text.space()}:{text.space()}{model}', '"messages":[ ]', f'"stream":{text.space()}true']
    parts += [text.member(name) for name in others]
    text.chance.shuffle(parts)
    return (text.space() + "{" + text.space() + ("," + text.space()).join(parts) + text.space() + "}" + text.space()).encode()


REQUESTS = SEEDS.map(_request)
NEW_MODELS = SEEDS.map(lambda seed: JsonText(seed).word())


@settings(max_examples=300, deadline=None)
@given(REQUESTS, NEW_MODELS, st.booleans())
def test_only_the_model_and_the_usage_option_change(body: bytes, model: str, usage: bool) -> None:
    parsed = _parsed(body)
    out = rewrite(body, parsed, Rewrite(model=model, include_usage=usage))
    before, after = members(body), members(out)
    assert before is not None
    assert after is not None
    # Undo the two edits: what is left must be the caller's bytes, every one of them.
    undone = out
    grown = len(after) > len(before)
    if grown:
        cut = after[-2].value_end
        assert undone[cut:].lstrip().startswith(b',"stream_options":{"include_usage":true}}')
        undone = undone.replace(b',"stream_options":{"include_usage":true}}', b"}")
    for old, new in reversed(list(zip(before, after, strict=False))):
        if old.key in ("model", "stream_options"):
            undone = undone[: new.value_start] + body[old.value_start : old.value_end] + undone[new.value_end :]
    assert undone == body
    expected = {**parsed.fields, "model": model}
    if usage and not parsed.wants_usage:
        options = parsed.fields.get("stream_options")
        if options is None or isinstance(options, dict):
            expected["stream_options"] = {**(options or {}), "include_usage": True}
    assert orjson.loads(out) == expected


@settings(max_examples=400, deadline=None)
@given(
    REQUESTS,
    st.none() | NEW_MODELS,
    st.none() | st.integers(1, 100),
    st.dictionaries(st.sampled_from(OTHER_NAMES), st.integers(0, 9) | st.lists(st.booleans(), max_size=2), max_size=3),
    st.lists(st.sampled_from(OTHER_NAMES), max_size=4, unique=True),
    st.dictionaries(st.sampled_from(["max_tokens", "user", "x_1"]), st.sampled_from(["max_completion_tokens", "renamed"]), max_size=1),
    st.booleans(),
)
def test_every_combination_gives_the_json_that_was_asked_for(
    body: bytes, model: str | None, cap: int | None, overrides: dict[str, Any], drop: list[str], rename: dict[str, str], usage: bool
) -> None:
    parsed = _parsed(body)
    rename = {old: new for old, new in rename.items() if old not in drop and new not in drop}
    wanted = Rewrite(model=model, include_usage=usage, max_tokens=cap, overrides=overrides, drop=tuple(drop), rename=rename)
    out = rewrite(body, parsed, wanted)
    assert orjson.loads(out) == _expected(parsed, wanted)
    found = members(out)
    assert found is not None
    assert len({one.key for one in found}) == len(found)
    kept = {one.key: body[one.value_start : one.value_end] for one in members(body) or []}
    touched = {"model", "max_tokens", "max_completion_tokens", "stream_options", *overrides, *rename, *rename.values()}
    assert all(out[one.value_start : one.value_end] == kept[one.key] for one in found if one.key not in touched)


def _expected(parsed: ParsedRequest, wanted: Rewrite) -> dict[str, Any]:
    """The same in plain dictionary terms: an independent telling of the rules."""
    fields = dict(parsed.fields)
    if wanted.model is not None:
        fields["model"] = wanted.model
    options = fields.get("stream_options")
    if wanted.include_usage and not parsed.wants_usage and (options is None or isinstance(options, dict)):
        fields["stream_options"] = {**(options or {}), "include_usage": True}
    if wanted.max_tokens is not None:
        names = ("max_tokens", "max_completion_tokens")
        used = [name for name in names if name in wanted.overrides or (name in fields and name not in wanted.drop)]
        for name in used or ["max_tokens"]:
            value = fields.get(name)
            if not (type(value) is int and 0 <= value <= wanted.max_tokens):
                fields[name] = wanted.max_tokens
    for old, new in wanted.rename.items():
        if old in fields and old not in wanted.overrides and old not in wanted.drop:
            value = fields.pop(old)
            if new not in parsed.fields and new not in wanted.overrides and new not in fields:
                fields[new] = value
    for name in wanted.drop:
        fields.pop(name, None)
    fields.update(wanted.overrides)
    return fields


def test_nothing_asked_for_gives_the_same_object_back() -> None:
    body = b'{"model":"m","messages":[],"stream":true,"max_tokens":3,"temperature":1,"stream_options":{"include_usage":true}}'
    parsed = _parsed(body)
    for wanted in (
        Rewrite(), Rewrite(model="m"), Rewrite(model="m", include_usage=True), Rewrite(max_tokens=3), Rewrite(overrides={"temperature": 1}),
        Rewrite(drop=("logit_bias",)), Rewrite(rename={"a": "b"}),
    ):  # fmt: skip
        assert rewrite(body, parsed, wanted) is body


@pytest.mark.parametrize(
    ("text", "wanted", "out"),
    [
        ('{"model":"a","messages":[]}', Rewrite(model="b"), '{"model":"b","messages":[]}'),
        ('{"model":"a","messages":[]}', Rewrite(model='q"é'), '{"model":"q\\"é","messages":[]}'),
        ('{"mod\\u0065l" : "a","messages":[]}', Rewrite(model="b"), '{"mod\\u0065l" : "b","messages":[]}'),
        ('{"model":"a","messages":[]}', Rewrite(include_usage=True), '{"model":"a","messages":[]}'),
        (
            '{"model":"a","messages":[],"stream":true }\n', Rewrite(include_usage=True),
            '{"model":"a","messages":[],"stream":true ,"stream_options":{"include_usage":true}}\n',
        ),
        (
            '{"model":"a","messages":[],"stream":true,"stream_options":{ }}', Rewrite(include_usage=True),
            '{"model":"a","messages":[],"stream":true,"stream_options":{"include_usage":true }}',
        ),
        (
            '{"model":"a","messages":[],"stream":true,"stream_options":{"x":1}}', Rewrite(include_usage=True),
            '{"model":"a","messages":[],"stream":true,"stream_options":{"include_usage":true,"x":1}}',
        ),
        (
            '{"model":"a","messages":[],"stream":true,"stream_options":{"include_usage":false,"x":1}}', Rewrite(include_usage=True),
            '{"model":"a","messages":[],"stream":true,"stream_options":{"include_usage":true,"x":1}}',
        ),
        (
            '{"model":"a","messages":[],"stream":true,"stream_options":null}', Rewrite(include_usage=True),
            '{"model":"a","messages":[],"stream":true,"stream_options":{"include_usage":true}}',
        ),
        (
            '{"model":"a","messages":[],"stream":true,"stream_options":"x"}', Rewrite(include_usage=True),
            '{"model":"a","messages":[],"stream":true,"stream_options":"x"}',
        ),
        ('{"model":"a","messages":[]}', Rewrite(max_tokens=5), '{"model":"a","messages":[],"max_tokens":5}'),
        (
            '{"model":"a","messages":[],"max_completion_tokens":9}', Rewrite(max_tokens=5),
            '{"model":"a","messages":[],"max_completion_tokens":5}',
        ),
        ('{"model":"a","messages":[],"max_tokens":-1}', Rewrite(max_tokens=5), '{"model":"a","messages":[],"max_tokens":5}'),
        ('{"model":"a","messages":[],"max_tokens":1e9}', Rewrite(max_tokens=5), '{"model":"a","messages":[],"max_tokens":5}'),
        ('{"model":"a","messages":[],"max_tokens":"9"}', Rewrite(max_tokens=5), '{"model":"a","messages":[],"max_tokens":5}'),
        ('{"model":"a","messages":[],"max_tokens":null}', Rewrite(max_tokens=5), '{"model":"a","messages":[],"max_tokens":5}'),
        (
            '{"model":"a","messages":[]}', Rewrite(max_tokens=5, rename={"max_tokens": "max_completion_tokens"}),
            '{"model":"a","messages":[],"max_completion_tokens":5}',
        ),
        (
            '{"model":"a","max_tokens":9,"messages":[],"max_completion_tokens":3}',
            Rewrite(max_tokens=5, rename={"max_tokens": "max_completion_tokens"}),
            '{"model":"a","messages":[],"max_completion_tokens":3}',
        ),
        (
            '{"model":"a","messages":[],"stream":true,"stream_options":{"include_usage":true}}', Rewrite(drop=("stream_options",)),
            '{"model":"a","messages":[],"stream":true}',
        ),
        ('{ "user":"u", "model":"a","messages":[]}', Rewrite(drop=("user",)), '{ "model":"a","messages":[]}'),
        (
            '{"model":"a","user":1, "n":2 ,"messages":[],"seed":1,"stop":2}', Rewrite(drop=("user", "n", "seed", "stop")),
            '{"model":"a","messages":[]}',
        ),
        (
            '{"model":"a","messages":[]}', Rewrite(overrides={"seed": 1, "top_p": [0.5]}),
            '{"model":"a","messages":[],"seed":1,"top_p":[0.5]}',
        ),
    ],
)  # fmt: skip
def test_the_bytes_are_exactly_these(text: str, wanted: Rewrite, out: str) -> None:
    assert _rewritten(text, wanted) == out


def test_embeddings_get_no_token_cap() -> None:
    assert _rewritten('{"model":"a","input":"x"}', Rewrite(max_tokens=5), "embeddings") == '{"model":"a","input":"x"}'


def test_a_long_body_is_kept_to_the_byte() -> None:
    message = {"role": "user", "content": "\\\"{[" * 5000, "model": "x"}
    text = json.dumps({"model": "a", "stream": True, "messages": [message], "tools": [{"model": 1}]})
    out = _rewritten(text, Rewrite(model="b", include_usage=True))
    assert out == text.replace('"model": "a"', '"model": "b"', 1)[:-1] + ',"stream_options":{"include_usage":true}}'

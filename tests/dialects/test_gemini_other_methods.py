"""Beside generateContent: paths, counts of tokens, models."""

import json

import pytest

from appliance.core.conversation import Conversation, Tool
from appliance.core.fault import FaultKind
from appliance.core.message import Message, Text
from appliance.dialects.codec import Target
from appliance.dialects.gemini import GEMINI
from appliance.dialects.gemini_path import GeminiCall, renamed


@pytest.mark.parametrize(("path", "query", "call"), [
    ("/v1beta/models/gemini-3:generateContent", "", GeminiCall("gemini-3", "generateContent")),
    ("/v1/models/gemini-3:streamGenerateContent", "alt=sse&key=x", GeminiCall("gemini-3", "streamGenerateContent")),
    ("/v1beta/models/gemini-3:streamGenerateContent", "", GeminiCall("gemini-3", "streamGenerateContent", array=True)),
    ("/v1beta/models/openai/gpt-4o:countTokens", "", GeminiCall("openai/gpt-4o", "countTokens")),
    ("/v1beta/models/openai%2Fgpt-4o%3Afree:embedContent", "", GeminiCall("openai/gpt-4o:free", "embedContent")),
    ("/v1beta/models/a:b:batchEmbedContents", "", GeminiCall("a:b", "batchEmbedContents")),
    ("/v1beta/models/models/x:generateContent", "", GeminiCall("x", "generateContent")),
    ("/v1beta/models/x:deleteAll", "", None),
    ("/v1beta/models/x", "", None),
    ("/v1beta/models/:generateContent", "", None),
    ("/v1beta/models/" + "x" * 300 + ":generateContent", "", None),
    ("/v1/chat/completions", "", None),
    ("/v1beta/models/x:streamGenerateContent", "&".join(f"a{n}=1" for n in range(99)), GeminiCall("x",
     "streamGenerateContent", array=True)),
])  # fmt: skip
def test_a_path_says_the_model_and_the_method(path, query, call):
    assert GEMINI.read_path(path, query) == call


def test_a_backends_path_asks_for_events():
    assert GEMINI.path("models/gemini-3", stream=True) == "/models/gemini-3:streamGenerateContent?alt=sse"
    assert GEMINI.path("tuned/a b", stream=False) == "/models/tuned%2Fa%20b:generateContent"


@pytest.mark.parametrize(("fields", "wanted"), [
    ({"contents": []}, None),
    ({"content": {}, "model": "models/fast"}, {"content": {}, "model": "models/g"}),
    ({"generateContentRequest": {"model": "models/fast", "contents": []}},
     {"generateContentRequest": {"model": "models/g", "contents": []}}),
    ({"requests": [{"model": "models/fast", "content": {}}, {"content": {}}]},
     {"requests": [{"model": "models/g", "content": {}}, {"content": {}}]}),
])  # fmt: skip
def test_the_name_in_a_body_follows_the_one_in_the_path(fields, wanted):
    body = json.dumps(fields, indent=3).encode()
    found = renamed(body, fields, "g")
    assert found is body if wanted is None else json.loads(found) == wanted


TALK = Conversation("", (Message("user", (Text("Hi"),)),), tools=(Tool("f"),), family="gemini")


def test_tokens_are_counted_of_contents_or_of_a_whole_request():
    fields = {"contents": [{"parts": [{"text": "Hi"}]}], "tools": [{"functionDeclarations": [{"name": "f"}]}]}
    assert GEMINI.read_count(fields) == TALK
    assert GEMINI.read_count({"generate_content_request": {"model": "models/g", **fields}}).model == "g"
    assert GEMINI.read_count({"generateContentRequest": 7}).param == "generateContentRequest"
    assert GEMINI.read_count({}).param == "contents"


def test_a_count_is_asked_for_and_answered():
    written = GEMINI.write_count(TALK, Target("gemini-3"))
    assert json.loads(written.body)["generateContentRequest"]["model"] == "models/gemini-3"
    assert GEMINI.read_count(json.loads(written.body)).messages == TALK.messages
    assert GEMINI.read_count_answer(GEMINI.write_count_answer(12, 3)) == 12
    assert json.loads(GEMINI.write_count_answer(12, 3)) == {"totalTokens": 12, "cachedContentTokenCount": 3}
    assert GEMINI.read_count_answer(b"{}") == 0
    assert GEMINI.read_count_answer(b'{"totalTokens":"x"}').kind is FaultKind.PROTOCOL
    assert GEMINI.read_count_answer(b'{"error":{"code":429}}').kind is FaultKind.UPSTREAM_RATE_LIMITED
    assert GEMINI.write_count(Conversation("", ()), Target("g")).param == "messages"


def test_models_are_listed_by_pages():
    first = json.loads(GEMINI.models_list(["a", "b", "c"], page_size=2))
    assert [one["name"] for one in first["models"]] == ["models/a", "models/b"]
    second = json.loads(GEMINI.models_list(["a", "b", "c"], page_size=2, page_token=first["nextPageToken"]))
    assert [one["name"] for one in second["models"]] == ["models/c"]
    assert "nextPageToken" not in second
    assert json.loads(GEMINI.models_list([]))["models"] == []
    assert "generateContent" in json.loads(GEMINI.model_one("a"))["supportedGenerationMethods"]

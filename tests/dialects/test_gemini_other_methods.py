"""Beside generateContent: paths, embeddings, counts of tokens, models."""

import json

import pytest

from appliance.core.conversation import Conversation, Tool
from appliance.core.fault import Fault, FaultKind
from appliance.core.message import Message, Text
from appliance.dialects.codec import Target
from appliance.dialects.gemini import GEMINI
from appliance.dialects.gemini_embedding import Embeddings, EmbeddingWish
from appliance.dialects.gemini_path import GeminiCall


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


def content(*texts):
    return {"parts": [{"text": one} for one in texts]}


def test_embeddings_are_asked_for_one_or_many():
    one = GEMINI.read_embed(
        {"content": content("a", "b"), "task_type": "RETRIEVAL_QUERY", "outputDimensionality": 8, "model": "models/e"}, False
    )
    assert one == EmbeddingWish(("a\nb",), "e", 8, "RETRIEVAL_QUERY")
    many = GEMINI.read_embed({"requests": [{"model": "models/e", "content": content(text)} for text in "ab"]}, True)
    assert many == EmbeddingWish(("a", "b"), "e")


@pytest.mark.parametrize(("fields", "batch", "path"), [
    ({}, False, "content"),
    ({"content": content()}, False, "content.parts"),
    ({"content": {"parts": [{"inlineData": {}}]}}, False, "content.parts[0].text"),
    ({"content": content("a"), "outputDimensionality": "8"}, False, "outputDimensionality"),
    ({"requests": []}, True, "requests"),
    ({"requests": [{"content": content("a"), "taskType": "A"}, {"content": content("b"), "taskType": "B"}]}, True, "requests[1]"),
    ({"requests": [{"content": content("a")}, {"content": 7}]}, True, "requests[1].content"),
])  # fmt: skip
def test_what_no_vectors_can_be_made_of_is_refused(fields, batch, path):
    found = GEMINI.read_embed(fields, batch)
    assert isinstance(found, Fault)
    assert (found.kind, found.param) == (FaultKind.BAD_REQUEST, path)


def test_fields_that_others_do_not_know_are_told():
    assert GEMINI.read_embed({"content": content("a"), "embedContentConfig": {"x": 1}}, False).dropped == ("embedContentConfig",)


def test_a_wish_written_for_a_backend_is_read_as_itself():
    wish = EmbeddingWish(("a", "b"), "e", 8, "CLUSTERING")
    assert GEMINI.read_embed(json.loads(GEMINI.write_embed_request(wish, "e")), True) == wish
    titled = EmbeddingWish(("a",), "e", None, "RETRIEVAL_DOCUMENT", "T")
    assert GEMINI.read_embed(json.loads(GEMINI.write_embed_request(titled, "models/e")), True) == titled


def test_vectors_written_and_read_are_themselves():
    found = Embeddings(((0.5, -1.0), (2.0, 3.25)), 7)
    assert GEMINI.read_embed_answer(GEMINI.write_embed_answer(found, batch=True)) == found
    single = Embeddings(((0.5,),))
    assert GEMINI.read_embed_answer(GEMINI.write_embed_answer(single, batch=False)) == single


@pytest.mark.parametrize(
    "body", [b"", b"[]", b"{}", b'{"embeddings":[]}', b'{"embeddings":[{"values":["x"]}]}', b'{"embedding":{"values":[]}}']
)
def test_an_answer_without_vectors_is_a_fault(body):
    assert GEMINI.read_embed_answer(body).kind is FaultKind.PROTOCOL


def test_an_error_instead_of_vectors_is_its_fault():
    assert GEMINI.read_embed_answer(b'{"error":{"code":503,"status":"UNAVAILABLE"}}').kind is FaultKind.OVERLOADED


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

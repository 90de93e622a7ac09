"""Embeddings of every language: what a caller asks for is said to every backend or told as lost, and vectors come back as they are."""

import base64
import json
import struct
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from openai.types import CreateEmbeddingResponse

from appliance.core.embedding import PURPOSES, EmbeddingRequest, Embeddings, joined
from appliance.core.fault import Fault, FaultKind
from appliance.core.usage import Usage
from appliance.dialects import cohere_embed, gemini_embedding, openai_embedding
from appliance.dialects.codec import Target, Written
from appliance.dialects.protocol import Answer

RECORDINGS = Path(__file__).parents[3] / "shared" / "recordings" / "wire"
needs_recordings = pytest.mark.skipif(not RECORDINGS.is_dir(), reason="the recordings of real providers are not beside the tree")

WRITERS = {
    "openai": openai_embedding.write_request, "gemini": gemini_embedding.write_embed_request, "cohere": cohere_embed.write_embed,
}  # fmt: skip
READERS = {"openai": openai_embedding.read_answer, "gemini": gemini_embedding.read_embed_answer, "cohere": cohere_embed.read_embed}


def content(*texts):
    return {"parts": [{"text": one} for one in texts]}


def said(name, wish):
    written = WRITERS[name](wish, Target("m"))
    assert isinstance(written, Written), written
    return json.loads(written.body), written.dropped


@pytest.mark.parametrize(("given_input", "inputs"), [
    ("a", ("a",)), (["a", "b"], ("a", "b")), ([1, 2, 3], ((1, 2, 3),)), ([[1], [2, 3]], ((1,), (2, 3))), (["a", [1]], ("a", (1,))),
])  # fmt: skip
def test_openais_callers_send_texts_or_tokens(given_input, inputs):
    assert openai_embedding.read_request({"model": "m", "input": given_input}) == EmbeddingRequest(inputs)


def test_openais_callers_may_say_length_form_user_and_purpose():
    fields = {"input": "a", "dimensions": 8, "encoding_format": "base64", "user": "u", "input_type": "passage", "truncate": "END"}
    assert openai_embedding.read_request(fields) == EmbeddingRequest(("a",), 8, "document", packed=True, user="u", dropped=("truncate",))
    assert openai_embedding.read_request({"input": "a", "input_type": "poem"}).dropped == ("input_type",)


@pytest.mark.parametrize(("fields", "param"), [
    ({}, "input"), ({"input": []}, "input"), ({"input": 7}, "input"), ({"input": ["a", 7]}, "input[1]"),
    ({"input": [[1, "x"]]}, "input[0][1]"), ({"input": "a", "dimensions": "8"}, "dimensions"),
    ({"input": "a", "encoding_format": "hex"}, "encoding_format"),
    ({"input": ["a"] * 2049}, "input"),
])  # fmt: skip
def test_what_openais_callers_get_wrong_is_named(fields, param):
    found = openai_embedding.read_request(fields)
    assert isinstance(found, Fault)
    assert (found.kind, found.param) == (FaultKind.BAD_REQUEST, param)


def test_geminis_callers_ask_for_one_or_many():
    one = gemini_embedding.read_embed(
        {"content": content("a", "b"), "task_type": "RETRIEVAL_QUERY", "outputDimensionality": 8, "model": "models/e"}
    )
    assert one == EmbeddingRequest(("a\nb",), 8, "query")
    many = gemini_embedding.read_batch({"requests": [{"model": "models/e", "content": content(text)} for text in "ab"]})
    assert many == EmbeddingRequest(("a", "b"))
    lost = gemini_embedding.read_embed({"content": content("a"), "embedContentConfig": {"x": 1}, "taskType": "NEWEST"})
    assert lost.dropped == ("embedContentConfig", "taskType")


@pytest.mark.parametrize(("fields", "batch", "path"), [
    ({}, False, "content"),
    ({"content": content()}, False, "content.parts"),
    ({"content": {"parts": [{"inlineData": {}}]}}, False, "content.parts[0].text"),
    ({"content": content("a"), "outputDimensionality": "8"}, False, "outputDimensionality"),
    ({"requests": []}, True, "requests"),
    ({"requests": [{"content": content("a"), "taskType": "CLUSTERING"}, {"content": content("b")}]}, True, "requests[1]"),
    ({"requests": [{"content": content("a")}, {"content": 7}]}, True, "requests[1].content"),
])  # fmt: skip
def test_what_geminis_callers_get_wrong_is_named(fields, batch, path):
    found = (gemini_embedding.read_batch if batch else gemini_embedding.read_embed)(fields)
    assert isinstance(found, Fault)
    assert (found.kind, found.param) == (FaultKind.BAD_REQUEST, path)


def test_each_backend_is_asked_in_its_own_words():
    wish = EmbeddingRequest(("a", "b"), 8, "query")
    assert said("openai", wish) == ({"model": "m", "input": ["a", "b"], "dimensions": 8}, ("purpose",))
    one = {"model": "models/m", "taskType": "RETRIEVAL_QUERY", "outputDimensionality": 8}
    assert said("gemini", wish) == ({"requests": [{**one, "content": content("a")}, {**one, "content": content("b")}]}, ())
    asked = {"model": "m", "input_type": "search_query", "embedding_types": ["float"], "texts": ["a", "b"], "output_dimension": 8}
    assert said("cohere", wish) == (asked, ())


@pytest.mark.parametrize(("name", "wish", "lost"), [
    ("openai", EmbeddingRequest(("a",), purpose="document", title="T", dropped=("x",)), ("x", "purpose", "title")),
    ("gemini", EmbeddingRequest(("a",), title="T", user="u", packed=True), ("user", "title")),
    ("cohere", EmbeddingRequest(("a",), purpose="similarity", title="T", user="u"), ("purpose", "title", "user")),
])  # fmt: skip
def test_what_a_backend_cannot_be_told_is_listed(name, wish, lost):
    assert said(name, wish)[1] == lost


def test_a_purpose_that_nobody_said_is_a_document_to_cohere_alone():
    assert said("cohere", EmbeddingRequest(("a",)))[0]["input_type"] == "search_document"
    assert "taskType" not in said("gemini", EmbeddingRequest(("a",)))[0]["requests"][0]


def test_a_compatible_vendor_is_spared_what_it_refuses_and_asked_in_its_names():
    target = Target("m", drop=("user",), rename={"dimensions": "output_dimension"})
    written = openai_embedding.write_request(EmbeddingRequest(("a",), 8, user="u"), target)
    assert isinstance(written, Written)
    assert (json.loads(written.body), written.dropped) == ({"model": "m", "input": ["a"], "output_dimension": 8}, ("user",))


@pytest.mark.parametrize("name", ["gemini", "cohere"])
def test_tokens_of_another_model_are_refused(name):
    found = WRITERS[name](EmbeddingRequest(("a", (1, 2))), Target("m"))
    assert isinstance(found, Fault)
    assert (found.kind, found.param) == (FaultKind.BAD_REQUEST, "input")


@given(st.integers(1, 250), st.integers(0, 101))
def test_a_request_is_split_in_order_and_its_answers_are_one(count, most):
    texts = tuple(str(place) for place in range(count))
    parts = EmbeddingRequest(texts, 8, "query", user="u").split(most)
    assert tuple(one for part in parts for one in part.inputs) == texts
    assert all(len(part.inputs) <= (most or count) for part in parts)
    assert {(part.dimensions, part.purpose, part.user) for part in parts} == {(8, "query", "u")}
    answers = [Embeddings(tuple([float(one)] for one in part.inputs), Usage(len(part.inputs)), "m") for part in parts]
    assert joined(answers) == Embeddings(tuple([float(one)] for one in texts), Usage(count), "m")


def test_usage_of_parts_is_known_where_all_tell_it():
    assert joined([Embeddings(([1.0],), Usage(1)), Embeddings(([2.0],))]).usage is None


@given(
    st.lists(st.text(), min_size=1, max_size=3),
    st.none() | st.integers(1, 4096),
    st.sampled_from([one for one in PURPOSES if one]),
)
def test_a_wish_written_for_gemini_is_read_as_itself(texts, dimensions, purpose):
    wish = EmbeddingRequest(tuple(texts), dimensions, purpose)
    assert gemini_embedding.read_batch(said("gemini", wish)[0]) == wish


def test_a_title_goes_with_the_one_document_it_is_of():
    titled = EmbeddingRequest(("a",), None, "document", "T")
    assert gemini_embedding.read_batch(said("gemini", titled)[0]) == titled
    pair = {"requests": [{"content": content(one), "taskType": "RETRIEVAL_DOCUMENT", "title": one} for one in "ab"]}
    assert gemini_embedding.read_batch(pair).dropped == ("requests[0].title", "requests[1].title")


VECTORS = Embeddings(([0.5, -1.0], [2.0, 3.25]), Usage(7), "served")


def as_openai(found, *, packed=False, model="asked"):
    """The answer to a caller of OpenAI's."""
    request = EmbeddingRequest(("a",) * len(found.vectors), packed=packed)
    vectors = tuple(openai_embedding.write_vector(one, request) for one in found.vectors)
    return openai_embedding.write_answer(Embeddings(vectors, found.usage, found.model), request, model)


def as_gemini(found, write=gemini_embedding.write_batch_answer):
    vectors = tuple(gemini_embedding.write_vector(one, EmbeddingRequest(("a",))) for one in found.vectors)
    return write(Embeddings(vectors, found.usage))


def test_openais_callers_get_numbers_or_packed_floats():
    plain = json.loads(as_openai(VECTORS))
    assert plain == {
        "object": "list", "model": "asked", "usage": {"prompt_tokens": 7, "total_tokens": 7},
        "data": [{"object": "embedding", "index": place, "embedding": one} for place, one in enumerate(VECTORS.vectors)],
    }  # fmt: skip
    CreateEmbeddingResponse.model_validate(plain)
    packed = json.loads(as_openai(VECTORS, packed=True))
    assert [struct.unpack("<2f", base64.b64decode(one["embedding"])) for one in packed["data"]] == [(0.5, -1.0), (2.0, 3.25)]


def test_geminis_callers_get_one_vector_or_a_list():
    assert json.loads(as_gemini(VECTORS, gemini_embedding.write_embed_answer))["embedding"] == {"values": [0.5, -1.0]}
    many = json.loads(as_gemini(VECTORS))
    assert many == {"embeddings": [{"values": [0.5, -1.0]}, {"values": [2.0, 3.25]}], "usageMetadata": {"promptTokenCount": 7}}


def test_vectors_written_and_read_are_themselves():
    assert openai_embedding.read_answer(as_openai(VECTORS, model="served")) == VECTORS
    told = Embeddings(VECTORS.vectors, VECTORS.usage)
    assert gemini_embedding.read_embed_answer(as_gemini(told)) == told
    alone = Embeddings(([0.5],))
    assert gemini_embedding.read_embed_answer(as_gemini(alone, gemini_embedding.write_embed_answer)) == alone


def test_vectors_are_put_in_the_order_of_their_index():
    data = [{"index": place, "embedding": [float(place)]} for place in (2, 0, 1)]
    assert openai_embedding.read_answer(json.dumps({"data": data}).encode()).vectors == ([0.0], [1.0], [2.0])
    twice = [{"index": 0, "embedding": [1.0]}, {"index": 0, "embedding": [2.0]}]
    assert openai_embedding.read_answer(json.dumps({"data": twice}).encode()).kind is FaultKind.PROTOCOL


@pytest.mark.parametrize("body", [b"", b"[]", b"{}", b'{"embeddings":[]}', b'{"data":[]}', b'{"embeddings":[{"values":["x"]}]}',
    b'{"embedding":{"values":[]}}', b'{"data":[{"embedding":"AAAA"}]}', b'{"embeddings":{"float":[[]]}}', b'{"embeddings":{"int8":[[1]]}}',
    b'{"data":[{"embedding":[1.0]},{"embedding":[null]}]}', b'{"embeddings":[{"values":[1.0]},{}]}'])  # fmt: skip
@pytest.mark.parametrize("name", READERS)
def test_an_answer_without_vectors_is_a_fault(name, body):
    assert READERS[name](body).kind is FaultKind.PROTOCOL


@pytest.mark.parametrize("name", ["openai", "gemini"])
def test_an_error_instead_of_vectors_is_its_fault(name):
    assert READERS[name](b'{"error":{"code":503,"status":"UNAVAILABLE","message":"overloaded"}}').kind is FaultKind.OVERLOADED


def test_usage_of_a_long_answer_is_read_from_its_end():
    body = as_gemini(Embeddings(([0.1] * 5000,), Usage(9)))
    assert gemini_embedding.summary(body) == gemini_embedding.summary(body[-3000:]) == Answer(Usage(9))
    assert gemini_embedding.summary(b'{"embedding":{"values":[1]}}') == Answer(None)
    assert gemini_embedding.summary(b'{"usageMetadata":{"promptTokenCount":') == Answer(None)


@needs_recordings
def test_recorded_vectors_come_back_in_every_callers_form():
    recorded = (RECORDINGS / "cohere" / "cohere-embedding.json").read_bytes()
    found = cohere_embed.read_embed(recorded)
    assert isinstance(found, Embeddings)
    assert (list(found.vectors), found.usage) == (json.loads(recorded)["embeddings"]["float"], Usage(10))
    recorded = (RECORDINGS / "openai" / "embedding-openai-embedding.json").read_bytes()
    found = openai_embedding.read_answer(recorded)
    assert isinstance(found, Embeddings)
    assert (found.usage, found.model) == (Usage(12), "text-embedding-3-small")
    assert json.loads(as_openai(found, model="text-embedding-3-small")) == json.loads(recorded)
    packed = json.loads(as_openai(found, packed=True))
    for one, vector in zip(packed["data"], found.vectors, strict=True):
        assert struct.unpack("<5f", base64.b64decode(one["embedding"])) == pytest.approx(vector)


@given(st.binary(max_size=60) | st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(
        st.sampled_from(["data", "embedding", "embeddings", "float", "values", "index", "usage", "usageMetadata", "meta", "error"]), inner),
    max_leaves=12,
).map(lambda value: json.dumps(value).encode()))  # fmt: skip
def test_no_answer_makes_the_readers_raise(body):
    for read in READERS.values():
        assert isinstance(read(body), Embeddings | Fault)
    assert isinstance(gemini_embedding.summary(body), Answer)


@given(st.dictionaries(
    st.sampled_from(["input", "dimensions", "encoding_format", "user", "input_type", "requests", "content", "parts", "text", "taskType"]),
    st.recursive(st.none() | st.integers() | st.text(max_size=3), lambda inner: st.lists(inner, max_size=3) | st.dictionaries(
        st.sampled_from(["content", "parts", "text", "taskType", "title"]), inner), max_leaves=8),
))  # fmt: skip
def test_no_request_makes_the_readers_raise(fields):
    for read in (openai_embedding.read_request, gemini_embedding.read_embed, gemini_embedding.read_batch):
        assert isinstance(read(fields), EmbeddingRequest | Fault)
    assert gemini_embedding.estimate(fields) >= 0

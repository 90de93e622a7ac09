"""Beside chats: embeddings, counts of tokens and legacy completions of every caller's language reach backends of every other, over both
engines, with the official SDKs of OpenAI, Anthropic and Google as callers.

The backends are a socket that writes down what it is asked and answers as a vendor would: what goes out is looked at byte by byte.
"""

import base64
import json
import struct
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anthropic
import attrs
import httpx
import openai
import pytest
from google import genai
from raw_upstream import RawUpstream
from rig import KEY, Gateway, Simulator, running

RECORDINGS = Path(__file__).parents[3] / "shared" / "recordings"
needs_recordings = pytest.mark.skipif(
    not RECORDINGS.is_dir(), reason="the provider recordings (../shared/recordings) are not on this machine"
)

ROWS = ("gemini", "cohere", "anthropic", "bedrock", "openai")
BACKEND = """
[backends.{name}]
provider = "{name}"
base_url = "{url}"
api_key = "test-key-0123456789"
breaker = {{ consecutive_failures = 1000, failure_ratio = 1.0, min_requests = 1000 }}
[[routes]]
name = "{name}"
models = ["{name}-*", "{model}"]
retry = {{ attempts = 1 }}
targets = [ {{ backend = "{name}"{target} }} ]
"""
SIMULATED = """
[backends.strict-{name}]
provider = "{name}"
base_url = "{url}{below}"
api_key = "test-key-0123456789"
[[routes]]
name = "strict-{name}"
models = ["strict-{name}"]
targets = [ {{ backend = "strict-{name}", model = "{model}" }} ]
"""
STRICT = {
    "gemini": "gemini-2.0-flash", "cohere": "embed-v4.0", "anthropic": "claude-haiku-4-5", "openai": "gpt-4o-mini",
    "bedrock": "us.anthropic.claude-haiku-4-5-20251001-v1:0",
}  # fmt: skip
"""Vendors as the simulator plays them: they refuse what the service would refuse."""

CONFIG = """
[backends.sim]
provider = "custom"
base_url = "{url}/v1"
[[routes]]
name = "mixed"
models = ["mixed"]
strategy = "priority"
targets = [ {{ backend = "cohere" }}, {{ backend = "anthropic" }} ]
[[routes]]
name = "capped"
models = ["capped"]
targets = [ {{ backend = "anthropic", max_tokens = 9, overrides = {{ temperature = 0.5 }} }} ]
[[routes]]
name = "last"
models = ["last"]
strategy = "priority"
targets = [ {{ backend = "anthropic" }}, {{ backend = "bedrock" }}, {{ backend = "sim" }} ]
[[routes]]
name = "either"
models = ["either"]
retry = {{ attempts = 2, on = [], fallback_on = [500] }}
targets = [ {{ backend = "gemini", model = "gemini-embedding-001" }} ]
fallback = [ {{ backend = "sim", model = "text-embedding-3-small" }} ]
[[routes]]
name = "all"
retry = {{ attempts = 1 }}
targets = [ {{ backend = "sim" }} ]
"""
ALIASES = {"gemini": 'model = "gemini-embedding-001"', "bedrock": 'model = "us.anthropic.claude-haiku-4-5-20251001-v1:0"'}
"""What the names gemini-* and bedrock-* stand for; the other rows get what the caller asks for."""


@attrs.define
class Vendor:
    """Every backend at once. `answer` is what the next calls get, or a function of a request's body that gives it with its status."""

    socket: RawUpstream
    status: int = 200
    answer: Any = None
    more: bytes = b""

    def reply(self, sock: Any) -> None:
        answer, status = self.answer(self.body) if callable(self.answer) else (self.answer, self.status)
        body = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
        kind = b"text/event-stream" if body.startswith((b"data:", b"event:")) else b"application/json"
        head = b"HTTP/1.1 %d X\r\ncontent-type: %b\r\ncontent-length: %d\r\nconnection: close\r\n%b\r\n" % (
            status, kind, len(body), self.more,
        )  # fmt: skip
        sock.sendall(head + body)

    def will(self, answer: Any, status: int = 200, more: bytes = b"") -> None:
        """more: header lines."""
        self.answer, self.status, self.more = answer, status, more

    @property
    def target(self) -> str:
        return self.socket.received[-1].split(b" ", 2)[1].decode()

    @property
    def raw_body(self) -> bytes:
        return self.socket.received[-1].partition(b"\r\n\r\n")[2]

    @property
    def body(self) -> Any:
        return json.loads(self.raw_body)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Gateway, Vendor]]:
    folder = tmp_path_factory.mktemp("operations")
    sim = Simulator(folder, extra=("--recordings", str(RECORDINGS)) if RECORDINGS.is_dir() else ())
    with running(sim), RawUpstream(lambda sock: vendor.reply(sock)) as upstream:
        vendor = Vendor(upstream)
        kept = {"gemini": "google", "cohere": "cohere", "openai": "openai"}
        vendors = "".join(
            BACKEND.format(
                name=name, url=upstream.url, target=f", {ALIASES[name]}" if name in ALIASES else "", model=f"never/{kept.get(name, name)}"
            )
            for name in ROWS
        )
        recorded = '[backends.kept]\nprovider = "cohere"\nbase_url = "{url}"\napi_key = "test-key-0123456789"\n[[routes]]\nname = "kept"\n'
        recorded += 'models = ["rec/cohere/*"]\ntargets = [ {{ backend = "kept" }} ]\n'
        below = {"openai": "/v1"}
        vendors += "".join(
            SIMULATED.format(name=name, url=sim.url, below=below.get(name, ""), model=model) for name, model in STRICT.items()
        )
        one = Gateway(folder, vendors + (recorded + CONFIG).format(url=sim.url))
        with running(one):
            yield one, vendor


@pytest.fixture(scope="module")
def gateway(place: tuple[Gateway, Vendor]) -> Gateway:
    return place[0]


@pytest.fixture
def vendor(place: tuple[Gateway, Vendor]) -> Vendor:
    place[1].will(None)
    place[1].socket.received.clear()
    return place[1]


def post(url: str, path: str, body: Any, request_id: str = "") -> httpx.Response:
    headers = {"x-api-key": KEY, "content-type": "application/json", **({"x-request-id": request_id} if request_id else {})}
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return httpx.post(url + path, content=raw, headers=headers, timeout=30)


@pytest.fixture
def openai_sdk(url: str) -> openai.OpenAI:
    return openai.OpenAI(base_url=url + "/v1", api_key=KEY, max_retries=0, timeout=30)


@pytest.fixture
def google_sdk(url: str) -> genai.Client:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return genai.Client(api_key=KEY, http_options={"base_url": url})


GEMINI_VECTORS = {"embeddings": [{"values": [0.5, -0.25]}, {"values": [1.0, 2.0]}], "usageMetadata": {"promptTokenCount": 9}}
COHERE_VECTORS = {
    "id": "x", "embeddings": {"float": [[0.5, -0.25], [1.0, 2.0]]}, "meta": {"billed_units": {"input_tokens": 9}},
    "response_type": "embeddings_by_type",
}  # fmt: skip
OPENAI_VECTORS = {
    "object": "list", "model": "text-embedding-3-small", "usage": {"prompt_tokens": 9, "total_tokens": 9},
    "data": [{"object": "embedding", "index": 0, "embedding": [0.5, -0.25]}, {"object": "embedding", "index": 1, "embedding": [1.0, 2.0]}],
}  # fmt: skip
PAIR = [[0.5, -0.25], [1.0, 2.0]]


@pytest.mark.parametrize(("model", "answer", "path"), [
    ("gemini-e", GEMINI_VECTORS, "/v1beta/models/gemini-embedding-001:batchEmbedContents"), ("cohere-e", COHERE_VECTORS, "/v2/embed"),
])  # fmt: skip
@pytest.mark.parametrize("packed", [False, True])
def test_openais_sdk_gets_vectors_of_other_vendors(
    openai_sdk: openai.OpenAI, gateway: Gateway, vendor: Vendor, model: str, answer: Any, path: str, packed: bool
) -> None:
    vendor.will(answer)
    form: dict[str, Any] = {} if packed else {"encoding_format": "float"}
    found = openai_sdk.embeddings.create(model=model, input=["a", "b"], dimensions=2, extra_headers={"x-request-id": "vectors"}, **form)
    assert [one.embedding for one in found.data] == PAIR
    assert (found.model, found.usage.prompt_tokens) == (model, 9)
    assert vendor.target == path
    record = gateway.record("vectors")
    assert (record["usage"]["input_tokens"], record["usage"]["source"], record["dropped_fields"]) == (9, "provider", [])


def test_vectors_are_packed_as_the_sdk_unpacks_them(url: str, vendor: Vendor) -> None:
    vendor.will(COHERE_VECTORS)
    said = post(url, "/v1/embeddings", {"model": "cohere-e", "input": ["a", "b"], "encoding_format": "base64"})
    assert [list(struct.unpack("<2f", base64.b64decode(one["embedding"]))) for one in said.json()["data"]] == PAIR
    assert vendor.body == {"model": "cohere-e", "input_type": "search_document", "embedding_types": ["float"], "texts": ["a", "b"]}


def test_what_a_vector_is_for_is_said_in_the_backends_words(url: str, vendor: Vendor) -> None:
    vendor.will(COHERE_VECTORS)
    ask = [{"model": "models/cohere-e", "content": {"parts": [{"text": one}]}, "taskType": "RETRIEVAL_QUERY"} for one in "ab"]
    said = post(url, "/v1beta/models/cohere-e:batchEmbedContents", {"requests": ask})
    assert said.json() == {"embeddings": [{"values": one} for one in PAIR], "usageMetadata": {"promptTokenCount": 9}}
    assert vendor.body["input_type"] == "search_query"
    vendor.will(GEMINI_VECTORS)
    post(url, "/v1/embeddings", {"model": "gemini-e", "input": ["a", "b"], "input_type": "clustering"})
    assert [one["taskType"] for one in vendor.body["requests"]] == ["CLUSTERING"] * 2
    assert {one["model"] for one in vendor.body["requests"]} == {"models/gemini-embedding-001"}


def test_googles_sdk_gets_vectors_of_an_openai_compatible_backend(google_sdk: genai.Client, gateway: Gateway) -> None:
    found = google_sdk.models.embed_content(
        model="text-embedding-3-small", contents=["one", "two"], config={"output_dimensionality": 4, "task_type": "CLUSTERING"}
    )
    assert found.embeddings is not None
    assert [len(one.values or ()) for one in found.embeddings] == [4, 4]


def test_what_a_backend_cannot_be_told_is_reported(url: str, gateway: Gateway, vendor: Vendor) -> None:
    ask = {"content": {"parts": [{"text": "one"}]}, "taskType": "RETRIEVAL_QUERY", "outputDimensionality": 4}
    said = post(url, "/v1/models/text-embedding-3-small:embedContent", ask, "told")
    assert len(said.json()["embedding"]["values"]) == 4
    assert said.headers["x-gateway-dropped"] == "purpose"
    assert gateway.record("told")["dropped_fields"] == ["purpose"]
    vendor.will({"embeddings": [{"values": [1.0]}]})
    said = post(url, "/v1/embeddings", {"model": "gemini-e", "input": "one", "user": "u", "truncate": "END"})
    assert said.headers["x-gateway-dropped"] == "truncate, user"


def test_usage_that_a_backend_does_not_tell_is_estimated_and_marked(url: str, gateway: Gateway, vendor: Vendor) -> None:
    vendor.will({"embeddings": [{"values": [1.0]}]})
    said = post(url, "/v1/embeddings", {"model": "gemini-e", "input": "twenty characters ok"}, "guessed")
    assert said.headers["x-gateway-estimated"] == "true"
    assert said.json()["usage"]["prompt_tokens"] == 5
    usage = gateway.record("guessed")["usage"]
    assert (usage["input_tokens"], usage["source"]) == (5, "estimated")


@pytest.mark.parametrize(("method", "fields"), [
    ("embedContent", b'{"content" : {"parts":[{"text":"a"}]},  "taskType":"RETRIEVAL_QUERY", "new": 1.50}'),
    ("batchEmbedContents", b'{ "requests":[{"content":{"parts":[{"text":"a"}]}, "x":[1,2]}]}'),
    ("countTokens", b'{ "contents":[{"parts":[{"text":"a"}]}]}'),
])  # fmt: skip
def test_the_same_language_passes_byte_for_byte(url: str, gateway: Gateway, vendor: Vendor, method: str, fields: bytes) -> None:
    answer = b'{"embedding": {"values": [0.50, 1e-3]}, "totalTokens": 7, "usageMetadata": {"promptTokenCount": 7}, "new": 1.0}'
    vendor.will(answer)
    said = post(url, f"/v1beta/models/gemini-e:{method}", fields, f"same-{method}")
    assert said.content == answer
    assert vendor.raw_body == fields
    assert vendor.target == f"/v1beta/models/gemini-embedding-001:{method}"
    assert "x-gateway-estimated" not in said.headers
    usage = gateway.record(f"same-{method}")["usage"]
    assert (usage and usage["input_tokens"]) == (None if method == "countTokens" else 7)


def test_a_model_that_an_operator_renamed_is_renamed_in_the_body_too(google_sdk: genai.Client, vendor: Vendor) -> None:
    vendor.will(GEMINI_VECTORS)
    found = google_sdk.models.embed_content(model="gemini-e", contents=["a", "b"])
    assert [one.values for one in found.embeddings or ()] == PAIR
    assert vendor.target == "/v1beta/models/gemini-embedding-001:batchEmbedContents"
    assert {one["model"] for one in vendor.body["requests"]} == {"models/gemini-embedding-001"}


@pytest.mark.parametrize(("model", "given", "word"), [
    ("gemini-e", [[1, 2]], "tokens"), ("cohere-e", [1, 2], "tokens"), ("gemini-e", ["a"] * 2049, "2048"),
    ("cohere-e", [], "input"), ("anthropic-e", "a", "no embeddings"), ("bedrock-e", "a", "no embeddings"),
])  # fmt: skip
def test_what_a_backend_cannot_embed_is_refused_before_it_is_asked(url: str, vendor: Vendor, model: str, given: Any, word: str) -> None:
    said = post(url, "/v1/embeddings", {"model": model, "input": given})
    assert said.status_code == 400
    assert word in said.json()["error"]["message"]
    assert vendor.socket.received == []


def test_a_long_list_goes_in_as_many_calls_as_the_backend_wants(url: str, gateway: Gateway, vendor: Vendor) -> None:
    def embed(asked: Any) -> tuple[Any, int]:
        found = [[float(one["content"]["parts"][0]["text"])] for one in asked["requests"]]
        return {"embeddings": [{"values": one} for one in found], "usageMetadata": {"promptTokenCount": len(found)}}, 200

    vendor.will(embed)
    said = post(url, "/v1/embeddings", {"model": "gemini-e", "input": [str(place) for place in range(250)]}, "long")
    assert [one["embedding"] for one in said.json()["data"]] == [[float(place)] for place in range(250)]
    assert [one["index"] for one in said.json()["data"]] == list(range(250))
    assert [len(json.loads(one.partition(b"\r\n\r\n")[2])["requests"]) for one in vendor.socket.received] == [100, 100, 50]
    assert said.json()["usage"]["prompt_tokens"] == 250
    record = gateway.record("long")
    assert (len(record["attempts"]), record["usage"]["input_tokens"]) == (1, 250)


def test_a_list_that_fails_half_way_is_one_failure_that_tells_what_it_used(url: str, gateway: Gateway, vendor: Vendor) -> None:
    def embed(asked: Any) -> tuple[Any, int]:
        first = len(vendor.socket.received) == 1
        vectors = {"float": [[1.0]] * len(asked["texts"])}
        return ({"embeddings": vectors, "meta": {"billed_units": {"input_tokens": 96}}}, 200) if first else ({"message": "later"}, 500)

    vendor.will(embed)
    said = post(url, "/v1/embeddings", {"model": "cohere-e", "input": ["a"] * 300}, "half")
    assert (said.status_code, said.json()["error"]["code"]) == (502, "server_error")
    assert len(vendor.socket.received) == 2
    record = gateway.record("half")
    assert ([one["outcome"] for one in record["attempts"]], record["usage"]["input_tokens"]) == (["error"], 96)


@pytest.mark.parametrize(("status", "shown"), [(400, 400), (401, 502), (429, 429), (500, 502)])
def test_errors_are_told_in_the_callers_envelope(url: str, vendor: Vendor, status: int, shown: int) -> None:
    vendor.will({"message": "no such thing"}, status)
    said = post(url, "/v1/embeddings", {"model": "cohere-e", "input": "a"})
    assert (said.status_code, said.json()["error"].keys()) == (shown, {"message", "type", "param", "code"})
    said = post(url, "/v1/models/cohere-e:embedContent", {"content": {"parts": [{"text": "a"}]}})
    assert (said.status_code, said.json()["error"]["code"]) == (shown, shown)


@pytest.mark.parametrize("answer", [b"{}", b"not json", {"embeddings": {"float": [[1.0]]}}, b"data: {}\n\n"])
def test_an_answer_without_a_vector_for_each_text_is_a_fault_of_the_backend(url: str, vendor: Vendor, answer: Any) -> None:
    vendor.will(answer)
    said = post(url, "/v1/embeddings", {"model": "cohere-e", "input": ["a", "b"]})
    assert said.status_code == 502
    assert said.json()["error"]["code"] == "protocol"


def test_a_request_falls_back_to_a_backend_of_another_language(url: str, gateway: Gateway, vendor: Vendor) -> None:
    vendor.will({"error": {"code": 500, "message": "no", "status": "INTERNAL"}}, 500)
    said = post(url, "/v1/embeddings", {"model": "either", "input": "a", "user": "u", "dimensions": 4}, "either")
    assert (said.status_code, len(said.json()["data"][0]["embedding"])) == (200, 4)
    assert len(vendor.body["requests"]) == 1
    record = gateway.record("either")
    assert [one["backend"] for one in record["attempts"]] == ["gemini", "sim"]
    assert record["dropped_fields"] == []  # `user` was lost on the way that failed, not on this one
    assert "x-gateway-dropped" not in said.headers


@needs_recordings
def test_a_recorded_embedding_reaches_both_callers(url: str) -> None:
    kept = json.loads((RECORDINGS / "wire/cohere/cohere-embedding.json").read_bytes())
    model = "rec/cohere/cohere-embedding"
    said = post(url, "/v1/embeddings", {"model": model, "input": kept["texts"]}).json()
    assert [one["embedding"] for one in said["data"]] == kept["embeddings"]["float"]
    assert said["usage"]["prompt_tokens"] == kept["meta"]["billed_units"]["input_tokens"]
    ask = {"requests": [{"content": {"parts": [{"text": one}]}} for one in kept["texts"]]}
    said = post(url, f"/v1beta/models/{model}:batchEmbedContents", ask).json()
    assert [one["values"] for one in said["embeddings"]] == kept["embeddings"]["float"]
    recorded = json.loads((RECORDINGS / "wire/openai/embedding-openai-embedding.json").read_bytes())
    said = post(url, "/v1beta/models/rec/openai/embedding-openai-embedding:batchEmbedContents", ask).json()
    assert [one["values"] for one in said["embeddings"]] == [one["embedding"] for one in recorded["data"]]
    assert said["usageMetadata"]["promptTokenCount"] == recorded["usage"]["prompt_tokens"]


@pytest.mark.parametrize("model", ["sim", "strict-gemini", "strict-cohere"])
def test_strict_vendors_give_both_sdks_the_same_vectors(openai_sdk: openai.OpenAI, google_sdk: genai.Client, model: str) -> None:
    packed = openai_sdk.embeddings.create(model=model, input=["one", "two"], dimensions=256)
    plain = openai_sdk.embeddings.create(model=model, input=["one", "two"], dimensions=256, encoding_format="float")
    apart: list[Any] = [{"parts": [{"text": one}]} for one in ("one", "two")]  # texts alone would be one content to some of its models
    others = google_sdk.models.embed_content(model=model, contents=apart, config={"output_dimensionality": 256})
    wanted = [pytest.approx(one.embedding) for one in plain.data]
    assert [one.embedding for one in packed.data] == wanted
    assert [one.values for one in others.embeddings or ()] == wanted
    assert packed.usage.prompt_tokens == plain.usage.prompt_tokens > 0


COUNTS = {
    "anthropic-m": ({"input_tokens": 42}, "/v1/messages/count_tokens"),
    "gemini-m": ({"totalTokens": 42}, "/v1beta/models/gemini-embedding-001:countTokens"),
    "bedrock-m": ({"inputTokens": 42}, "/model/anthropic.claude-haiku-4-5-20251001-v1%3A0/count-tokens"),
    "openai-m": ({"object": "response.input_tokens", "input_tokens": 42}, "/responses/input_tokens"),
}
ASKS: dict[str, Any] = {
    "/v1/messages/count_tokens": ({"messages": [{"role": "user", "content": "Hi"}]}, "input_tokens"),
    "/v1/responses/input_tokens": ({"input": "Hi"}, "input_tokens"),
    "/v1beta/models/MODEL:countTokens": ({"contents": [{"parts": [{"text": "Hi"}]}]}, "totalTokens"),
}


def count(url: str, path: str, model: str, request_id: str = "") -> tuple[httpx.Response, int]:
    fields, member = ASKS[path]
    said = post(url, path.replace("MODEL", model), fields if "MODEL" in path else {"model": model, **fields}, request_id)
    return said, said.json().get(member)


@pytest.mark.parametrize("model", COUNTS)
@pytest.mark.parametrize("path", ASKS)
def test_tokens_are_counted_by_the_backend_for_every_caller(url: str, vendor: Vendor, path: str, model: str) -> None:
    answer, target = COUNTS[model]
    vendor.will(answer)
    said, number = count(url, path, model)
    assert (said.status_code, number) == (200, 42)
    assert vendor.target == target
    assert "x-gateway-estimated" not in said.headers
    assert said.headers["x-served-by"] == model.partition("-")[0]


@pytest.mark.parametrize("path", ASKS)
@pytest.mark.parametrize("model", ["sim", "cohere-m"])
def test_a_backend_that_cannot_count_is_not_asked(url: str, gateway: Gateway, vendor: Vendor, path: str, model: str) -> None:
    said, number = count(url, path, model, "guess")
    assert (said.status_code, said.headers["x-gateway-estimated"], number) == (200, "true", 1)
    assert vendor.socket.received == []
    assert gateway.record("guess")["usage"] is None


@pytest.mark.parametrize("status", [401, 429, 500, 529])
@pytest.mark.parametrize(("path", "model"), [
    ("/v1/messages/count_tokens", "anthropic-m"), ("/v1/messages/count_tokens", "bedrock-m"),
    ("/v1beta/models/MODEL:countTokens", "gemini-m"),
])  # fmt: skip
def test_a_count_that_fails_at_the_backend_is_estimated(
    url: str, gateway: Gateway, vendor: Vendor, path: str, model: str, status: int
) -> None:
    vendor.will({"error": {"message": "no"}}, status)
    said, number = count(url, path, model, f"failed-{status}")
    assert (said.status_code, said.headers["x-gateway-estimated"], number) == (200, "true", 1)
    assert len(vendor.socket.received) == 1
    record = gateway.record(f"failed-{status}")
    assert [one["outcome"] for one in record["attempts"]] == ["error"]
    assert (record["status"], record["error_type"]) == (200, "")


@pytest.mark.parametrize(("wait", "asked"), [(b"", 3), (b"retry-after: 4\r\n", 1)])
def test_a_count_is_asked_for_again_but_does_not_wait_long(url: str, vendor: Vendor, wait: bytes, asked: int) -> None:
    vendor.will({"error": {"message": "no"}}, 429, wait)
    said, number = count(url, "/v1/messages/count_tokens", "capped")
    assert (said.status_code, said.headers["x-gateway-estimated"], number) == (200, "true", 1)
    assert len(vendor.socket.received) == asked


def test_a_refusal_of_the_callers_own_words_is_told_and_one_of_ours_is_not(url: str, vendor: Vendor) -> None:
    refusal = {"type": "error", "error": {"type": "invalid_request_error", "message": "messages: too odd"}}
    vendor.will(refusal, 400)
    said, _ = count(url, "/v1/messages/count_tokens", "anthropic-m")
    assert (said.status_code, said.json()) == (400, refusal)
    said, number = count(url, "/v1beta/models/MODEL:countTokens", "anthropic-m")
    assert (said.status_code, said.headers["x-gateway-estimated"], number) == (200, "true", 1)
    said = post(url, "/v1beta/models/anthropic-m:countTokens", {"contents": 7})
    assert (said.status_code, said.json()["error"]["status"]) == (400, "INVALID_ARGUMENT")
    said = post(url, "/v1/messages/count_tokens", {"model": "sim", "messages": [{"role": "user", "content": 5}]})
    assert (said.status_code, said.json()["type"]) == (400, "error")


@pytest.mark.parametrize("answer", [b"oops", {"input_tokens": "many"}])
def test_a_count_that_is_no_number_is_not_passed_on(url: str, vendor: Vendor, answer: Any) -> None:
    vendor.will(answer)
    said, number = count(url, "/v1/messages/count_tokens", "anthropic-m")
    assert (said.status_code, said.headers["x-gateway-estimated"], number) == (200, "true", 1)


def test_of_several_backends_one_that_has_the_call_is_asked(url: str, vendor: Vendor) -> None:
    vendor.will({"input_tokens": 42})
    said, number = count(url, "/v1/messages/count_tokens", "mixed")  # not Cohere, which stands first and cannot count
    assert (number, said.headers["x-served-by"], "x-gateway-estimated" in said.headers) == (42, "anthropic", False)
    vendor.socket.received.clear()
    said = post(url, "/v1/embeddings", {"model": "last", "input": "a"})
    assert (said.status_code, said.headers["x-served-by"], said.headers["x-gateway-attempts"]) == (200, "sim", "1")
    assert vendor.socket.received == []


@pytest.mark.parametrize("path", ["/v1/messages/count_tokens", "/v1/responses/input_tokens"])
def test_a_count_has_none_of_the_fields_that_an_operator_sets_for_answers(url: str, vendor: Vendor, path: str) -> None:
    vendor.will({"input_tokens": 42})
    assert count(url, path, "capped")[1] == 42
    assert vendor.body.keys() == {"model", "messages"}


def test_a_history_sealed_by_another_vendor_is_counted_without_the_seal(url: str, vendor: Vendor) -> None:
    vendor.will({"input_tokens": 42})
    thought = {"type": "thinking", "thinking": "hm", "signature": "gw1.gemini.QUJD"}
    turns = [
        {"role": "user", "content": "Hi"}, {"role": "assistant", "content": [thought, {"type": "text", "text": "Hello"}]},
        {"role": "user", "content": "Go on"},
    ]  # fmt: skip
    said = post(url, "/v1/messages/count_tokens", {"model": "anthropic-m", "messages": turns})
    assert (said.json(), "x-gateway-estimated" in said.headers) == ({"input_tokens": 42}, False)
    assert b"gw1." not in vendor.raw_body
    assert [one["role"] for one in vendor.body["messages"]] == ["user", "assistant", "user"]


def test_the_sdks_count(url: str, openai_sdk: openai.OpenAI, google_sdk: genai.Client, vendor: Vendor) -> None:
    vendor.will({"inputTokens": 42, "input_tokens": 42, "totalTokens": 42})
    claude = anthropic.Anthropic(base_url=url, api_key=KEY, max_retries=0)
    assert claude.messages.count_tokens(model="gemini-m", messages=[{"role": "user", "content": "Hi"}]).input_tokens == 42
    assert openai_sdk.responses.input_tokens.count(model="anthropic-m", input="Hi").input_tokens == 42
    assert google_sdk.models.count_tokens(model="bedrock-m", contents="Hi").total_tokens == 42
    assert vendor.body == {"input": {"converse": {"messages": [{"role": "user", "content": [{"text": "Hi"}]}]}}}


TOOL = {"name": "f", "description": "does", "input_schema": {"type": "object", "properties": {"a": {"type": "string"}}}}
PARAMETERS = {"type": "object", "properties": {"a": {"type": "string"}}}


@pytest.mark.parametrize("model", ["strict-anthropic", "strict-gemini", "strict-bedrock", "strict-openai"])
def test_strict_vendors_count_the_same_conversation_alike_for_every_caller(
    url: str, openai_sdk: openai.OpenAI, google_sdk: genai.Client, model: str
) -> None:
    claude = anthropic.Anthropic(base_url=url, api_key=KEY, max_retries=0)
    said = claude.messages.count_tokens(
        model=model, system="Be brief", messages=[{"role": "user", "content": "Hi there"}], tools=[TOOL]  # type: ignore[list-item]
    )
    functions: list[Any] = [{"type": "function", "name": "f", "description": "does", "parameters": PARAMETERS, "strict": False}]
    other = openai_sdk.responses.input_tokens.count(model=model, instructions="Be brief", input="Hi there", tools=functions)
    declared = {"functionDeclarations": [{"name": "f", "description": "does", "parametersJsonSchema": PARAMETERS}]}
    whole = {
        "model": f"models/{model}", "contents": [{"role": "user", "parts": [{"text": "Hi there"}]}], "tools": [declared],
        "systemInstruction": {"parts": [{"text": "Be brief"}]},
    }  # fmt: skip
    third = post(url, f"/v1beta/models/{model}:countTokens", {"generateContentRequest": whole})
    assert "x-gateway-estimated" not in third.headers
    assert said.input_tokens == other.input_tokens == third.json()["totalTokens"] > 10
    assert google_sdk.models.count_tokens(model=model, contents="Hi there").total_tokens in range(1, said.input_tokens)


MESSAGE = {
    "id": "msg_1", "type": "message", "role": "assistant", "model": "claude", "content": [{"type": "text", "text": "Good day"}],
    "stop_reason": "max_tokens", "stop_sequence": None, "usage": {"input_tokens": 5, "output_tokens": 16},
}  # fmt: skip


def test_openais_sdk_gets_a_completion_of_a_backend_that_has_chats_only(
    openai_sdk: openai.OpenAI, gateway: Gateway, vendor: Vendor
) -> None:
    vendor.will(MESSAGE)
    found = openai_sdk.completions.create(
        model="anthropic-m", prompt="Greet", stop=["END"], temperature=0.5, seed=3, extra_headers={"x-request-id": "legacy"}
    )
    assert [(one.text, one.finish_reason) for one in found.choices] == [("Good day", "length")]
    assert found.usage is not None
    assert (found.object, found.model, found.usage.completion_tokens) == ("text_completion", "anthropic-m", 16)
    assert vendor.target == "/v1/messages"
    asked = vendor.body
    assert (asked["max_tokens"], asked["stop_sequences"], asked["temperature"]) == (16, ["END"], 0.5)
    assert [one["role"] for one in asked["messages"]] == ["user"]
    record = gateway.record("legacy")
    assert (record["dropped_fields"], record["usage"]["output_tokens"]) == (["sampling.seed"], 16)


def test_a_completion_streams_from_a_backend_that_has_chats_only(openai_sdk: openai.OpenAI, gateway: Gateway, vendor: Vendor) -> None:
    started = {"type": "message_start", "message": {**MESSAGE, "content": [], "stop_reason": None, "usage": {"input_tokens": 5}}}
    events = [
        started, {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
        *({"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": one}} for one in ("Good ", "day")),
        {"type": "content_block_stop", "index": 0},
        {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 2}}, {"type": "message_stop"},
    ]  # fmt: skip
    vendor.will(b"".join(b"event: %b\ndata: %b\n\n" % (str(one["type"]).encode(), json.dumps(one).encode()) for one in events))
    stream = openai_sdk.completions.create(
        model="anthropic-m", prompt="Greet", stream=True, stream_options={"include_usage": True}, extra_headers={"x-request-id": "flow"}
    )
    found = list(stream)
    assert "".join(one.choices[0].text for one in found if one.choices) == "Good day"
    assert [one.choices[0].finish_reason for one in found if one.choices][-1] == "stop"
    assert found[-1].usage is not None
    assert (found[-1].choices, found[-1].usage.total_tokens) == ([], 7)
    record = gateway.record("flow")
    assert (record["stream"], record["usage"]["output_tokens"], record["ttft_ms"] > 0) == (True, 2, True)


@pytest.mark.parametrize("model", ["strict-anthropic", "strict-gemini", "strict-cohere"])
@pytest.mark.parametrize("stream", [False, True])
def test_strict_vendors_complete_prompts(openai_sdk: openai.OpenAI, model: str, stream: bool) -> None:
    ask: dict[str, Any] = {"model": model, "prompt": "[[say=Good morning to you]]", "temperature": 0.5, "max_tokens": 3}
    if stream:
        events = list(openai_sdk.completions.create(stream=True, stream_options={"include_usage": True}, **ask))
        text = "".join(one.choices[0].text for one in events if one.choices)
        finish, usage = [one.choices[0].finish_reason for one in events if one.choices][-1], events[-1].usage
    else:
        whole = openai_sdk.completions.create(**ask)
        text, finish, usage = whole.choices[0].text, whole.choices[0].finish_reason, whole.usage
    assert (text, finish) == ("Good morning to", "length")
    assert usage is not None
    assert usage.completion_tokens == 3


@pytest.mark.parametrize(("fields", "param"), [
    ({"prompt": ["a", "b"]}, "prompt"), ({"prompt": [1, 2]}, "prompt"), ({"prompt": "p", "echo": True}, "echo"),
    ({"prompt": "p", "suffix": "s"}, "suffix"), ({"prompt": "p", "best_of": 2}, "best_of"), ({"prompt": "p", "n": 2}, "n"),
])  # fmt: skip
def test_what_a_chat_cannot_complete_is_refused_by_name(url: str, vendor: Vendor, fields: dict[str, Any], param: str) -> None:
    said = post(url, "/v1/completions", {"model": "anthropic-m", **fields})
    assert (said.status_code, said.json()["error"]["param"]) == (400, param)
    assert vendor.socket.received == []


def test_a_completion_passes_as_it_is_where_the_backend_has_them(url: str) -> None:
    said = post(url, "/v1/completions", {"model": "sim", "prompt": ["[[say=Good day]]", "[[say=x]]"], "echo": False, "best_of": 1})
    assert [one["text"] for one in said.json()["choices"]] == ["Good day", "x"]


@needs_recordings
def test_a_recorded_completion_comes_back_as_it_is(url: str) -> None:
    kept = json.loads((RECORDINGS / "wire/openai/completion-openai-completion-text.json").read_bytes())
    model = "rec/openai/completion-openai-completion-text"
    assert post(url, "/v1/completions", {"model": model, "prompt": "p"}).json() == kept
    lines = (RECORDINGS / "wire/openai/completion-openai-completion-text.chunks.txt").read_text().splitlines()
    said = post(url, "/v1/completions", {"model": model, "prompt": "p", "stream": True, "stream_options": {"include_usage": True}})
    assert [json.loads(one[6:]) for one in said.text.split("\n\n") if one.startswith("data: {")] == [json.loads(one) for one in lines]

"""Where caller and provider speak the same dialect, bytes pass as they came, both ways; only what the operator asked for is spliced in."""

import gzip
import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from doors import DOORS, Door, Site, site
from rig import KEY, Gateway, Simulator, chat, running

RECORDINGS = Path(__file__).parents[3] / "shared" / "recordings"
PLAIN = httpx.Client(verify=False, trust_env=False, timeout=20)
"""For cleartext: a client that loads the usual authorities takes 50 ms to make."""

OPENAI_FOLDERS = ("alibaba", "azure", "deepseek", "groq", "mistral", "moonshotai", "openai", "openai-compatible", "xai")
BACKEND_KEY = "sk-operator-0123456789abcdef"

CONFIG = """
[aliases]
"my model" = "sim"
[backends.sim]
provider = "custom"
base_url = "{sim}"
api_key = "sk-operator-0123456789abcdef"
headers = { x-organisation = "acme" }
breaker = { consecutive_failures = 0, failure_ratio = 0 }
[[routes]]
name = "capped"
models = ["capped"]
targets = [ { backend = "sim", model = "sim", max_tokens = 5, overrides = { temperature = 0.25, metadata = { who = "operator" } } } ]
[[routes]]
name = "renamed"
models = ["renamed"]
targets = [ { backend = "sim", model = "a \\"much\\" longer/name" } ]
[[routes]]
name = "all"
targets = [ { backend = "sim" } ]
retry = { attempts = 1 }
"""

STREAM = (
    b": a comment first\n\n"
    b'data: {"id":"x","model":"m","choices":[{"index":0,"delta":{"role":"assistant","content":""},"finish_reason":null}]}\n\n'
    b": a comment between\n\n"
    b'id: 7\ndata: {"id":"x","choices":[{"index":0,"delta":{"content":"caf\\u00e9 \xf0\x9f\x98\x80"},"finish_reason":null}]}\n\n'
    b"retry: 3000\n\n"
    b'data:{"id":"x",\r\ndata: "choices":[{"index":0,"delta":{"content":" two lines"},"finish_reason":null}]}\r\n\r\n'
    b'event: message\ndata:  {"unknown": [1e3, 12345678901234567890], "choices": [{"index": 0, "delta": {"content": " spaced"}}]} \n\n'
    b'data: {"id":"x","choices":[{"index":0,"delta":{},"finish_reason":"stop"}],'
    b'"usage":{"prompt_tokens":3,"completion_tokens":4,"total_tokens":7}}\n\n'
    b"data: [DONE]\n\n"
)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("verbatim")
    recorded = folder / "recordings" / "odd"
    recorded.mkdir(parents=True)
    (recorded / "stream.sse").write_bytes(STREAM)
    with site(folder, CONFIG, simulate=("--recordings", str(folder / "recordings"))) as both:
        yield both


@pytest.fixture(scope="module", params=DOORS)
def door(place: Site, request: pytest.FixtureRequest) -> Door:
    return place.door(request.param)


def last_request(sim: Simulator) -> dict[str, Any]:
    return sim.stats(1)["last"][-1]


def last_body(sim: Simulator) -> bytes:
    """What the provider got, byte for byte."""
    return PLAIN.get(f"{sim.url}/sim/requests/{last_request(sim)['number']}/body").content


def direct(sim: Simulator, body: bytes, path: str = "/v1/chat/completions") -> httpx.Response:
    """The same request sent to the provider itself."""
    return PLAIN.post(sim.url + path, content=body, headers={"content-type": "application/json"})


MESSAGES = '"messages":[{"role":"user","content":"[[tokens=3]]"}]'
ODD_BODIES = {
    "compact": '{"model":"sim",' + MESSAGES + "}",
    "white space": ' \n\t{ "model"\t:\r\n "sim" ,' + MESSAGES + ' , "z" :null \n}\n\n ',
    "model last": "{" + MESSAGES + ',"temperature":0.10,"model":"sim"}',
    "escapes": '{"model":"s\\u0069m","user":"caf\\u00e9 \\ud83d\\ude00 \\/ \\"q\\" \\\\",' + MESSAGES + "}",
    "big and odd numbers": '{"model":"sim","seed":123456789012345678,"x":[12345678901234567890123,1e2,-0.0,1.000,2E-7],' + MESSAGES + "}",
    "unknown fields": '{"model":"sim","future":{"model":"inner","stream":true,"deep":[[[{"model":1}]]]},"store":null,' + MESSAGES + "}",
    "unicode": '{"model":"sim","user":"日本語 \u2028 é",' + MESSAGES + "}",
    "unknown key twice": '{"model":"sim","x":1,"x":2,' + MESSAGES + "}",
    "model in a string": '{"user":"\\"model\\":\\"other\\"","model":"sim",' + MESSAGES + "}",
    "stream false": '{"model":"sim","stream":false,"stream_options":null,' + MESSAGES + "}",
}  # fmt: skip


@pytest.mark.parametrize("name", ODD_BODIES)
def test_a_request_reaches_the_provider_byte_for_byte(place: Site, door: Door, name: str) -> None:
    sent = ODD_BODIES[name].encode()
    answer = door.post("/v1/chat/completions", content=sent)
    assert answer.status_code == 200, answer.text
    assert last_body(place.sim) == sent


@pytest.mark.parametrize(
    ("sent", "reached"),
    [
        ('{"model":"my model",%s}', '{"model":"sim",%s}'),
        ('{ %s , "model" :"my\\u0020model" , "z":1}', '{ %s , "model" :"sim" , "z":1}'),
        ('{"metadata":{"model":"my model"},%s,"model":"my model"}', '{"metadata":{"model":"my model"},%s,"model":"sim"}'),
        ('{"model":"renamed",%s}', '{"model":"a \\"much\\" longer/name",%s}'),
        ('{"model":"sim","stream":true,%s}', '{"model":"sim","stream":true,%s,"stream_options":{"include_usage":true}}'),
        ('{"model":"sim","stream":true,%s \n}\n', '{"model":"sim","stream":true,%s \n,"stream_options":{"include_usage":true}}\n'),
        (
            '{"stream_options": {"include_obfuscation": false}, "model":"sim","stream":true,%s}',
            '{"stream_options": {"include_usage":true,"include_obfuscation": false}, "model":"sim","stream":true,%s}',
        ),
        (
            '{"model":"sim","stream":true,"stream_options":{"include_usage" : false},%s}',
            '{"model":"sim","stream":true,"stream_options":{"include_usage" : true},%s}',
        ),
        (
            '{"model":"sim","stream":true,"stream_options":{"include_usage":true},%s}',
            '{"model":"sim","stream":true,"stream_options":{"include_usage":true},%s}',
        ),
        (
            '{"model":"capped","max_tokens":9,%s,"temperature" : 1}',
            '{"model":"sim","max_tokens":5,%s,"temperature" : 0.25,"metadata":{"who":"operator"}}',
        ),
        (
            '{"model":"capped","max_completion_tokens":3,%s}',
            '{"model":"sim","max_completion_tokens":3,%s,"temperature":0.25,"metadata":{"who":"operator"}}',
        ),
    ],
)  # fmt: skip
def test_only_what_the_operator_asked_for_is_spliced_in(place: Site, door: Door, sent: str, reached: str) -> None:
    answer = door.post("/v1/chat/completions", content=sent.replace("%s", MESSAGES).encode())
    assert answer.status_code == 200, answer.text
    assert last_body(place.sim).decode() == reached.replace("%s", MESSAGES)


def test_completions_and_embeddings_are_passed_as_they_came(place: Site, door: Door) -> None:
    for path, sent in (
        ("/v1/completions", b'{ "prompt" : ["a", "b"],"model":"sim", "max_tokens": 3 , "x":1}'),
        ("/v1/embeddings", b'{"input":[[1,2,3]] ,"model":"sim-embed","dimensions":8,"encoding_format":"base64"}'),
    ):
        answer = door.post(path, content=sent)
        assert last_body(place.sim) == sent
        assert last_request(place.sim)["path"] == path
        assert answer.content == direct(place.sim, sent, path).content


def test_only_listed_headers_of_the_caller_go_on_and_no_credential(place: Site, door: Door) -> None:
    given = {
        "openai-beta": "assistants=v2", "traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", "user-agent": "mine/1.0",
        "x-stainless-lang": "python", "x-client-request-id": "abc", "cookie": "session=1", "x-forwarded-for": "1.2.3.4", "x-custom": "no",
        "x-request-id": "visible-id", "x-user-id": "u1", "accept-encoding": "gzip, br", "x-api-key": "sk-other", "accept": "*/*",
    }  # fmt: skip
    assert door.chat(chat("sim"), headers=given).status_code == 200
    seen: dict[str, str] = {}
    for name, value in last_request(place.sim)["headers"]:
        assert name not in seen, f"{name} was sent twice"
        seen[name] = value
    for name in ("openai-beta", "traceparent", "user-agent", "x-stainless-lang", "x-client-request-id"):
        assert seen[name] == given[name]
    assert seen["authorization"] == "Bearer sha256:" + hashlib.sha256(BACKEND_KEY.encode()).hexdigest()[:12]
    assert seen["x-organisation"] == "acme"
    assert seen["accept-encoding"] == "identity"
    assert seen["host"] == f"127.0.0.1:{place.sim.port}"
    assert seen["content-type"] == "application/json"
    for name in ("cookie", "x-forwarded-for", "x-custom", "x-api-key", "x-user-id", "transfer-encoding"):
        assert name not in seen


def test_a_chunked_request_reaches_the_provider_whole(place: Site, door: Door) -> None:
    sent = ODD_BODIES["white space"].encode()
    answer = door.post("/v1/chat/completions", content=iter([sent[:10], sent[10:11], sent[11:]]))
    assert answer.status_code == 200
    assert last_body(place.sim) == sent
    assert dict(last_request(place.sim)["headers"])["content-length"] == str(len(sent))


@pytest.mark.parametrize("model", ["sim", "sim+comments=2", "sim-reasoner", "sim+finish=content_filter", "sim+no_usage", "sim+trickle=0ms"])
def test_a_whole_answer_reaches_the_caller_byte_for_byte(place: Site, door: Door, model: str) -> None:
    answer = door.chat(chat(model, "[[tokens=3]]"))
    expected = direct(place.sim, last_body(place.sim))
    assert answer.status_code == 200
    assert answer.content == expected.content
    assert answer.headers["content-type"] == expected.headers["content-type"]
    assert answer.headers["openai-version"] == expected.headers["openai-version"]
    assert answer.headers["x-ratelimit-limit-requests"] == expected.headers["x-ratelimit-limit-requests"]


@pytest.mark.parametrize(
    "model", ["sim", "sim+crlf", "sim+trickle=0ms", "sim+burst", "sim+no_done", "sim-reasoner+crlf+burst", "sim+crlf+trickle=0ms"]
)
def test_a_stream_reaches_the_caller_byte_for_byte(place: Site, door: Door, model: str) -> None:
    answer = door.chat(chat(model, "[[tokens=3]]", stream=True, n=2, stream_options={"include_usage": True}))
    expected = direct(place.sim, last_body(place.sim))
    assert answer.status_code == 200
    # Nothing is awaited after the end mark's blank line: of its CR LF, come in two pieces, the LF may be missing.
    assert answer.content.removesuffix(b"\n") == expected.content.removesuffix(b"\n")
    assert answer.headers["content-type"] == expected.headers["content-type"]
    assert b"[DONE]" in answer.content or "no_done" in model


@pytest.mark.parametrize("model", ["sim", "sim+crlf", "sim+trickle=0ms", "sim+burst"])
def test_of_a_stream_only_the_usage_event_that_nobody_asked_for_is_left_out(place: Site, door: Door, model: str) -> None:
    answer = door.chat(chat(model, "[[tokens=3]]", stream=True))
    expected = direct(place.sim, last_body(place.sim)).content
    blank = b"\r\n\r\n" if b"\r\n" in expected else b"\n\n"
    events = expected.split(blank)
    (usage,) = [event for event in events if b'"choices":[]' in event]
    assert answer.content == expected.replace(usage + blank, b"")


def test_comments_fields_and_odd_line_ends_inside_a_stream_survive(place: Site, door: Door) -> None:
    answer = door.chat(chat("rec/odd/stream", stream=True))
    # What stands before the first event of the model means nothing and may be gone: until then the request can still go elsewhere. It is
    # there where it came together with that event.
    first = STREAM.index(b"data:")
    assert answer.content.endswith(STREAM[first:])
    assert STREAM.endswith(answer.content)
    record = door.record(answer)
    assert (record["usage"]["input_tokens"], record["usage"]["output_tokens"]) == (3, 4)
    assert record["attempts"][0]["finish_reason"] == "stop"
    assert record["status"] == 200


@pytest.mark.parametrize("fields", [{}, {"stream": True, "stream_options": {"include_usage": True}}], ids=["whole", "streamed"])
def test_a_compressed_answer_arrives_decoded(place: Site, door: Door, fields: dict[str, Any]) -> None:
    answer = door.chat(chat("sim+gzip", **fields))
    sent = last_body(place.sim)
    with PLAIN.stream("POST", place.sim.url + "/v1/chat/completions", content=sent) as raw:
        assert raw.headers["content-encoding"] == "gzip"
        packed = b"".join(raw.iter_raw())
    assert "content-encoding" not in answer.headers
    assert answer.content == gzip.decompress(packed)
    assert door.record(answer)["usage"]["output_tokens"] > 0


@pytest.mark.parametrize("fault", ["400", "404", "413", "415", "422", "context_length", "content_filter", "400;code=odd_one"])
@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
def test_what_a_provider_says_of_the_callers_mistake_passes_in_its_own_words(place: Site, door: Door, fault: str, stream: bool) -> None:
    answer = door.chat(chat(f"sim+{fault}", stream=stream))
    expected = direct(place.sim, last_body(place.sim))
    assert answer.status_code == expected.status_code
    assert answer.content == expected.content
    assert answer.headers["content-type"] == expected.headers["content-type"]
    assert door.record(answer)["status"] == expected.status_code


def test_an_error_page_of_a_proxy_does_not_pass(place: Site, door: Door) -> None:
    answer = door.chat(chat("sim+400;body=html"))
    assert answer.status_code == 400
    assert answer.json()["error"]["message"]
    assert b"<html" not in answer.content


def test_five_megabytes_go_in_and_three_come_out(place: Site, door: Door) -> None:
    text = "".join(f"{number:08x} é " for number in range(380_000))
    sent = json.dumps({"model": "sim+huge_line=3m", "messages": [{"role": "user", "content": text}]}, ensure_ascii=False).encode()
    assert len(sent) > 4_500_000
    answer = door.post("/v1/chat/completions", content=sent)
    seen = last_request(place.sim)
    assert (seen["body_bytes"], seen["body_sha256"]) == (len(sent), hashlib.sha256(sent).hexdigest())
    expected = direct(place.sim, sent).content
    assert len(expected) > 3_000_000
    assert answer.content == expected
    record = door.record(answer)
    assert record["usage"]["output_tokens"] == json.loads(expected)["usage"]["completion_tokens"]
    assert record["attempts"][0]["finish_reason"] == "stop"


def test_an_event_of_two_megabytes_passes(place: Site, door: Door) -> None:
    answer = door.chat(chat("sim+huge_line=2m", stream=True, stream_options={"include_usage": True}))
    assert answer.content == direct(place.sim, last_body(place.sim)).content
    assert len(answer.content) > 2_000_000


def test_an_embedding_answer_of_megabytes_passes_with_its_usage(place: Site, door: Door) -> None:
    body = {"model": "text-embedding-3-large", "input": [f"text {number}" for number in range(60)], "encoding_format": "float"}
    answer = door.post("/v1/embeddings", body=body)
    expected = direct(place.sim, last_body(place.sim), "/v1/embeddings").content
    assert len(expected) > 1_500_000
    assert answer.content == expected
    assert door.record(answer)["usage"]["input_tokens"] == json.loads(expected)["usage"]["prompt_tokens"]


# Recorded answers of real providers.


def recorded() -> list[str]:
    """`FOLDER/NAME` of every recording in OpenAI's dialect, with how it is asked for."""
    found = []
    for folder in OPENAI_FOLDERS:
        for path in sorted((RECORDINGS / "wire" / folder).glob("*")):
            name, text = path.name, path.read_text()
            if name.endswith(".json") and '"choices"' in text:
                found.append(f"whole:{folder}/{name.removesuffix('.json')}")
            elif name.endswith(".chunks.txt") and '"choices"' in text.partition("\n")[0]:
                found.append(f"stream:{folder}/{name.removesuffix('.chunks.txt')}")
            elif name.endswith(".sse") and '"choices"' in text:
                found.append(f"stream:{folder}/{name.removesuffix('.sse')}")
    return found


@pytest.fixture(scope="module")
def recordings(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Simulator, Gateway]]:
    if not RECORDINGS.is_dir():
        pytest.skip("no recordings of real providers in ../shared/recordings")
    folder = tmp_path_factory.mktemp("recordings")
    sim = Simulator(folder, extra=("--recordings", str(RECORDINGS)))
    with running(sim):
        gateway = Gateway(folder, CONFIG.replace("{sim}", sim.url + "/v1"))
        with running(gateway):
            yield sim, gateway


def counted(documents: list[dict[str, Any]]) -> tuple[int, int] | None:
    """Tokens in and out by the provider's own total, wherever it wrote its usage down; the last word counts."""
    found = None
    for document in documents:
        choices = document.get("choices") or [{}]
        usage = document.get("usage") or (document.get("x_groq") or {}).get("usage") or choices[0].get("usage")
        if usage:
            prompt = usage["prompt_tokens"]
            found = (prompt, usage["total_tokens"] - prompt)
    return found


@pytest.mark.parametrize("case", recorded() or ["none"])
@pytest.mark.parametrize("engine", ["builtin", "hypercorn"])
def test_a_recorded_answer_passes_unchanged_and_is_counted_as_it_says(
    recordings: tuple[Simulator, Gateway], engine: str, case: str
) -> None:
    sim, gateway = recordings
    kind, _, name = case.partition(":")
    path = "/v1/completions" if "completion-openai" in name else "/v1/chat/completions"
    body: dict[str, Any] = {**chat(f"rec/{name}@ttft=0,tps=0"), "prompt": "Hello"}
    if kind == "stream":
        body |= {"stream": True, "stream_options": {"include_usage": True}}
    url = gateway.url if engine == "builtin" else gateway.hypercorn_url
    answer = PLAIN.post(url + path, json=body, headers={"authorization": f"Bearer {KEY}"})
    expected = direct(sim, json.dumps(body).encode(), path)
    assert answer.status_code == expected.status_code == 200
    # What a provider sends after its end mark means nothing; one recording has a spare line there.
    assert answer.content.rstrip(b"\n") == expected.content.rstrip(b"\n")
    if kind == "stream":
        lines = [line[5:].strip() for line in expected.text.splitlines() if line.startswith("data:")]
        documents = [json.loads(line) for line in lines if line != "[DONE]"]
    else:
        documents = [expected.json()]
    record = gateway.record(answer.headers["x-request-id"])
    assert record["error_type"] == ""
    usage = record["usage"]
    told = (usage["input_tokens"], usage["output_tokens"]) if usage["source"] == "provider" else None
    assert told == counted(documents)
    reasons = [choice["finish_reason"] for one in documents for choice in one["choices"] if choice.get("finish_reason")]
    assert record["attempts"][0]["finish_reason"] == (reasons[0] if reasons else "")


def test_a_recorded_refusal_passes_in_the_providers_words(recordings: tuple[Simulator, Gateway]) -> None:
    _, gateway = recordings
    body = chat("rec/openai/chat-reasoning-model-legacy-parameter-error")
    answer = PLAIN.post(gateway.url + "/v1/chat/completions", json=body, headers={"authorization": f"Bearer {KEY}"})
    assert answer.status_code == 400
    assert answer.content == (RECORDINGS / "wire/openai/chat-reasoning-model-legacy-parameter-error.json").read_bytes()

"""A request that goes on from a response reaches the backend that made it, whatever the strategy, and no other tenant's response."""

import hashlib
import json
import socket
import uuid
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from raw_upstream import RawUpstream
from rig import KEY, Gateway, running

OTHER_KEY = "sk-test-of-another-tenant"
LARGE_CHARS = 1_200_000
BOUND = 40

CONFIG = """
[tenants.other]
pin = true
keys = [ {{ id = "other", sha256 = "{other}" }} ]
[backends.north]
provider = "openai"
base_url = "{north}/v1"
api_key = "sk-north-0123456789"
breaker = {{ consecutive_failures = 0, failure_ratio = 0 }}
[backends.south]
provider = "openai"
base_url = "{south}/v1"
api_key = "sk-south-0123456789"
breaker = {{ consecutive_failures = 0, failure_ratio = 0 }}
[backends.chatting]
provider = "custom"
base_url = "{north}/v1"
[[routes]]
name = "both"
models = ["both"]
strategy = "round_robin"
targets = [ {{ backend = "north", model = "m" }}, {{ backend = "south", model = "m" }} ]
[[routes]]
name = "behind"
models = ["behind"]
strategy = "priority"
targets = [ {{ backend = "chatting", model = "m" }} ]
fallback = [ {{ backend = "north", model = "m" }}, {{ backend = "south", model = "m" }} ]
[[routes]]
name = "southern"
models = ["southern"]
targets = [ {{ backend = "south", model = "m" }} ]
[[routes]]
name = "chats"
models = ["chats"]
targets = [ {{ backend = "chatting", model = "m" }} ]
[[routes]]
name = "tried"
models = ["tried"]
targets = [ {{ backend = "north", model = "m" }} ]
[[experiments]]
name = "trial"
route = "tried"
control = {{ backend = "north", model = "m" }}
treatment = {{ backend = "south", model = "m" }}
percent = 50
"""


class Keeper(RawUpstream):
    """A provider that keeps its responses and knows nobody else's. failing: it answers 503."""

    def __init__(self) -> None:
        super().__init__(self.answer)
        self.kept: set[str] = set()
        self.failing = False

    def asked(self) -> list[dict[str, Any]]:
        return [json.loads(one.partition(b"\r\n\r\n")[2]) for one in self.received]

    def answer(self, sock: socket.socket) -> None:
        asked = self.asked()[-1]
        previous = asked.get("previous_response_id")
        if self.failing:
            say(sock, 503, {"error": {"message": "no", "type": "server_error"}})
        elif previous is not None and previous not in self.kept:
            error = {"message": f"Previous response with id '{previous}' not found.", "type": "invalid_request_error"}
            say(sock, 400, {"error": {**error, "param": "previous_response_id", "code": "previous_response_not_found"}})
        else:
            identity = f"resp_{uuid.uuid4().hex}"
            if asked.get("store") is not False:
                self.kept.add(identity)
            text = "x" * LARGE_CHARS if asked["input"] == "large" else "hello"
            response = response_of(identity, text)
            if asked.get("stream"):
                started = {**response, "status": "in_progress", "output": [], "usage": None}
                events = [("created", started), ("in_progress", started), ("completed", response)]
                told = [{"type": f"response.{name}", "sequence_number": place, "response": one} for place, (name, one) in enumerate(events)]
                body = b"".join(b"event: %b\ndata: %b\n\n" % (one["type"].encode(), json.dumps(one).encode()) for one in told)
                sock.sendall(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n" + body)
            else:
                say(sock, 200, response)


def response_of(identity: str, text: str) -> dict[str, Any]:
    piece = {"type": "output_text", "text": text, "annotations": [], "logprobs": []}
    item = {"id": "msg_1", "type": "message", "status": "completed", "role": "assistant", "content": [piece]}
    usage = {"input_tokens": 1, "input_tokens_details": {"cached_tokens": 0}, "output_tokens": 1, "total_tokens": 2}
    return {
        "id": identity, "object": "response", "created_at": 1, "status": "completed", "model": "m", "output": [item],
        "usage": {**usage, "output_tokens_details": {"reasoning_tokens": 0}},
    }  # fmt: skip


def say(sock: socket.socket, status: int, body: dict[str, Any]) -> None:
    data = json.dumps(body).encode()
    head = f"HTTP/1.1 {status} Said\r\ncontent-type: application/json\r\ncontent-length: {len(data)}\r\nconnection: close\r\n\r\n"
    sock.sendall(head.encode() + data)


@pytest.fixture(scope="module")
def keepers() -> Iterator[dict[str, Keeper]]:
    with Keeper() as north, Keeper() as south:
        yield {"north": north, "south": south}


def config(keepers: dict[str, Keeper]) -> str:
    other = hashlib.sha256(OTHER_KEY.encode()).hexdigest()
    return CONFIG.format(other=other, north=keepers["north"].url, south=keepers["south"].url)


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory, keepers: dict[str, Keeper]) -> Iterator[Gateway]:
    one = Gateway(tmp_path_factory.mktemp("previous"), config(keepers), head=f"responses_max = {BOUND}")
    with running(one):
        yield one


@pytest.fixture(scope="module")
def forgetful(tmp_path_factory: pytest.TempPathFactory, keepers: dict[str, Keeper]) -> Iterator[Gateway]:
    """One that remembers nothing, as every gateway after a restart."""
    one = Gateway(tmp_path_factory.mktemp("forgetful"), config(keepers), head="responses_max = 0")
    with running(one):
        yield one


def ask(url: str, model: str = "both", *, key: str = KEY, user: str = "", **fields: Any) -> httpx.Response:
    body = {"model": model, "input": "hi", **fields}
    headers = {"authorization": f"Bearer {key}"} | ({"x-user-id": user} if user else {})
    return httpx.post(url + "/v1/responses", json=body, headers=headers, timeout=20)


def id_of(answer: httpx.Response) -> str:
    assert answer.status_code == 200, answer.text
    if "event-stream" in answer.headers["content-type"]:
        return str(json.loads(answer.text.split("data: ", 1)[1].partition("\n")[0])["response"]["id"])
    return str(answer.json()["id"])


def refusal(answer: httpx.Response, status: int = 400) -> dict[str, Any]:
    assert answer.status_code == status, answer.text
    error: dict[str, Any] = answer.json()["error"]
    return error


@pytest.mark.parametrize("stream", [False, True])
def test_a_conversation_stays_with_the_backend_that_keeps_it(url: str, keepers: dict[str, Keeper], stream: bool) -> None:
    first = [ask(url, stream=stream) for _ in range(2)]
    assert {one.headers["x-served-by"] for one in first} == {"north", "south"}
    for one in first:
        made, previous = one.headers["x-served-by"], id_of(one)
        for _ in range(4):
            following = ask(url, previous_response_id=previous, stream=stream)
            assert following.headers["x-served-by"] == made
            assert following.headers["x-gateway-attempts"] == "1"
            assert keepers[made].asked()[-1]["previous_response_id"] == previous
            previous = id_of(following)


def test_a_long_answer_that_is_passed_on_as_it_comes_is_followed_too(url: str, gateway: Gateway) -> None:
    for _ in range(2):
        long = ask(url, input="large")
        assert len(long.content) > LARGE_CHARS
        assert gateway.record(long.headers["x-request-id"])["usage"]["output_tokens"] == 1  # which stands at its end
        following = ask(url, previous_response_id=id_of(long))
        assert following.headers["x-served-by"] == long.headers["x-served-by"]
        assert following.headers["x-gateway-attempts"] == "1"


def test_nobody_follows_what_another_tenant_was_given(url: str, keepers: dict[str, Keeper]) -> None:
    identity = id_of(ask(url))
    before = sum(one.requests for one in keepers.values())
    error = refusal(ask(url, key=OTHER_KEY, previous_response_id=identity))
    assert sum(one.requests for one in keepers.values()) == before
    unknown = refusal(ask(url, key=OTHER_KEY, previous_response_id="resp_nobodys"))
    assert {name: error[name] for name in ("type", "param", "code")} == {name: unknown[name] for name in ("type", "param", "code")}
    assert error["message"].replace(identity, "X") == unknown["message"].replace("resp_nobodys", "X")
    assert ask(url, previous_response_id=identity).status_code == 200


def test_what_only_an_absent_backend_can_follow_is_refused(url: str) -> None:
    made = {answer.headers["x-served-by"]: id_of(answer) for answer in (ask(url), ask(url))}
    error = refusal(ask(url, "southern", previous_response_id=made["north"]))
    assert error["param"] == "previous_response_id"
    assert "north" in error["message"]
    assert ask(url, "southern", previous_response_id=made["south"]).status_code == 200
    assert ask(url, "behind", previous_response_id=made["south"]).headers["x-served-by"] == "south"
    mine = {answer.headers["x-served-by"]: id_of(answer) for answer in (ask(url, key=OTHER_KEY), ask(url, key=OTHER_KEY))}
    pinned = httpx.post(
        url + "/v1/responses", json={"model": "both", "input": "hi", "previous_response_id": mine["north"]}, timeout=20,
        headers={"authorization": f"Bearer {OTHER_KEY}", "x-provider": "south"},
    )  # fmt: skip
    assert "north" in refusal(pinned)["message"]


def test_a_maker_that_fails_is_not_replaced(url: str, keepers: dict[str, Keeper]) -> None:
    first = ask(url)
    made = first.headers["x-served-by"]
    other = "south" if made == "north" else "north"
    before = keepers[other].requests
    keepers[made].failing = True
    try:
        failed = ask(url, previous_response_id=id_of(first))
    finally:
        keepers[made].failing = False
    assert failed.status_code == 502
    assert keepers[other].requests == before


def test_a_backend_of_another_language_cannot_follow(url: str, keepers: dict[str, Keeper]) -> None:
    before = sum(one.requests for one in keepers.values())
    error = refusal(ask(url, "chats", previous_response_id="resp_1"))
    assert error["param"] == "previous_response_id"
    assert "Responses API" in error["message"]
    assert sum(one.requests for one in keepers.values()) == before


def test_what_is_not_known_is_asked_of_every_backend_that_could_have_made_it(forgetful: Gateway) -> None:
    for url in (forgetful.url, forgetful.hypercorn_url):
        for model in ("both", "behind"):
            for _ in range(2):
                first = ask(url, "both")
                following = ask(url, model, previous_response_id=id_of(first))
                assert following.headers["x-served-by"] == first.headers["x-served-by"]
        assert refusal(ask(url, previous_response_id="resp_x"))["code"] == "previous_response_not_found"


def test_what_is_not_stored_is_not_remembered_and_the_oldest_is_forgotten(gateway: Gateway) -> None:
    unstored = ask(gateway.url, store=False)
    answer = ask(gateway.url, previous_response_id=id_of(unstored))
    assert refusal(answer)["code"] == "previous_response_not_found"
    assert answer.headers["x-gateway-attempts"] == "2"  # both were asked, as for every id that is not known
    old = ask(gateway.url)
    for _ in range(BOUND):
        ask(gateway.url)
    other = ask(gateway.url, key=OTHER_KEY, previous_response_id=id_of(old))
    assert other.status_code == 200  # not known any more: whoever has the id may ask


def test_an_answer_that_would_have_to_be_fetched_later_is_refused(url: str) -> None:
    assert refusal(ask(url, background=True))["param"] == "background"


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/v1/responses/resp_1"), ("DELETE", "/v1/responses/resp_1"), ("POST", "/v1/responses/resp_1/cancel"),
        ("GET", "/v1/responses/resp_1/input_items"), ("POST", "/v1/responses/compact"), ("POST", "/v1/conversations"),
        ("GET", "/v1/conversations/conv_1/items"),
    ],
)  # fmt: skip
def test_stored_answers_are_not_served_and_the_caller_is_told(url: str, method: str, path: str) -> None:
    error = refusal(httpx.request(method, url + path, headers={"authorization": f"Bearer {KEY}"}, timeout=20), 404)
    assert "keeps no answers" in error["message"]




def test_in_an_experiment_a_conversation_stays_where_it_began_and_counts_only_in_its_own_variant(url: str) -> None:
    answers = {one.headers["x-variant"]: (user, one) for user in map(str, range(20)) for one in [ask(url, "tried", user=user)]}
    (in_control, first), (in_treatment, _) = answers["control"], answers["treatment"]
    assert first.headers["x-served-by"] == "north"
    own = ask(url, "tried", user=in_control, previous_response_id=id_of(first))
    assert (own.headers["x-served-by"], own.headers["x-variant"]) == ("north", "control")
    others = ask(url, "tried", user=in_treatment, previous_response_id=id_of(first))
    assert others.status_code == 200, others.text
    assert others.headers["x-served-by"] == "north"
    assert "x-variant" not in others.headers

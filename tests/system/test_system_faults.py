"""Everything that a provider can do wrong, one row each: what the caller hears, whole and streamed, and whether another backend saves it.

The outcomes follow one table: nothing reaches the caller before the first good event or the whole answer, so up to there another backend
may answer; after it the stream ends with an error event, never silently and never twice.
"""

import json
from typing import Any

import httpx
import pytest
from doors import Door, Site
from rig import chat, eventually

CONFIG = """
[backends.first]
provider = "custom"
base_url = "{sim}"
api_key = "sk-operator-first-0123456789"
breaker = { consecutive_failures = 0, failure_ratio = 0 }
timeouts = { connect_s = 5, first_byte_s = 1, idle_s = 1, total_s = 2 }
limits = { event_max_bytes = 100000 }
[backends.second]
provider = "custom"
base_url = "{sim}"
breaker = { consecutive_failures = 0, failure_ratio = 0 }
[[routes]]
name = "alone"
models = ["alone*"]
targets = [ { backend = "first" } ]
retry = { attempts = 1 }
[[routes]]
name = "saved"
models = ["saved*"]
targets = [ { backend = "first" } ]
fallback = [ { backend = "second", model = "backup@ttft=0,tps=0" } ]
retry = { attempts = 2 }
[[routes]]
name = "kept"
models = ["kept*"]
targets = [ { backend = "first" } ]
fallback = [ { backend = "second", model = "backup@ttft=0,tps=0" } ]
retry = { attempts = 2 }
keepalive_s = 0.1
[[routes]]
name = "kept-alone"
models = ["lost*"]
targets = [ { backend = "first" } ]
retry = { attempts = 1 }
keepalive_s = 0.1
"""

QUICK = "ttft=0,tps=0"
OK = (200, "")
# fault: (what a whole answer becomes, what a stream becomes), each as (status, error.code); whether another backend is asked
BEFORE_THE_FIRST_WORD: dict[str, tuple[tuple[int, str], tuple[int, str], bool]] = {
    "500": ((502, "server_error"), (502, "server_error"), True),
    "500;body=html": ((502, "server_error"), (502, "server_error"), True),
    "502;body=empty": ((502, "server_error"), (502, "server_error"), True),
    "503": ((502, "overloaded"), (502, "overloaded"), True),
    "504": ((502, "server_error"), (502, "server_error"), True),
    "529": ((502, "overloaded"), (502, "overloaded"), True),
    "408": ((502, "server_error"), (502, "server_error"), True),
    "409": ((502, "server_error"), (502, "server_error"), True),
    "429=9s": ((429, "rate_limit_exceeded"), (429, "rate_limit_exceeded"), True),
    "quota": ((502, "upstream_quota"), (502, "upstream_quota"), True),
    "401": ((502, "upstream_authentication"), (502, "upstream_authentication"), True),
    "402": ((502, "upstream_quota"), (502, "upstream_quota"), True),
    "403": ((502, "upstream_authentication"), (502, "upstream_authentication"), True),
    "404": ((404, "model_not_found"), (404, "model_not_found"), True),
    "400": ((400, "invalid_value"), (400, "invalid_value"), False),
    "413": ((413, "request_too_large"), (413, "request_too_large"), False),
    "422": ((422, "unprocessable_entity"), (422, "unprocessable_entity"), False),
    "context_length": ((400, "context_length_exceeded"), (400, "context_length_exceeded"), False),
    "content_filter": ((400, "content_filter"), (400, "content_filter"), False),
    "302": ((502, "protocol"), (502, "protocol"), True),
    "reset": ((502, "connection_lost"), (502, "connection_lost"), True),
    "cut": ((502, "connection_lost"), (502, "connection_lost"), True),
    "reset=0": ((502, "connection_lost"), (502, "stream_cut"), True),
    "cut=0": ((502, "connection_lost"), (502, "stream_cut"), True),
    "hang": ((504, "total_timeout"), (504, "first_byte_timeout"), True),
    "hang=0": ((504, "total_timeout"), (504, "first_byte_timeout"), True),
    "truncate=0": ((502, "protocol"), (502, "stream_cut"), True),
    "empty": ((502, "protocol"), (502, "stream_cut"), True),
    "garbage_json=0": ((502, "protocol"), (502, "protocol"), True),
    "garbage_sse=0": ((502, "protocol"), (502, "protocol"), True),
    "error_200": ((502, "server_error"), (502, "server_error"), True),
    "error_200;status=429": ((429, "rate_limit_exceeded"), (429, "rate_limit_exceeded"), True),
    "error_200;status=401": ((502, "upstream_authentication"), (502, "upstream_authentication"), True),
    "error_200;status=529": ((502, "overloaded"), (502, "overloaded"), True),
    "error_event=0": ((502, "server_error"), (502, "server_error"), True),
    "error_event=0;style=event": ((502, "server_error"), (502, "server_error"), True),
    "error_event=0;status=503": ((502, "overloaded"), (502, "overloaded"), True),
    "content_type=text/html": (OK, (502, "protocol"), True),
    "huge_line=200k": (OK, (502, "protocol"), False),
}
# Their bodies may be long, slow or odd, but nothing is wrong with them.
HARMLESS = [
    "no_usage", "trickle=0ms", "comments=3", "burst", "crlf", "gzip", "latency=50ms", "early_head=100ms", "no_done", "finish=length",
    "drop", "stall=2;for=100ms", "huge_line=50k",
]  # fmt: skip
MID_STREAM = {
    "reset=4": "stream_cut",
    "cut=4": "stream_cut",
    "truncate=4": "stream_cut",
    "hang=4": "idle_timeout",
    "garbage_json=4": "protocol",
    "error_event=4": "server_error",
    "error_event=4;style=openrouter": "server_error",
    "error_event=4;style=event": "server_error",
    "error_event=4;status=429": "rate_limit_exceeded",
    "error_event=4;status=401": "upstream_authentication",
}


@pytest.fixture(autouse=True)
def clean(place: Site) -> None:
    place.sim.reset()


def asked(place: Site) -> list[str]:
    """The bare models that the provider was asked for, in order. A request that a kept connection swallowed is sent once more over a new
    one, which is no second attempt: neighbours of one name count once."""
    models = [one["model"] for one in place.sim.stats(50)["last"]]
    return [model for before, model in zip([None, *models], models, strict=False) if model != before]


def events(body: bytes) -> list[bytes]:
    return [event for event in body.replace(b"\r\n", b"\n").split(b"\n\n") if event]


def error_of(answer: httpx.Response) -> dict[str, Any]:
    found = answer.json()["error"]
    assert set(found) == {"message", "type", "param", "code"}
    assert found["message"]
    return dict(found)


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize("fault", BEFORE_THE_FIRST_WORD)
def test_a_fault_before_the_first_word_has_the_status_of_whoever_must_act(place: Site, door: Door, fault: str, stream: bool) -> None:
    status, code = BEFORE_THE_FIRST_WORD[fault][stream]
    answer = door.chat(chat(f"alone@{QUICK}+{fault}", stream=stream))
    if fault == "huge_line=200k" and stream:
        # The overlong event is the second: the first has gone out.
        assert answer.status_code == 200
        assert json.loads(events(answer.content)[-1].removeprefix(b"data: "))["error"]["code"] == code
    else:
        assert answer.status_code == status, answer.text[:300]
    if status != 200 and answer.status_code != 200:
        assert error_of(answer)["code"] == code
        assert answer.headers["content-type"] == "application/json"
        assert answer.headers["x-served-by"] == "first"
    record = door.record(answer)
    assert record["status"] == answer.status_code
    assert len(record["attempts"]) == 1
    assert record["attempts"][0]["outcome"] == ("success" if status == 200 else "error")
    assert asked(place) == ["alone"]
    assert place.sim.stats()["requests"] == 1 or fault in ("reset", "cut")


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize("fault", BEFORE_THE_FIRST_WORD)
def test_another_backend_answers_what_is_not_the_callers_fault(place: Site, fault: str, stream: bool) -> None:
    door = place.door("hypercorn" if fault in ("500", "401", "cut=0") else "builtin")
    outcome, saved = BEFORE_THE_FIRST_WORD[fault][stream], BEFORE_THE_FIRST_WORD[fault][2]
    if outcome == OK or (fault == "huge_line=200k" and stream):
        saved = False
    if "hang" in fault and not stream:
        saved = False  # a whole answer has all of total_s; what took that long is not begun again
    answer = door.chat(chat(f"saved@{QUICK}+{fault}", stream=stream))
    if not saved:
        assert asked(place) == ["saved"]
        return
    assert answer.status_code == 200, answer.text[:300]
    assert asked(place) == ["saved", "backup"]
    assert answer.headers["x-served-by"] == "second"
    assert answer.headers["x-gateway-model"] == "backup@ttft=0,tps=0"
    assert answer.headers["x-gateway-attempts"] == "2"
    if stream:
        assert events(answer.content)[-1] == b"data: [DONE]"
        assert b'"error"' not in answer.content
    else:
        assert answer.json()["choices"][0]["message"]["content"]
    record = door.record(answer)
    assert record["fallbacks"] == [["first", "second"]]
    assert [one["outcome"] for one in record["attempts"]] == ["error", "success"]
    assert record["error_type"] == ""
    assert record["model"] == "backup@ttft=0,tps=0"


@pytest.mark.parametrize("fault", MID_STREAM)
def test_a_fault_after_the_first_word_is_told_in_band_and_ends_the_stream(place: Site, door: Door, fault: str) -> None:
    answer = door.chat(chat(f"saved@{QUICK}+{fault}", stream=True))
    assert answer.status_code == 200
    *passed, last = events(answer.content)
    assert len(passed) == 4
    assert all(b'"error"' not in event and b'"choices"' in event for event in passed)
    error = json.loads(last.removeprefix(b"data: "))["error"]
    assert error["code"] == MID_STREAM[fault]
    assert error["message"]
    assert b"[DONE]" not in answer.content
    assert b'"finish_reason":"' not in answer.content
    assert asked(place) == ["saved"]
    record = door.record(answer)
    assert record["status"] == 200
    assert record["attempts"][0]["outcome"] == "error"
    assert record["error_type"]
    assert record["usage"]["source"] == "estimated"
    words = "".join(json.loads(event.removeprefix(b"data: "))["choices"][0]["delta"].get("content") or "" for event in passed)
    assert record["usage"]["output_tokens"] == -(-len(words) // 4) > 0


def test_garbage_between_events_is_skipped_as_readers_skip_it(place: Site, door: Door) -> None:
    answer = door.chat(chat(f"alone@{QUICK}+garbage_sse=4", stream=True))
    assert answer.status_code == 200
    assert events(answer.content)[-1] == b"data: [DONE]"


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize("fault", HARMLESS)
def test_what_is_merely_odd_does_not_fail(place: Site, door: Door, fault: str, stream: bool) -> None:
    answer = door.chat(chat(f"alone@{QUICK}+{fault}", "[[tokens=8]]", stream=stream))
    assert answer.status_code == 200
    record = door.record(answer)
    assert (record["error_type"], record["attempts"][0]["outcome"]) == ("", "success")
    assert record["attempts"][0]["finish_reason"] == ("length" if fault == "finish=length" else "stop")
    if fault == "no_usage":
        assert record["usage"]["source"] == "estimated"
        assert 8 <= record["usage"]["output_tokens"] <= 16  # by its letters, of which the simulator's words have many
    else:
        assert (record["usage"]["source"], record["usage"]["output_tokens"]) == ("provider", 8)


@pytest.mark.parametrize("fault", ["reset=1", "cut=1", "truncate=1"])
def test_half_a_whole_answer_is_no_answer(place: Site, door: Door, fault: str) -> None:
    assert door.chat(chat(f"alone@{QUICK}+{fault}")).status_code == 502
    assert door.chat(chat(f"saved@{QUICK}+{fault}")).status_code == 200
    assert asked(place) == ["alone", "saved", "backup"]


def test_a_connection_that_the_provider_dropped_while_idle_costs_nobody_a_request(place: Site, door: Door) -> None:
    for _ in range(3):
        answer = door.chat(chat(f"alone@{QUICK}+drop"))
        assert answer.status_code == 200
        assert answer.headers["x-gateway-attempts"] == "1"


def test_a_waiting_stream_is_kept_alive_and_may_still_go_elsewhere(place: Site, door: Door) -> None:
    answer = door.chat(chat(f"kept@{QUICK}+hang=0", stream=True))
    assert answer.status_code == 200
    found = events(answer.content)
    assert found[0].startswith(b":")
    assert found[-1] == b"data: [DONE]"
    assert b'"error"' not in answer.content
    assert asked(place) == ["kept", "backup"]


def test_a_kept_alive_stream_that_nobody_answers_ends_in_an_error_event(place: Site, door: Door) -> None:
    answer = door.chat(chat(f"lost@{QUICK}+hang=0", stream=True))
    assert answer.status_code == 200
    first, *_, last = events(answer.content)
    assert first.startswith(b":")
    assert json.loads(last.removeprefix(b"data: "))["error"]["code"] == "first_byte_timeout"
    record = door.record(answer)
    assert (record["status"], record["error_type"]) == (200, "timeout")


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
def test_an_upstream_credential_never_shows(place: Site, door: Door, stream: bool) -> None:
    """The provider's own words quote part of the key and point to its account pages."""
    for fault in ("401", "403", "402", "quota", "error_200;status=401"):
        answer = door.chat(chat(f"alone@{QUICK}+{fault}", stream=stream))
        error = error_of(answer)
        assert answer.status_code == 502
        assert error["type"] == "server_error"
        for secret in ("sk-", "***", "platform.openai.com", "billing"):
            assert secret not in answer.text
        record = door.record(answer)
        assert record["error_type"] in ("authentication", "quota")
        assert "sk-" not in json.dumps(record)
    assert "sk-operator" not in place.gateway.log
    assert "sk-si" not in place.gateway.log


def test_every_provider_error_is_counted_under_the_backend_that_made_it(place: Site, door: Door) -> None:
    def counted(kind: str) -> float:
        return place.gateway.metric(f'llm_gateway_llm_gateway_errors_total{{provider="first",error_type="{kind}"}}')

    kinds = {"500": "server_error", "529": "overloaded", "429": "rate_limited", "401": "authentication", "reset": "connection",
             "garbage_json": "protocol", "context_length": "context_length", "content_filter": "content_filtered"}  # fmt: skip
    for fault, kind in kinds.items():
        before = counted(kind)
        door.chat(chat(f"saved@{QUICK}+{fault}"))
        eventually(lambda kind=kind, before=before: counted(kind) == before + 1)

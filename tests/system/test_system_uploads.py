"""Forms with files: routed by their model wherever it stands, passed on as they come, tried again while they are held, never kept whole."""

import contextlib
import json
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest
import trustme
from doors import certificate
from media_upstream import Asked, MediaUpstream
from rig import KEY, Gateway, call, eventually, refusing_port, running

BOUNDARY = "xYzBound"
MEMORY_BYTES = 262_144
SPOOL_BYTES = 3_000_000
UPLOAD_MAX_BYTES = 100_000_000
SILENCE_MAX_S = 1.5
"""Of the backend `hasty` and of the callers of the impatient gateway, for tests of silence: what is to succeed is given the usual time."""
TYPE = f"multipart/form-data; boundary={BOUNDARY}"
TEXT = {"text": "hello", "usage": {"type": "tokens", "input_tokens": 14, "output_tokens": 2, "total_tokens": 16}}
LARGE = bytes(range(256)) * 16_384  # 4 MiB: more than is held, and than the buffers of a socket

LIMITS = (
    f"upload_memory_bytes = {MEMORY_BYTES}, upload_spool_bytes = {SPOOL_BYTES}, upload_max_bytes = {UPLOAD_MAX_BYTES}, "
    "body_max_bytes = 1_000_000"
)

Script = Callable[[Asked], None]


def field(name: str, value: bytes) -> bytes:
    return f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n'.encode() + value + b"\r\n"


def file(content: bytes) -> bytes:
    head = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="file"; filename="a.wav"\r\nContent-Type: audio/wav\r\n\r\n'
    return head.encode() + content + b"\r\n"


def form(*fields: bytes) -> bytes:
    return b"".join(fields) + f"--{BOUNDARY}--\r\n".encode()


class Stage:
    """Two upstreams whose scripts a test may change, and the gateway before them."""

    def __init__(self, first: MediaUpstream, second: MediaUpstream, gateway: Gateway) -> None:
        self.first, self.second, self.gateway = first, second, gateway

    def play(self, first: Script, second: Script | None = None) -> None:
        self.first.script, self.second.script = first, second or transcribe
        del self.first.asked[:], self.second.asked[:]


def transcribe(asked: Asked) -> None:
    asked.read_body()
    asked.answer(TEXT)


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    folder = tmp_path_factory.mktemp("uploads")
    with MediaUpstream(transcribe) as first, MediaUpstream(transcribe) as second:
        gateway = Gateway(folder, config_of(first, second), head=f"limits = {{ {LIMITS} }}")
        with running(gateway):
            yield Stage(first, second, gateway)


def config_of(first: MediaUpstream, second: MediaUpstream) -> str:
    more = """provider = "custom"
breaker = { consecutive_failures = 0, failure_ratio = 0 }
"""
    return f"""
[backends.first]
base_url = "{first.url}/v1"
{more}
[backends.second]
base_url = "{second.url}/v1"
{more}
[backends.hasty]
base_url = "{first.url}/v1"
timeouts = {{ idle_s = {SILENCE_MAX_S} }}
{more}
[[routes]]
name = "two"
models = ["m", "m2"]
strategy = "priority"
targets = [ {{ backend = "first" }}, {{ backend = "second", model = "vendor/another-model" }} ]
retry = {{ backoff_s = 0.01 }}
[[routes]]
name = "drained"
models = ["drained"]
targets = [ {{ backend = "first" }} ]
on_disconnect = "drain"
[[routes]]
name = "hasty"
models = ["hasty"]
targets = [ {{ backend = "hasty" }} ]
[[routes]]
name = "renamed"
models = ["renamed"]
targets = [ {{ backend = "first", model = "vendor/another-model", overrides = {{ "language" = "de" }} }} ]
"""


@pytest.fixture
def sdk(url: str) -> openai.OpenAI:
    return openai.OpenAI(base_url=f"{url}/v1", api_key=KEY, max_retries=0, timeout=20)


@pytest.fixture(scope="module")
def gateway(stage: Stage) -> Gateway:
    return stage.gateway


def post(url: str, body: bytes, path: str = "/v1/audio/transcriptions", content_type: str = TYPE) -> tuple[int, dict[str, str], Any]:
    status, headers, answer = call(url + path, body, content_type=content_type)
    return status, headers, json.loads(answer)


class Caller:
    """One upload by hand, on a socket of its own."""

    def __init__(self, url: str, length: int | None, *lines: str, model: str = "m") -> None:
        self.sock = socket.create_connection(("127.0.0.1", int(url.rsplit(":", 1)[1])), timeout=60)
        self.identity = f"up-{time.monotonic_ns()}"
        self.chunked = length is None
        framing = "transfer-encoding: chunked" if length is None else f"content-length: {length}"
        head = (
            "POST /v1/audio/transcriptions HTTP/1.1", "host: x", f"authorization: Bearer {KEY}", f"content-type: {TYPE}",
            f"x-request-id: {self.identity}", framing, *lines, "\r\n",
        )  # fmt: skip
        self.sock.sendall("\r\n".join(head).encode())

    def send(self, data: bytes) -> None:
        self.sock.sendall(b"%x\r\n%b\r\n" % (len(data), data) if self.chunked else data)

    def end(self) -> None:
        self.sock.sendall(b"0\r\n\r\n")

    def answer(self) -> tuple[int, bytes]:
        data = b""
        while b"\r\n\r\n" not in data:
            more = self.sock.recv(65536)
            assert more, data
            data += more
            if data.startswith(b"HTTP/1.1 100 ") and b"\r\n\r\n" in data:  # which Hypercorn says at once
                data = data.partition(b"\r\n\r\n")[2]
        head, _, body = data.partition(b"\r\n\r\n")
        lower = head.lower()
        if b"content-length: " in lower:
            left = int(lower.split(b"content-length: ")[1].split(b"\r\n")[0]) - len(body)
            while left > 0:
                more = self.sock.recv(65536)
                assert more
                body += more
                left -= len(more)
        return int(head.split(b" ")[1]), body

    def __enter__(self) -> "Caller":
        return self

    def __exit__(self, *_: object) -> None:
        self.sock.close()


# what arrives -----------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [1000, len(LARGE)], ids=["held", "passing"])
@pytest.mark.parametrize("model_last", [False, True], ids=["model first", "model last"])
@pytest.mark.parametrize("chunked", [False, True], ids=["sized", "chunked"])
def test_a_form_arrives_as_it_was_sent(stage: Stage, url: str, size: int, model_last: bool, chunked: bool) -> None:
    stage.play(transcribe)
    fields = [field("model", b"m"), file(LARGE[: min(size, SPOOL_BYTES - 200_000 if model_last else size)])]
    body = form(*(reversed(fields) if model_last else fields))
    with Caller(url, None if chunked else len(body)) as caller:
        for place in range(0, len(body), 100_000):
            caller.send(body[place : place + 100_000])
        if chunked:
            caller.end()
        status, answer = caller.answer()
    assert (status, json.loads(answer)) == (200, TEXT)
    (asked,) = stage.first.asked
    assert asked.body == body
    assert asked.headers["content-type"] == TYPE
    if chunked and size > MEMORY_BYTES and not model_last:
        assert asked.headers["transfer-encoding"] == "chunked"
    elif not chunked or size < MEMORY_BYTES:
        assert asked.headers["content-length"] == str(len(body))
    record = stage.gateway.record(caller.identity)
    assert (record["status"], record["model"], record["route"], record["usage"]["input_tokens"]) == (200, "m", "two", 14)
    line = eventually(lambda: [one for one in stage.gateway.requests() if one["request_id"] == caller.identity])[0]
    assert line["bytes_in"] == len(body)


@pytest.mark.parametrize("size", [1000, len(LARGE)], ids=["held", "passing"])
@pytest.mark.parametrize("chunked", [False, True], ids=["sized", "chunked"])
def test_another_model_and_overrides_are_put_in_and_the_length_told_anew(stage: Stage, url: str, size: int, chunked: bool) -> None:
    stage.play(transcribe)
    body = form(field("language", b"en"), field("model", b"renamed"), file(LARGE[:size]))
    with Caller(url, None if chunked else len(body)) as caller:
        caller.send(body)
        if chunked:
            caller.end()
        assert caller.answer()[0] == 200
    (asked,) = stage.first.asked
    assert asked.body == form(field("language", b"de"), field("model", b"vendor/another-model"), file(LARGE[:size]))
    if not chunked:
        assert int(asked.headers["content-length"]) == len(asked.body)


def test_the_official_sdk_transcribes_edits_and_streams(stage: Stage, sdk: openai.OpenAI) -> None:
    stage.play(transcribe)
    assert sdk.audio.transcriptions.create(file=("a.wav", LARGE), model="m").text == "hello"

    def subtitles(asked: Asked) -> None:
        asked.read_body()
        asked.answer(b"1\n00:00:00,000 --> 00:00:01,000\nhello\n", "text/plain; charset=utf-8")

    stage.play(subtitles)
    assert "hello" in str(sdk.audio.transcriptions.create(file=("a.wav", b"RIFF"), model="m", response_format="srt"))

    events = (
        {"type": "transcript.text.delta", "delta": "hel"}, {"type": "transcript.text.delta", "delta": "lo"},
        {"type": "transcript.text.done", "text": "hello", "usage": {**TEXT["usage"], "input_token_details": {"audio_tokens": 14}}},
    )  # fmt: skip

    def stream(asked: Asked) -> None:
        asked.read_body()
        asked.start("text/event-stream", transfer_encoding="chunked")
        for one in events:
            asked.chunk(b"data: " + json.dumps(one).encode() + b"\n\n")
            time.sleep(0.02)
        asked.send(b"0\r\n\r\n")

    for content in (b"RIFF", LARGE):
        stage.play(stream)
        heard = list(sdk.audio.transcriptions.create(file=("a.wav", content), model="m", stream=True))
        assert [one.type for one in heard] == [one["type"] for one in events]
    line = eventually(lambda: [one for one in stage.gateway.requests() if one["stream"] and one["output_tokens"] == 2][1:])[0]
    assert line["ttft_ms"] is not None

    def draw(asked: Asked) -> None:
        asked.read_body()
        asked.answer({"created": 1, "data": [{"b64_json": "aGk="}]})

    stage.play(draw)
    edited = sdk.images.edit(image=[("a.png", b"PNG" * 1000), ("b.png", LARGE)], prompt="a hat", model="m")
    assert edited.data is not None
    assert edited.data[0].b64_json == "aGk="
    assert stage.first.asked[0].path == "/v1/images/edits"
    assert stage.first.asked[0].body.count(LARGE) == 1


def test_a_transcriber_may_speak_while_it_listens(stage: Stage, url: str) -> None:
    """Both directions at once, each as far as the other side takes it."""
    said = b'data: {"type":"transcript.text.delta","delta":"hel"}\n\n', b'data: {"type":"transcript.text.done","text":"hello"}\n\n'

    def speak(asked: Asked) -> None:
        asked.start("text/event-stream", transfer_encoding="chunked")
        asked.chunk(said[0])
        asked.read_body()
        asked.chunk(said[1])
        asked.send(b"0\r\n\r\n")

    stage.play(speak)
    body = form(field("model", b"hasty"), field("stream", b"true"), file(LARGE))
    with Caller(url, len(body)) as caller:
        caller.send(body[:3_000_000])
        heard = b""
        while said[0] not in heard:
            more = caller.sock.recv(65536)
            assert more, heard
            heard += more
        time.sleep(SILENCE_MAX_S * 1.5)  # longer than a backend may be silent: it is the caller who is
        caller.send(body[3_000_000:])
        while not heard.endswith(b"\r\n0\r\n\r\n"):
            more = caller.sock.recv(65536)
            assert more, heard
            heard += more
    assert b" 200 " in heard.split(b"\r\n")[0]
    assert said[1] in heard
    assert stage.first.asked[0].body == body
    assert stage.gateway.record(caller.identity)["error_type"] == ""


def test_a_form_without_a_file_is_one_too(stage: Stage, url: str) -> None:
    stage.play(transcribe)
    status, _, _ = post(url, form(field("model", b"m"), field("file_url", b"https://example.com/a.wav")))
    assert status == 200


# retry and fallback -----------------------------------------------------------------------------------------------------------------------


def refuse_before_reading(status: int) -> Script:
    def script(asked: Asked) -> None:
        asked.answer({"error": {"message": "not now", "type": "server_error"}}, status=status, connection="close")
        asked.gone()

    return script


def refuse_after_reading(asked: Asked) -> None:
    asked.read_body()
    asked.answer({"error": {"message": "broken", "type": "server_error"}}, status=500)


def test_what_is_held_is_sent_again_elsewhere_with_that_backends_model(stage: Stage, url: str) -> None:
    stage.play(refuse_after_reading)
    body = form(field("model", b"m"), file(LARGE[:100_000]))
    status, headers, _ = post(url, body)
    assert (status, headers["x-served-by"], headers["x-gateway-attempts"]) == (200, "second", "2")
    assert stage.second.asked[0].body == form(field("model", b"vendor/another-model"), file(LARGE[:100_000]))


def test_what_was_spooled_is_sent_again_too(stage: Stage, url: str) -> None:
    stage.play(refuse_after_reading)
    body = form(file(LARGE[:2_000_000]), field("model", b"m"))
    status, headers, _ = post(url, body)
    assert (status, headers["x-served-by"]) == (200, "second")
    assert stage.first.asked[0].body == body
    assert stage.second.asked[0].body == form(file(LARGE[:2_000_000]), field("model", b"vendor/another-model"))


def test_a_backend_that_cannot_be_reached_costs_nothing_of_a_long_upload(stage: Stage, tmp_path: Path) -> None:
    stage.play(transcribe)
    config = """
[backends.dead]
provider = "custom"
base_url = "http://127.0.0.1:{port}/v1"
[backends.alive]
provider = "custom"
base_url = "{alive}/v1"
[[routes]]
name = "r"
strategy = "priority"
targets = [ {{ backend = "dead" }}, {{ backend = "alive" }} ]
"""
    with refusing_port() as port:
        gateway = Gateway(tmp_path, config.format(port=port, alive=stage.first.url))
        with running(gateway):
            status, headers, _ = post(gateway.url, form(field("model", b"m"), file(LARGE)))
    assert (status, headers["x-served-by"], headers["x-gateway-attempts"]) == (200, "alive", "2")
    assert stage.first.asked[0].body.count(LARGE) == 1


def test_what_is_gone_is_tried_once_and_the_error_says_why(stage: Stage, url: str) -> None:
    stage.play(refuse_after_reading)
    status, headers, answer = post(url, form(field("model", b"m"), file(LARGE)))
    assert (status, headers["x-gateway-attempts"]) == (502, "1")
    assert "could not be sent again" in answer["error"]["message"]
    assert stage.second.asked == []


@pytest.mark.parametrize(("status", "seen", "door"), [(401, 502, "builtin"), (413, 413, "builtin"), (400, 400, "hypercorn")])
def test_an_early_answer_is_heard_and_ends_the_upload(stage: Stage, status: int, seen: int, door: str) -> None:
    """Half of the form is never sent: whoever waits for the end of it hangs here. Hypercorn's door waits five seconds for it."""
    url = stage.gateway.url if door == "builtin" else stage.gateway.hypercorn_url
    stage.play(refuse_before_reading(status), refuse_before_reading(status))
    body = form(field("model", b"m"), file(LARGE))
    started = time.monotonic()
    with Caller(url, len(body)) as caller:
        caller.send(body[: len(body) // 2])
        assert caller.answer()[0] == seen
    assert time.monotonic() - started < 25
    assert stage.gateway.record(caller.identity)["attempts"][0]["status"] == status


def test_a_busy_backend_that_answers_before_it_reads_is_followed_by_another(stage: Stage, url: str) -> None:
    stage.play(refuse_before_reading(503))
    body = form(field("model", b"m"), file(LARGE[: MEMORY_BYTES - 50_000]))
    status, headers, _ = post(url, body)
    assert (status, headers["x-served-by"]) == (200, "second")


# who is slow, and who leaves --------------------------------------------------------------------------------------------------------------


def test_a_slow_backend_slows_the_caller_and_little_is_kept(stage: Stage, url: str) -> None:
    size = 64 * 1024 * 1024
    go_on = threading.Event()

    def slow(asked: Asked) -> None:
        go_on.wait(60)
        asked.read_body(keep=False)
        asked.answer(TEXT)

    stage.play(transcribe)
    post(url, form(field("model", b"m"), file(LARGE)))
    before_kb = stage.gateway.rss_kb()
    stage.play(slow)
    begin = field("model", b"m") + file(b"")[:-2]
    end = b"\r\n" + form()
    peak_kb, sent = 0, 0
    piece = bytes(1 << 20)
    with Caller(url, len(begin) + size + len(end)) as caller:
        caller.send(begin)
        caller.sock.settimeout(0.5)
        with contextlib.suppress(TimeoutError):
            while sent < size:
                sent += caller.sock.send(piece[: size - sent])
        assert sent < size, "the caller was not held back"
        peak_kb = rss_kb(stage.gateway)
        caller.sock.settimeout(60)
        go_on.set()
        while sent < size:
            sent += caller.sock.send(piece[: size - sent])
            peak_kb = max(peak_kb, rss_kb(stage.gateway))
        caller.send(end)
        assert caller.answer()[0] == 200
    print(f"{peak_kb - before_kb} kB more")
    assert peak_kb - before_kb < 12_000, f"{peak_kb - before_kb} kB more for an upload of 64 MiB"


def rss_kb(gateway: Gateway) -> int:
    return next(int(line.split()[1]) for line in Path(f"/proc/{gateway.pid}/status").read_text().splitlines() if line.startswith("VmRSS:"))


def test_a_backend_that_takes_nothing_is_given_up(stage: Stage, url: str) -> None:
    over = threading.Event()

    def deaf(asked: Asked) -> None:
        over.wait(60)

    stage.play(deaf)
    size = 20_000_000
    body = form(field("model", b"hasty"), file(bytes(size)))
    with Caller(url, len(body)) as caller:
        writer = threading.Thread(target=lambda: quietly(caller.send, body))
        writer.start()
        status, answer = caller.answer()
        caller.sock.shutdown(socket.SHUT_RDWR)
        writer.join()
    over.set()
    error = json.loads(answer)["error"]
    assert (status, error["code"]) == (504, "idle_timeout")
    assert "took nothing of the upload" in error["message"]


def quietly(work: Callable[..., object], *arguments: object) -> None:
    with contextlib.suppress(OSError):
        work(*arguments)


@pytest.fixture(scope="module")
def impatient(stage: Stage, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """Another gateway before the same upstreams, whose callers may not be silent for long."""
    limits = f"limits = {{ {LIMITS}, body_read_s = {SILENCE_MAX_S} }}"
    one = Gateway(tmp_path_factory.mktemp("impatient"), config_of(stage.first, stage.second), head=limits)
    with running(one):
        yield one


@pytest.mark.parametrize("engine", ["builtin", "hypercorn"])
def test_a_caller_who_falls_silent_is_told_and_the_upstream_closed(stage: Stage, impatient: Gateway, engine: str) -> None:
    gone: list[bool] = []

    def listen(asked: Asked) -> None:
        gone.append(asked.gone())

    stage.play(listen)
    body = form(field("model", b"m"), file(LARGE))
    with Caller(impatient.url if engine == "builtin" else impatient.hypercorn_url, len(body)) as caller:
        caller.send(body[: len(body) // 2])
        status, answer = caller.answer()
    assert (status, json.loads(answer)["error"]["code"]) == (408, "request_timeout")
    assert eventually(lambda: gone) == [True]
    record = impatient.record(caller.identity)
    assert (record["status"], record["error_type"]) == (408, "request_timeout")


@pytest.mark.parametrize("where", ["passing", "before its model", "drained"])
def test_when_a_caller_leaves_the_upstream_is_closed_and_the_record_says_so(stage: Stage, url: str, where: str) -> None:
    gone: list[bool] = []

    def listen(asked: Asked) -> None:
        gone.append(asked.gone())

    stage.play(listen)
    parts = [field("model", b"drained" if where == "drained" else b"m"), file(LARGE)]
    body = form(*(parts[::-1] if where == "before its model" else parts))
    caller = Caller(url, len(body))
    caller.send(body[:2_000_000])
    if where != "before its model":
        eventually(lambda: stage.first.asked)
    time.sleep(0.1)
    caller.sock.close()
    record = stage.gateway.record(caller.identity)
    assert (record["status"], record["error_type"]) == (499, "client_gone")
    if where != "before its model":
        assert eventually(lambda: gone) == [True]
        assert record["attempts"][0]["outcome"] == "cancelled"
    assert "Traceback" not in stage.gateway.log


def test_an_expectation_is_met_when_the_body_is_wanted_and_not_before(stage: Stage, url: str) -> None:
    stage.play(transcribe)
    body = form(field("model", b"m"), file(LARGE))
    with Caller(url, len(body), "expect: 100-continue") as caller:
        assert caller.sock.recv(100).startswith(b"HTTP/1.1 100 ")
        caller.send(body)
        assert caller.answer()[0] == 200
    with Caller(stage.gateway.url, UPLOAD_MAX_BYTES + 1, "expect: 100-continue") as caller:
        assert caller.sock.recv(100).startswith(b"HTTP/1.1 413 ")


# what is refused --------------------------------------------------------------------------------------------------------------------------


REFUSED = {
    "no boundary": (form(field("model", b"m")), "multipart/form-data", 400, "Content-Type", "invalid_form"),
    "another type": (b"model=m", "application/x-www-form-urlencoded", 415, None, "unsupported_media"),
    "no model": (form(file(b"x")), TYPE, 400, "model", "missing_required_parameter"),
    "two models": (form(field("model", b"m"), field("model", b"m2"), file(b"x")), TYPE, 400, "model", "duplicate_field"),
    "an empty model": (form(field("model", b""), file(b"x")), TYPE, 400, "model", "missing_required_parameter"),
    "a long model": (form(field("model", b"m" * 5000)), TYPE, 400, "model", "invalid_form"),
    "an unknown model": (form(field("model", b"nobody"), file(b"x")), TYPE, 404, "model", "model_not_found"),
    "cut short": (form(field("model", b"m"), file(b"x"))[:-8], TYPE, 400, None, "invalid_form"),
    "another thing": (b'{"model": "m"}', TYPE, 400, None, "invalid_form"),
    "a model behind more than may be spooled": (form(file(LARGE), field("model", b"m")), TYPE, 400, "model", "missing_required_parameter"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_served_is_one_clear_error(stage: Stage, url: str, name: str) -> None:
    stage.play(transcribe)
    body, content_type, expected, param, code = REFUSED[name]
    status, _, answer = post(url, body, content_type=content_type)
    error = answer["error"]
    assert (status, error["param"], error["code"]) == (expected, param, code)
    assert stage.first.asked == []


@pytest.mark.parametrize(
    "late", [field("model", b"m"), b"--" + BOUNDARY.encode() + b"oops\r\n"], ids=["a second model", "a broken boundary"]
)
def test_what_is_found_wrong_on_the_way_ends_the_attempt_and_is_the_callers_fault(stage: Stage, url: str, late: bytes) -> None:
    ended: list[bool] = []

    def listen(asked: Asked) -> None:
        try:
            asked.read_body(keep=False)
        except EOFError:
            ended.append(True)

    stage.play(listen)
    status, headers, answer = post(url, form(field("model", b"m"), file(LARGE), late))
    assert (status, headers["x-gateway-attempts"]) == (400, "1")
    assert answer["error"]["code"] in ("duplicate_field", "invalid_form")
    assert eventually(lambda: ended) == [True]
    assert stage.second.asked == []


def test_a_field_that_the_operator_sets_must_not_come_after_the_file(stage: Stage, url: str) -> None:
    stage.play(transcribe)
    status, _, answer = post(url, form(field("model", b"renamed"), file(LARGE), field("language", b"en")))
    assert (status, answer["error"]["param"]) == (400, "language")


def test_more_than_the_limit_is_refused_though_nobody_announced_it(stage: Stage) -> None:
    stage.play(lambda asked: quietly(asked.read_body, False))
    with Caller(stage.gateway.url, None) as caller:
        caller.send(field("model", b"m") + file(b"")[:-2])
        writer = threading.Thread(target=lambda: quietly(send_many, caller))
        writer.start()
        assert caller.answer()[0] == 413
        caller.sock.shutdown(socket.SHUT_RDWR)
        writer.join()


def send_many(caller: Caller) -> None:
    for _ in range(120):
        caller.send(bytes(1_000_000))


def test_a_stranger_s_form_is_not_read(stage: Stage, url: str) -> None:
    status, _, _ = call(url + "/v1/audio/transcriptions", form(field("model", b"m")), content_type=TYPE, authorization="Bearer sk-wrong")
    assert status == 401


def test_a_caller_over_http2_uploads_too_and_hears_of_refusals(stage: Stage, tmp_path: Path) -> None:
    """Of a refused form the rest is read for five seconds, in which its client hears of it: these are sent in a tenth of that."""
    stage.play(transcribe)
    part = LARGE[: 4 * MEMORY_BYTES]
    authority = trustme.CA()
    config = f"""
[backends.first]
provider = "custom"
base_url = "{stage.first.url}/v1"
[[routes]]
name = "r"
models = ["m"]
targets = [ {{ backend = "first" }} ]
"""
    limits = f"limits = {{ upload_memory_bytes = {MEMORY_BYTES}, upload_max_bytes = {len(part) + 1000} }}"
    gateway = Gateway(tmp_path, config, head=limits, tls=certificate(tmp_path, authority, "127.0.0.1"))
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    authority.configure_trust(tls)
    body = form(field("model", b"m"), file(part))
    headers = {"content-type": TYPE, "authorization": f"Bearer {KEY}"}
    with running(gateway), httpx.Client(base_url=gateway.tls_url, verify=tls, http2=True, trust_env=False, timeout=20) as client:
        for content in (body, iter([body[:50], body[50:-50], body[-50:]])):
            answer = client.post("/v1/audio/transcriptions", content=content, headers=headers)
            assert (answer.http_version, answer.status_code, answer.json()) == ("HTTP/2", 200, TEXT)
            assert stage.first.asked[-1].body == body
        refused = client.post("/v1/audio/transcriptions", content=form(field("model", b"nobody"), file(part)), headers=headers)
        assert (refused.status_code, refused.json()["error"]["code"]) == (404, "model_not_found")
        refused = client.post("/v1/audio/transcriptions", content=form(field("model", b"m"), file(part + part)), headers=headers)
        assert refused.status_code == 413
        assert client.post("/v1/audio/transcriptions", content=body, headers=headers).status_code == 200


def test_nothing_is_left_open_or_on_disk(stage: Stage) -> None:
    descriptors = Path(f"/proc/{stage.gateway.pid}/fd")
    eventually(lambda: not [one for one in descriptors.iterdir() if "deleted" in str(one.readlink())])

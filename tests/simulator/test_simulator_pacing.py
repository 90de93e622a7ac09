"""Answers are paced as asked, by absolute deadlines, and are the same every time."""

import pytest
import trio

from appliance.simulator.answer import Answer, Ending, Piece, whole
from appliance.simulator.model_name import ModelName, parse_duration, parse_model, parse_speed
from appliance.simulator.player import play
from appliance.simulator.settings import Settings, Speed

FIFTY = [{"role": "user", "content": "[[tokens=50]]"}]


@pytest.mark.parametrize("stream", [True, False])
async def test_an_answer_takes_the_time_of_its_tokens(sim, stream):
    """50 tokens at 100/s after 100 ms: the last is due at 0.6 s."""
    began = trio.current_time()
    wire = await sim.wire("sim@ttft=100ms,tps=100", stream=stream, messages=FIFTY, quiet_s=6)
    assert 0.59 <= trio.current_time() - began < 6
    assert wire.complete


async def test_the_header_and_the_settings_set_the_speed_too(sim, start):
    async with sim.http() as client:
        began = trio.current_time()
        await client.post("/v1/chat/completions", json={"model": "sim", "messages": FIFTY}, headers={"x-sim-speed": "ttft=300ms"})
        assert trio.current_time() - began >= 0.3
    async with start(Settings(speeds={"slow*": Speed(0.3, 0)})) as other:
        began = trio.current_time()
        await other.wire("slow-one", messages=FIFTY)
        assert trio.current_time() - began >= 0.3


async def test_a_slow_reader_of_one_event_does_not_delay_the_next(autojump_clock):
    """Each send takes 8 ms of the 10 ms that events are apart: the hundredth still leaves on its own time."""
    sent_at = []

    async def send(message):
        if message.get("body"):
            sent_at.append(trio.current_time())
            await trio.sleep(0.008)

    began = trio.current_time()
    pieces = (Piece(0.5 + i * 0.01, b"x") for i in range(100))
    await play(Answer(200, (), pieces, stream=True), send, None, Settings(), lambda *_: None)
    assert [round(t - began, 6) for t in sent_at] == [round(0.5 + i * 0.01, 6) for i in range(100)]


async def test_late_pieces_catch_up(autojump_clock):
    sent_at = []

    async def send(message):
        if message.get("body"):
            sent_at.append(trio.current_time())
            if len(sent_at) == 1:
                await trio.sleep(1)

    began = trio.current_time()
    await play(Answer(200, (), (Piece(i * 0.1, b"x") for i in range(20)), stream=True), send, None, Settings(), lambda *_: None)
    assert round(sent_at[5] - began, 6) == 1
    assert round(sent_at[19] - began, 6) == 1.9


async def test_a_stream_longer_than_its_bound_ends_there(autojump_clock):
    messages = []

    async def send(message):
        messages.append(message)

    answer = Answer(200, (), (Piece(float(i), b"x") for i in range(10_000)), stream=True, ending=Ending.COMPLETE)
    began = trio.current_time()
    await play(answer, send, None, Settings(stream_max_s=30), lambda *_: None)
    assert trio.current_time() - began == pytest.approx(30)
    assert messages[-1]["more_body"] is False


async def test_a_whole_answer_that_takes_longer_than_a_stream_may_comes_whole(autojump_clock):
    messages = []

    async def send(message):
        messages.append(message)

    began = trio.current_time()
    await play(whole({"x": 1}, due_s=40.0), send, None, Settings(stream_max_s=30), lambda *_: None)
    assert trio.current_time() - began == pytest.approx(40)
    assert b"".join(message.get("body", b"") for message in messages) == b'{\n  "x": 1\n}'


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/completions", "/v1/embeddings"])
async def test_the_same_request_gets_the_same_bytes(start, path, stream):
    fields = {"input": "x"} if path.endswith("embeddings") else {"prompt": "x"}
    bodies = []
    for _ in range(2):
        async with start(Settings()) as sim:
            bodies += [(await sim.wire("sim", path=path, stream=stream, **fields)).body for _ in range(2)]
    assert len(set(bodies)) == 1


async def test_another_question_model_or_seed_gets_another_answer(sim):
    asked = [
        await sim.wire("sim"),
        await sim.wire("other"),
        await sim.wire("sim", seed=7),
        await sim.wire("sim", messages=[{"role": "user", "content": "Else?"}]),
    ]
    assert len({w.json["choices"][0]["message"]["content"] for w in asked}) == 4
    assert len({w.json["id"] for w in asked}) == 4


async def test_speed_and_fault_in_the_name_do_not_change_the_words(sim):
    asked = [await sim.wire(m) for m in ("sim", "sim@tps=0", "sim+latency=1ms", "sim@tps=0+latency=1ms")]
    assert len({w.json["choices"][0]["message"]["content"] for w in asked}) == 1
    assert asked[3].json["model"] == "sim@tps=0+latency=1ms"


async def test_created_follows_a_clock_when_there_is_one(start):
    async with start(Settings(clock=lambda: 1234.5)) as sim:
        assert (await sim.wire("sim")).json["created"] == 1234
        assert (await sim.wire("sim", path="/v1/completions", prompt="x")).json["created"] == 1234


@pytest.mark.parametrize(
    ("asked", "read"),
    [
        ("gpt-4o", ModelName("gpt-4o", "gpt-4o")),
        ("sim+500", ModelName("sim+500", "sim", "", "500")),
        ("sim@tps=20", ModelName("sim@tps=20", "sim", "tps=20")),
        ("a/b@ttft=1s,tps=2+cut=3+gzip", ModelName("a/b@ttft=1s,tps=2+cut=3+gzip", "a/b", "ttft=1s,tps=2", "cut=3+gzip")),
        ("claude-3-5@20240620", ModelName("claude-3-5@20240620", "claude-3-5@20240620")),
        ("claude-3-5@20240620@tps=1", ModelName("claude-3-5@20240620@tps=1", "claude-3-5@20240620", "tps=1")),
    ],
)
def test_a_model_name_is_name_speed_and_fault(asked, read):
    assert parse_model(asked) == read


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("3", 3), ("3s", 3), ("250ms", 0.25), ("1.5m", 90), ("", None), ("-1", None), ("1h", None), ("3601", None), ("1e3", None)],
)
def test_durations(text, seconds):
    assert parse_duration(text) == seconds


@pytest.mark.parametrize(
    ("text", "speed"),
    [
        ("tps=20", Speed(0.01, 20)),
        ("ttft=2s", Speed(2, 500)),
        ("tps=0.5, ttft=0", Speed(0, 0.5)),
        ("tps=", None),
        ("tps=-1", None),
        ("speed=3", None),
        ("ttft=2s,", None),
    ],
)
def test_speeds(text, speed):
    read = parse_speed(text, Speed())
    assert read == speed if speed is not None else isinstance(read, str)


async def test_a_mistaken_speed_is_refused(sim):
    wire = await sim.wire("sim@tps=fast")
    assert (wire.status, wire.json["error"]["param"]) == (400, "speed")

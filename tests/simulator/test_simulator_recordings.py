"""Recordings are served as they were recorded, whole and streamed, and nothing outside their folder ever is."""

import struct
from pathlib import Path
from zlib import crc32

import orjson
import pytest

from appliance.simulator.settings import Settings

SHARED = Path(__file__).resolve().parents[2].parent / "shared" / "recordings"

WHOLE = b'{ "object": "chat.completion", "choices": [] }\n'
CHUNKS = [b'{"object":"chat.completion.chunk","n":%d}' % i for i in range(3)]
NAMED = [b'{"type":"message_start"}', b'{"type":"message_stop"}']
GEMINI = [b'{"candidates":[{"n":1}]}', b'{"candidates":[{"n":2}]}']
BEDROCK = [b'{"messageStart":{"role":"assistant"}}', b'{"messageStop":{"stopReason":"end_turn"}}']
RAW = b'data: {"a":1}\n\n: note\n\ndata: {"a":2}\n\n'


@pytest.fixture
def folder(tmp_path):
    wire = tmp_path / "recordings" / "wire"
    for name, data in {
        "acme/text.json": WHOLE,
        "acme/text.chunks.txt": b"\n".join(CHUNKS) + b"\n",
        "acme/named.1.chunks.txt": b"\n".join(NAMED),
        "acme/gemini.chunks.txt": b"\n".join(GEMINI),
        "acme/bedrock.chunks.txt": b"\n".join(BEDROCK),
        "acme/raw.sse": RAW,
        "acme/busy.json": b'{"error":{"code":429,"message":"quota"}}',
        "acme/bad.json": b'{"error":{"code":"unsupported_parameter"}}',
        "acme/.hidden.json": b"{}",
        "acme/notes.md": b"secret",
    }.items():
        path = wire / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    (tmp_path / "outside.json").write_bytes(b'{"secret":1}')
    (wire / "acme" / "link.json").symlink_to(tmp_path / "outside.json")
    (wire / "outside").symlink_to(tmp_path)
    return tmp_path / "recordings"


async def test_a_whole_recording_is_served_byte_for_byte(start, folder):
    async with start(Settings(recordings=folder)) as sim:
        wire = await sim.wire("rec/acme/text")
        assert (wire.status, wire.body) == (200, WHOLE)
        by_path = await sim.wire("anything", path="/rec/acme/text")
        assert by_path.body == WHOLE


@pytest.mark.parametrize(
    ("name", "body"),
    [
        ("text", b"".join(b"data: %b\n\n" % c for c in CHUNKS) + b"data: [DONE]\n\n"),
        ("named.1", b"event: message_start\ndata: %b\n\nevent: message_stop\ndata: %b\n\n" % tuple(NAMED)),
        ("gemini", b"".join(b"data: %b\r\n\r\n" % c for c in GEMINI)),
        ("raw", RAW),
    ],
)
async def test_a_stream_is_framed_as_its_language_frames_it(start, folder, name, body):
    async with start(Settings(recordings=folder)) as sim:
        wire = await sim.wire(f"rec/acme/{name}", stream=True)
    assert (wire.body, wire.complete, wire.header("content-type")) == (body, True, "text/event-stream; charset=utf-8")


async def test_bedrock_is_framed_in_binary_with_good_checksums(start, folder):
    async with start(Settings(recordings=folder)) as sim:
        wire = await sim.wire("rec/acme/bedrock", stream=True)
    assert wire.header("content-type") == "application/vnd.amazon.eventstream"
    rest, found = wire.body, []
    while rest:
        total, headers, check = struct.unpack(">III", rest[:12])
        assert check == crc32(rest[:8])
        assert struct.unpack(">I", rest[total - 4 : total])[0] == crc32(rest[: total - 4])
        found.append((rest[12 : 12 + headers], orjson.loads(rest[12 + headers : total - 4])))
        rest = rest[total:]
    assert [body for _, body in found] == [{"role": "assistant"}, {"stopReason": "end_turn"}]
    assert b"\x0b:event-type\x07\x00\x0cmessageStart" in found[0][0]


async def test_other_languages_find_their_recordings_on_their_own_paths(start, folder):
    async with start(Settings(recordings=folder)) as sim:
        gemini = await sim.wire("", path="/v1beta/models/rec/acme/gemini:streamGenerateContent")
        assert gemini.events == [b"data: " + e for e in GEMINI]
        messages = await sim.wire("rec/acme/named.1", path="/v1/messages", stream=True)
        assert messages.events[0].startswith(b"event: message_start")


async def test_a_recorded_error_has_its_status(start, folder):
    async with start(Settings(recordings=folder)) as sim:
        assert (await sim.wire("rec/acme/busy")).status == 429
        assert (await sim.wire("rec/acme/bad")).status == 400


async def test_speed_and_faults_meet_recordings_too(start, folder):
    async with start(Settings(recordings=folder)) as sim:
        cut = await sim.wire("rec/acme/text+cut=2", stream=True)
        assert (len(cut.events), cut.complete) == (2, False)
        assert (await sim.wire("rec/acme/text@ttft=0,tps=0+503")).status == 503


async def test_models_list_the_recordings_that_can_be_had(start, folder):
    async with start(Settings(recordings=folder)) as sim, sim.http() as client:
        listed = [m["id"] for m in (await client.get("/v1/models")).json()["data"]]
        one = await client.get("/v1/models/rec/acme/text")
    names = ["bad", "bedrock", "busy", "gemini", "named.1", "raw", "text"]
    assert [m for m in listed if m.startswith("rec/")] == [f"rec/acme/{n}" for n in names]
    assert one.json()["id"] == "rec/acme/text"


@pytest.mark.parametrize(
    "name",
    [
        "rec/acme/absent",
        "rec/acme/link",
        "rec/acme/.hidden",
        "rec/acme/notes.md",
        "rec/outside/outside",
        "rec/../outside",
        "rec/acme/../../outside",
        "rec/acme/..%2f..%2foutside",
        "rec//etc/passwd",
        "rec/acme/text/../../../outside",
        "rec/acme/text\x00",
    ],
)
async def test_nothing_outside_the_folder_is_served(start, folder, name):
    async with start(Settings(recordings=folder)) as sim:
        wire = await sim.wire(name)
    assert wire.status == 404
    assert b"secret" not in wire.body


async def test_a_form_that_was_not_recorded_is_said_so(start, folder):
    async with start(Settings(recordings=folder)) as sim:
        wire = await sim.wire("rec/acme/raw")
    assert wire.status == 404
    assert "only a streamed one" in wire.json["error"]["message"]


async def test_a_recording_above_the_bound_is_not_served(start, folder):
    async with start(Settings(recordings=folder, recording_max_bytes=10)) as sim:
        assert (await sim.wire("rec/acme/text")).status == 404


@pytest.mark.skipif(not SHARED.is_dir(), reason="no folder of recordings beside the project")
async def test_every_recording_at_hand_is_served_as_it_lies_there(start):
    async with start(Settings(recordings=SHARED)) as sim, sim.http() as client:
        names = [m["id"] for m in (await client.get("/v1/models")).json()["data"] if m["id"].startswith("rec/")]
        assert len(names) > 50
        for name in names:
            path = SHARED / "wire" / name.removeprefix("rec/")
            whole = path.with_name(path.name + ".json")
            if whole.exists():
                assert (await client.post("/v1/chat/completions", json={"model": name + "@ttft=0"})).content == whole.read_bytes()
            chunks = path.with_name(path.name + ".chunks.txt")
            if chunks.exists():
                events = [line for line in chunks.read_bytes().splitlines() if line.strip()]
                answer = await client.post("/v1/chat/completions", json={"model": name + "@ttft=0,tps=0+burst", "stream": True})
                if "event-stream; " in answer.headers["content-type"]:
                    sent = [line[6:] for line in answer.content.splitlines() if line.startswith(b"data: ")]
                    assert sent[: len(events)] == events

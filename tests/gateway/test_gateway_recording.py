"""A recording is what went out, byte for byte, and is given up where there is no room; its room comes back."""

import pytest

from appliance.core.record import RequestRecord
from appliance.gateway.call import Outlet
from appliance.gateway.recording import Recording, RecordingRoom

HEADERS = [(b"content-type", b"text/plain")]


class Engine:
    """Takes some pieces and leaves others to `send`, as the built-in engine does."""

    def __init__(self, answers: list[bool | None]) -> None:
        self.answers, self.sent = answers, []

    def push(self, body: bytes) -> bool | None:
        taken = self.answers.pop(0)
        if taken is not None:
            self.sent.append(body)
        return taken

    def push_whole(self, status: int, headers: list[tuple[bytes, bytes]], body: bytes) -> bool | None:
        self.sent.append(headers)
        return self.push(body)


def outlet(sent: list[dict[str, object]], engine: Engine | None = None) -> Outlet:
    async def send(message: dict[str, object]) -> None:
        sent.append(message)

    return Outlet(send, RequestRecord("1", "1", 0.0, 0.0), 0.0, engine)


def recording(room: RecordingRoom, most: int = 100) -> Recording:
    return Recording(room, most, [(b"x-cache", b"MISS")])


async def test_a_stream_is_recorded_by_whichever_way_it_went_and_only_its_caller_gets_the_header() -> None:
    sent: list[dict[str, object]] = []
    engine = Engine([True, None, True])
    one, tape = outlet(sent, engine), recording(RecordingRoom(1000))
    one.through(tape)
    await one.start(200, HEADERS)
    await one.write(b"a")
    assert one.push(b"b", 1.0)
    assert not one.push(b"c", 1.0)
    await one.settle()
    await one.keep_alive(lambda: b"k", list)
    assert one.push(b"d", 1.0)
    await one.write(b"e", more=False)
    assert (tape.status, tape.headers, bytes(tape.body or b"")) == (200, HEADERS, b"abckde")
    assert sent[0]["headers"] == [*HEADERS, (b"x-cache", b"MISS")]


@pytest.mark.parametrize("taken", [True, None])
async def test_a_whole_answer_is_recorded_once(taken: bool | None) -> None:
    sent: list[dict[str, object]] = []
    one, tape = outlet(sent, Engine([taken])), recording(RecordingRoom(1000))
    one.through(tape)
    await one.answer(200, HEADERS, b"whole", 1.0)
    assert (tape.status, tape.headers, bytes(tape.body or b"")) == (200, HEADERS, b"whole")


async def test_a_long_answer_is_sent_and_not_recorded_and_its_room_comes_back() -> None:
    room, sent = RecordingRoom(1000), []
    one, tape = outlet(sent), recording(room, most=10)
    one.through(tape)
    await one.start(200, HEADERS)
    await one.write(b"x" * 8)
    assert room.held_bytes == 8
    await one.write(b"x" * 8, more=False)
    assert (tape.body, room.held_bytes, len(sent)) == (None, 0, 3)


async def test_recordings_together_hold_no_more_than_their_room() -> None:
    room = RecordingRoom(15)
    tapes = [recording(room) for _ in range(2)]
    for tape in tapes:
        one = outlet([])
        one.through(tape)
        await one.start(200, HEADERS)
        await one.write(b"x" * 10)
    assert [tape.body is None for tape in tapes] == [False, True]
    assert room.held_bytes == 10
    for tape in tapes:
        tape.close()
        tape.close()
    assert room.held_bytes == 0

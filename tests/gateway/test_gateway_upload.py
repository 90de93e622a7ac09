"""A form comes out of its source as the operator wants it, however it came and however much of it is held."""

import random
from types import SimpleNamespace
from typing import Any

import attrs
import pytest
import trio

from appliance.core.fault import Fault, FaultKind
from appliance.core.record import RequestRecord
from appliance.dialects.multipart import MultipartReader
from appliance.dialects.upload_form import WANTED, splices
from appliance.gateway.held import Held
from appliance.gateway.upload import Upload
from appliance.gateway.upload_attempt import UploadSource

BOUNDARY = b"xYz"


def field(name: bytes, value: bytes, more: bytes = b"") -> bytes:
    return b'--xYz\r\nContent-Disposition: form-data; name="%b"%b\r\n\r\n%b\r\n' % (name, more, value)


FILE = random.Random(7).randbytes(40_000)
FILE_PART = field(b"file", FILE, b'; filename="a"')
END = b"--xYz--\r\n"


@attrs.define
class Incoming:
    """A caller who sends so many pieces; the last may say that it is the last, or another does."""

    pieces: list[bytes]
    length: int | None
    says_end: bool = True
    fault: Fault | None = None
    ended: bool = False

    async def piece(self) -> bytes | Fault:
        await trio.lowlevel.checkpoint()
        if not self.pieces:
            if self.fault is not None:
                return self.fault
            self.ended = True
            return b""
        data = self.pieces.pop(0)
        self.ended = self.says_end and not self.pieces and self.fault is None
        return data


def cut(body: bytes, chance: random.Random) -> list[bytes]:
    pieces = []
    while body:
        size = chance.choice((1, 50, 3000, 20_000))
        pieces.append(body[:size])
        body = body[size:]
    return pieces


def upload_of(body: bytes, chance: random.Random, memory: int, **more: Any) -> Upload:
    incoming = Incoming(cut(body, chance), more.pop("length", len(body)), **more)
    reader = MultipartReader(BOUNDARY, WANTED)
    return Upload(incoming, BOUNDARY, b"", reader, Held(memory, 1_000_000), RequestRecord("id", "id", 0.0, 0.0))


def source_of(upload: Upload, model: str | None, overrides: dict[str, Any]) -> UploadSource:
    timeouts = SimpleNamespace(total_s=100.0, idle_s=10.0, first_byte_s=10.0)
    call = SimpleNamespace(parsed=SimpleNamespace(stream=False), record=upload.record, outlet=SimpleNamespace(heard_at=0.0))
    target = SimpleNamespace(upstream=SimpleNamespace(settings=SimpleNamespace(timeouts=timeouts)))
    running: Any = SimpleNamespace(
        call=call, target=target, record=SimpleNamespace(started_at=trio.current_time(), backend="b"), uploading=None, sent_at=0.0,
        deadline=0.0, start_clock=lambda now: setattr(running, "deadline", now + 10.0),
    )  # fmt: skip
    edits = splices(upload.reader, BOUNDARY, model, overrides)
    size = upload.held.size if upload.ended else upload.incoming.length
    running.uploading = source = UploadSource(
        running, upload, tuple(edits), overrides, None if size is None else size + sum(e.growth for e in edits)
    )
    return source


async def drawn(source: UploadSource) -> bytes | None:
    body = b""
    while True:
        data = await source.piece()
        if data is None:
            return None
        if not data:
            return body
        body += data


@pytest.mark.parametrize("memory", [0, 1, 300, 5_000, 1_000_000])
@pytest.mark.parametrize("order", ["first", "last"])
@pytest.mark.parametrize("says_end", [True, False])
async def test_what_comes_out_is_the_form_with_the_operators_changes(memory: int, order: str, says_end: bool) -> None:
    model, language = field(b"model", b"m"), field(b"language", b"en")
    for seed in range(8):
        chance = random.Random(seed)
        parts = [language, model, FILE_PART] if order == "first" else [language, FILE_PART, model]
        upload = upload_of(b"".join(parts) + END, chance, memory, says_end=says_end)
        try:
            assert await upload.read_ahead() is None
            source = source_of(upload, "another/model", {"language": "de"})
            changed = [field(b"model", b"another/model") if part is model else part for part in parts[1:]]
            expected = field(b"language", b"de") + b"".join(changed) + END
            assert await drawn(source) == expected
            assert source.length == len(expected)
            assert upload.record.bytes_in == len(b"".join(parts) + END)
            assert source.running.uploading is None
            assert source.running.sent_at > 0
            if order == "last" or memory == 1_000_000:
                assert not upload.spent
                assert await drawn(source_of(upload, None, {})) == b"".join(parts) + END
        finally:
            upload.close()


async def test_what_was_given_out_and_is_not_held_is_spent() -> None:
    upload = upload_of(field(b"model", b"m") + FILE_PART + END, random.Random(1), 3_000)
    await upload.read_ahead()
    assert not upload.spent
    held = upload.held.size
    assert held < 30_000
    await drawn(source_of(upload, None, {}))
    assert upload.spent
    assert upload.held.size == held, "no more is held than before"


@pytest.mark.parametrize("kind", [FaultKind.CLIENT_GONE, FaultKind.REQUEST_TIMEOUT])
async def test_a_caller_who_breaks_off_ends_it(kind: FaultKind) -> None:
    body = (field(b"model", b"m") + FILE_PART + END)[:-2000]
    upload = upload_of(body, random.Random(1), 3_000, length=len(body) + 2000, fault=Fault(kind, "gone"))
    assert await upload.read_ahead() is None
    assert await drawn(source_of(upload, None, {})) is None
    assert upload.fault is not None
    assert upload.fault.kind is kind


async def test_who_is_waited_for_has_the_blame() -> None:
    upload = upload_of(field(b"model", b"m") + FILE_PART + END, random.Random(1), 3_000)
    await upload.read_ahead()
    source = source_of(upload, None, {})
    assert await source.piece()
    assert source.out_of_time().kind is FaultKind.IDLE_TIMEOUT
    upload.incoming.pieces.clear()  # type: ignore[attr-defined]
    upload.incoming.fault = Fault(FaultKind.CLIENT_GONE, "x")  # type: ignore[attr-defined]
    while await source.piece():
        pass
    source._wait(for_caller=True)
    assert source.out_of_time().kind is FaultKind.REQUEST_TIMEOUT


async def test_fields_after_the_file_are_heeded() -> None:
    body = field(b"model", b"m") + FILE_PART + field(b"stream", b"true") + END
    upload = upload_of(body, random.Random(1), 1_000)
    await upload.read_ahead()
    source = source_of(upload, None, {})
    assert await drawn(source) == body
    assert source.running.call.parsed.stream is True
    late = upload_of(body, random.Random(1), 1_000)
    await late.read_ahead()
    assert await drawn(source_of(late, None, {"stream": False})) is None
    assert late.fault is not None
    assert late.fault.param == "stream"


async def test_a_model_that_never_comes_is_asked_for() -> None:
    for memory in (0, 1_000_000):
        upload = upload_of(FILE_PART + END, random.Random(1), memory)
        fault = await upload.read_ahead()
        assert fault is not None
        assert (fault.kind, fault.param) == (FaultKind.BAD_REQUEST, "model")
        upload.close()
    upload = upload_of(FILE_PART + END, random.Random(1), 0)
    upload.held._spool_max_bytes = 10_000
    fault = await upload.read_ahead()
    assert fault is not None
    assert "put it before the file" in fault.message
    upload.close()

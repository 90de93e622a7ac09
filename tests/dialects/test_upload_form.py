"""What is known of an uploaded form, and what the operator's settings change in it."""

import email
import email.policy
from typing import Any

import pytest
from test_multipart import BOUNDARY, field, file, form

from appliance.core.fault import Fault
from appliance.dialects.multipart import MultipartReader
from appliance.dialects.upload_form import WANTED, Splice, overridden_later, read_form, splices


def reader_of(body: bytes) -> MultipartReader:
    reader = MultipartReader(BOUNDARY, WANTED)
    reader.feed(body)
    return reader


def spliced(body: bytes, changes: list[Splice]) -> bytes:
    for one in reversed(changes):
        body = body[: one.start] + one.replacement + body[one.end :]
    return body


def as_mail(body: bytes) -> list[tuple[str, bytes]]:
    """The form as the standard library reads it: a judge of its own."""
    head = b'MIME-Version: 1.0\r\nContent-Type: multipart/form-data; boundary="%b"\r\n\r\n' % BOUNDARY
    message = email.message_from_bytes(head + body, policy=email.policy.HTTP)
    found = []
    for part in message.iter_parts():
        content = part.get_payload(decode=True)
        assert isinstance(content, bytes)
        found.append((str(part.get_param("name", header="content-disposition")), content))
    return found


BODY = form(field("model", b"whisper-1"), field("language", b"en"), file(b"RIFF" * 50), field("temperature", b"0"))


def test_model_stream_and_user_are_known() -> None:
    body = form(field("model", b"m"), field("stream", b"True"), field("user", b"u\x01"), file(b"x"))
    parsed = read_form(reader_of(body), "transcription")
    assert not isinstance(parsed, Fault)
    assert (parsed.operation, parsed.model, parsed.stream, parsed.user) == ("transcription", "m", True, "u")


@pytest.mark.parametrize("value", [b"false", b"0", b"", b"no", b"tru"])
def test_only_what_servers_take_for_true_is_a_stream(value: bytes) -> None:
    parsed = read_form(reader_of(form(field("model", b"m"), field("stream", value))), "image_edit")
    assert not isinstance(parsed, Fault)
    assert not parsed.stream


@pytest.mark.parametrize("value", [None, b"", b"  ", b"a\x01", b"\xff", b"a" * 600])
def test_a_model_that_is_none_is_a_fault_that_names_the_field(value: bytes | None) -> None:
    fields = [field("language", b"en")] if value is None else [field("model", value)]
    fault = read_form(reader_of(form(*fields)), "transcription")
    assert isinstance(fault, Fault)
    assert fault.param == "model"


def test_another_model_replaces_the_content_of_its_part_and_nothing_else() -> None:
    changes = splices(reader_of(BODY), BOUNDARY, "openai/whisper-large", {})
    assert spliced(BODY, changes) == BODY.replace(b"whisper-1", b"openai/whisper-large")
    assert sum(one.growth for one in changes) == len(b"openai/whisper-large") - len(b"whisper-1")


def test_without_a_wish_nothing_changes() -> None:
    assert splices(reader_of(BODY), BOUNDARY, None, {}) == []


OVERRIDES: list[tuple[dict[str, Any], list[tuple[str, bytes]]]] = [
    ({"language": "de"}, [("language", b"de")]),
    ({"language": "de", "temperature": 0.5, "diarize": True}, [("language", b"de"), ("temperature", b"0.5"), ("diarize", b"true")]),
    ({"include": ["a", "b"]}, [("include[]", b"a"), ("include[]", b"b")]),
    ({"options": {"a": 1}}, [("options", b'{"a":1}')]),
    ({"model": "m2"}, [("model", b"m2")]),
]


@pytest.mark.parametrize(("overrides", "added"), OVERRIDES)
@pytest.mark.parametrize("model", [None, "other"])
def test_overrides_replace_the_callers_fields(overrides: dict[str, Any], added: list[tuple[str, bytes]], model: str | None) -> None:
    changes = splices(reader_of(BODY), BOUNDARY, model, overrides)
    after = spliced(BODY, changes)
    kept = [(name, (model or "x").encode() if model and name == "model" else content) for name, content in as_mail(BODY)]
    assert as_mail(after) == added + [(name, content) for name, content in kept if name not in overrides]
    assert len(after) == len(BODY) + sum(one.growth for one in changes)
    again = reader_of(after)
    assert again.fault is None
    assert again.finished


def test_changes_are_the_same_while_the_file_is_still_coming() -> None:
    begun = BODY[: BODY.index(b"RIFF") + 20]
    assert splices(reader_of(begun), BOUNDARY, "m2", {"language": "de"}) == splices(reader_of(BODY), BOUNDARY, "m2", {"language": "de"})


def test_an_overridden_field_that_comes_too_late_is_noticed() -> None:
    reader = reader_of(BODY)
    assert overridden_later(reader.parts, 3, {"temperature": 1}) == "temperature"
    assert overridden_later(reader.parts, 4, {"temperature": 1}) is None
    assert overridden_later(reader.parts, 0, {"prompt": 1}) is None


def test_a_name_with_quotes_cannot_break_out_of_its_header() -> None:
    after = spliced(BODY, splices(reader_of(BODY), BOUNDARY, None, {'a"\r\nb': "x"}))
    assert reader_of(after).parts[0].name == "a%22%0D%0Ab"

"""Requests and whole answers that are nearly right are read or refused, and what is read can be written in every language, or is refused:
nothing raises.
"""

import json
import random
from typing import Any

import pytest
from core.conversations import conversations
from hypothesis import given, settings
from hypothesis import strategies as st
from recorded.files import WHY_NOT, WIRE
from recorded_streams import ANSWERS, DOORS, SPOKEN, reply_to
from spoiling import change
from test_every_pair import LANGUAGES, TARGETS

from appliance.core.assembly import fold, unfold
from appliance.core.completion import Completion
from appliance.core.conversation import Conversation
from appliance.core.fault import Fault, FaultKind
from appliance.dialects.codec import Reply, Written
from appliance.dialects.custom_tools import needs_plain, plain

WHOLE = [one for one in ANSWERS if not one.streamed]


@pytest.mark.parametrize("language", LANGUAGES)
@given(asked=conversations(), seed=st.integers(0, 2**32))
@settings(max_examples=80)
def test_a_spoilt_request_is_read_and_written_in_every_language_or_refused(language: str, asked: Conversation, seed: int) -> None:
    codec, chance = SPOKEN[language], random.Random(seed)
    written = codec.write_request(asked, TARGETS[language])
    assert isinstance(written, Written)
    fields = json.loads(written.body)
    for _ in range(chance.randint(1, 4)):
        change(fields, chance)
    read = codec.read_request(fields)
    if isinstance(read, Fault):
        assert (read.kind, bool(read.param)) == (FaultKind.BAD_REQUEST, True)
        return
    for other, target in TARGETS.items():
        said = plain(read) if other != "responses" and needs_plain(read) else read
        again = SPOKEN[other].write_request(said, target)
        if isinstance(again, Fault):
            assert (again.kind, bool(again.param or again.message)) == (FaultKind.BAD_REQUEST, True)
        else:
            assert isinstance(json.loads(again.body), dict)
    for door, codec in DOORS.items():  # and an answer to it can be told, whatever it echoes
        reply = Reply(read, "m", "id", 1_700_000_000)
        json.loads(codec.write_answer(Completion("a", "m", ()), reply)) if door != "array" else None
        assert codec.stream_writer(reply).end() is not None


@pytest.mark.skipif(not WIRE.is_dir(), reason=WHY_NOT)
@pytest.mark.parametrize("family", sorted(SPOKEN))
@given(seed=st.integers(0, 2**32))
@settings(max_examples=120)
def test_a_spoilt_answer_is_read_or_a_fault_and_told_in_every_language(family: str, seed: int) -> None:
    chance = random.Random(seed)
    body: Any = chance.choice([one for one in WHOLE if one.family == family]).body()
    for _ in range(chance.randint(1, 4)):
        change(body, chance)
    answer = SPOKEN[family].read_answer(json.dumps(body).encode())
    if isinstance(answer, Fault):
        return
    assert fold(unfold(answer)) == answer
    for door, codec in DOORS.items():
        json.loads(codec.write_answer(answer, reply_to(door, answer)))
        writer = codec.stream_writer(reply_to(door, answer))
        assert writer.write(unfold(answer)) + writer.end()

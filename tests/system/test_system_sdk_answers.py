"""What an application asks of an answer beside tools, by its own SDK at every spoken language: a form, an end, a bound, a look at a
picture; and what it is told when the provider fails, as the exception that its SDK has for that.
"""

import struct
import zlib
from collections.abc import Iterator
from typing import Any

import anthropic
import openai
import pytest
from google.genai import errors
from rig import Gateway, Simulator, running
from sdk_callers import TALKS
from sdk_talk import Person, Said, Talk, Wish
from sdk_upstreams import MODELS, Place, as_json, config

PAIRS = pytest.mark.parametrize(("caller", "spoken"), [(caller, spoken) for spoken in MODELS for caller in TALKS])
STREAMS = (False, True)
FORGOTTEN = {"gemini": "output.name"}  # of a schema, for which the language has no place
UNSTOPPED = {(caller, "responses"): "sampling.stop" for caller in TALKS} | {("responses", spoken): "" for spoken in MODELS}
"""OpenAI's Responses know no stop sequences: their callers cannot ask, and as backends they go on, which is reported."""

WHOLE_FAULTS = {"429=3s": 429, "400": 400, "401": 502, "503": 502, "529": 502}
STREAM_FAULTS = ("error_event=4", "cut=4")
RAISED: dict[str, dict[int, type[Exception]]] = {
    "openai": {
        429: openai.RateLimitError, 400: openai.BadRequestError, 502: openai.InternalServerError, 200: openai.APIError,
    },
    "anthropic": {
        429: anthropic.RateLimitError, 400: anthropic.BadRequestError, 502: anthropic.InternalServerError, 200: anthropic.APIStatusError,
    },
    "google": {429: errors.ClientError, 400: errors.ClientError, 502: errors.ServerError, 200: errors.ServerError},
}  # fmt: skip
"""By the status of the answer; 200 for a stream that fails on its way."""
SDK = {"chat": "openai", "responses": "openai", "messages": "anthropic", "gemini": "google"}


def picture() -> bytes:
    """A red pixel as PNG."""
    chunks = [(b"IHDR", struct.pack(">IIBBBBB", 1, 1, 8, 2, 0, 0, 0)), (b"IDAT", zlib.compress(b"\0\xff\0\0")), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in chunks
    )


@pytest.fixture(scope="module")
def place(simulator: Simulator, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    gateway = Gateway(tmp_path_factory.mktemp("gateway"), config(simulator))
    with running(gateway):
        yield Place(simulator, gateway)


def talk(place: Place, caller: str, spoken: str, fault: str = "") -> Talk:
    return TALKS[caller](place.gateway.url, MODELS[spoken] + (f"+{fault}" if fault else ""))


def answers(place: Place, caller: str, spoken: str, text: str, wish: Wish, shown: bytes | None = None) -> Iterator[tuple[Said, str, Any]]:
    """Whole and streamed: the answer, what was reported as left out, and the request that the provider saw, which counted the same."""
    for stream in STREAMS:
        with talk(place, caller, spoken) as one:
            one.say(text, shown)
            said, seen = one.answer(stream, wish), place.seen()
            assert (said.count.input, said.count.output) == (seen["prompt_tokens"], seen["completion_tokens"])
            dropped = one.heard.dropped
            if (caller, spoken) == ("messages", "gemini"):
                dropped = dropped.removesuffix("answer: seal of text").removesuffix(", ")
            yield said, dropped, seen["sent"]


@PAIRS
def test_an_answer_has_the_form_that_was_asked_for(place: Place, caller: str, spoken: str) -> None:
    found = list(answers(place, caller, spoken, "Who is it?", Wish(tools=False, person=True)))
    for said, dropped, _ in found:
        assert isinstance(said.parsed, Person)
        assert said.parsed == Person.model_validate_json(said.text)
        assert said.finish == "stop"
        assert dropped in ("", FORGOTTEN.get(spoken))
    assert found[0][0] == found[1][0]


@PAIRS
def test_a_stop_sequence_ends_an_answer(place: Place, caller: str, spoken: str) -> None:
    for said, dropped, _ in answers(place, caller, spoken, "[[say=one two three four]]", Wish(tools=False, stop=(" three",))):
        assert said.finish == "stop"
        assert said.text == ("one two three four" if (caller, spoken) in UNSTOPPED else "one two")
        assert dropped == UNSTOPPED.get((caller, spoken), "")


@PAIRS
def test_a_bound_ends_an_answer_and_is_told(place: Place, caller: str, spoken: str) -> None:
    for said, dropped, _ in answers(place, caller, spoken, "[[tokens=90]]", Wish(tools=False, max_tokens=48)):
        assert (said.finish, said.count.output, dropped) == ("length", 48, "")
        assert said.text


@PAIRS
def test_a_picture_is_shown_to_the_model(place: Place, caller: str, spoken: str) -> None:
    for said, dropped, sent in answers(place, caller, spoken, "What is it?", Wish(tools=False), picture()):
        assert (said.finish, dropped) == ("stop", "")
        assert "iVBORw0KGgo" in as_json(sent)


@PAIRS
def test_a_providers_refusal_is_the_sdks_exception(place: Place, caller: str, spoken: str) -> None:
    for fault, status in WHOLE_FAULTS.items():
        for stream in STREAMS:
            with talk(place, caller, spoken, fault) as one:
                one.say("[[tokens=20]]")
                with pytest.raises(RAISED[SDK[caller]][status]) as caught:
                    one.answer(stream, Wish(tools=False))
                assert type(caught.value) is RAISED[SDK[caller]][status]
                told: Any = caught.value
                assert (told.code if caller == "gemini" else told.status_code) == status
                assert one.heard.headers.get("retry-after") == ("3" if status == 429 else None)


@PAIRS
def test_a_stream_that_fails_on_its_way_is_the_sdks_exception_too(place: Place, caller: str, spoken: str) -> None:
    for fault in STREAM_FAULTS:
        with talk(place, caller, spoken, fault) as one:
            one.say("[[tokens=20]]")
            with pytest.raises(RAISED[SDK[caller]][200]) as caught:
                one.answer(True, Wish(tools=False))
            assert type(caught.value) is RAISED[SDK[caller]][200]
            assert f"the backend {spoken} " in str(caught.value)

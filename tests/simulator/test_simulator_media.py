"""The official SDK accepts the simulator's moderations, images and audio; forms are read as strictly as RFC 7578 is written."""

import base64
import struct

import openai
import pytest

from appliance.simulator.api_error import ApiError
from appliance.simulator.form import FormFile, boundary_of, read_form

WAV = b"RIFF" + bytes(64_000)


async def test_moderations_flag_what_asks_for_it(sim):
    async with sim.openai() as client:
        answer = await client.moderations.create(input=["hello", "[[flag]]"], model="omni-moderation-latest")
        assert [one.flagged for one in answer.results] == [False, True]
        assert answer.results[1].categories.violence is True
        assert answer.results[0].category_scores.hate < 0.5
        assert (await client.moderations.create(input="hello")).model == "omni-moderation-latest"
        with pytest.raises(openai.BadRequestError):
            await client.moderations.create(input=[])


async def test_images_are_pictures_and_counted(sim):
    async with sim.openai() as client:
        answer = await client.images.generate(model="gpt-image-2", prompt="a cat", n=2)
        assert len(answer.data) == 2
        picture = base64.b64decode(answer.data[0].b64_json)
        assert picture.startswith(b"\x89PNG")
        assert struct.unpack(">II", picture[16:24]) == (16, 16)
        assert answer.usage.total_tokens == answer.usage.input_tokens + answer.usage.output_tokens
        again = await client.images.generate(model="gpt-image-2", prompt="a cat", n=2)
        assert again.data == answer.data
        edited = await client.images.edit(model="gpt-image-2", prompt="a hat", image=[("a.png", picture), ("b.png", picture)])
        assert edited.usage.input_tokens_details.image_tokens == 2 * 194
        with pytest.raises(openai.BadRequestError) as caught:
            await client.images.generate(model="gpt-image-2", prompt="a cat", n=11)
        assert caught.value.param == "n"


async def test_streamed_images_come_in_parts(sim):
    async with sim.openai() as client:
        stream = await client.images.generate(model="sim", prompt="a cat", stream=True, partial_images=2)
        events = [one async for one in stream]
        assert [one.type for one in events] == ["image_generation.partial_image"] * 2 + ["image_generation.completed"]
        assert events[-1].usage.output_tokens == 272
        stream = await client.images.edit(model="sim", prompt="a hat", image=("a.png", b"x"), stream=True)
        assert [one.type async for one in stream] == ["image_edit.completed"]


async def test_speech_comes_as_it_falls_due_in_either_form(sim):
    async with sim.openai() as client:
        async with client.audio.speech.with_streaming_response.create(model="tts-1", input="one two three", voice="alloy") as answer:
            assert answer.headers["content-type"] == "audio/mpeg"
            assert "content-length" not in answer.headers
            sound = await answer.read()
        assert len(sound) == 3 * 480
        spoken = await client.audio.speech.create(model="sim", input="one two three", voice="alloy", stream_format="sse")
        assert b'"type":"speech.audio.done"' in spoken.content
        with pytest.raises(openai.BadRequestError) as caught:
            await client.audio.speech.create(model="sim", input="x" * 5000, voice="alloy")
        assert caught.value.param == "input"


@pytest.mark.filterwarnings("ignore:deprecated:DeprecationWarning")
@pytest.mark.parametrize("form", ["json", "text", "srt", "verbose_json", "vtt"])
async def test_transcriptions_say_what_stands_in_the_file(sim, form):
    async with sim.openai() as client:
        answer = await client.audio.transcriptions.create(
            file=("a.wav", b"RIFF[[say=Hello there]]"), model="gpt-4o-transcribe", response_format=form
        )
        assert "Hello there" in (answer if isinstance(answer, str) else answer.text)
        translated = await client.audio.translations.create(file=("a.wav", WAV), model="whisper-1", response_format=form)
        assert translated


async def test_a_streamed_transcription_is_the_whole_one_in_pieces(sim):
    async with sim.openai() as client:
        whole = await client.audio.transcriptions.create(file=("a.wav", WAV), model="gpt-4o-transcribe")
        stream = await client.audio.transcriptions.create(file=("a.wav", WAV), model="gpt-4o-transcribe", stream=True)
        events = [one async for one in stream]
        assert "".join(one.delta for one in events[:-1]) == events[-1].text == whole.text
        assert events[-1].usage.input_tokens == whole.usage.input_tokens == len(WAV) // 3200
        assert events[-1].usage.input_token_details.audio_tokens == whole.usage.input_tokens
        with pytest.raises(openai.BadRequestError):
            await client.audio.transcriptions.create(file=("a.wav", WAV), model="whisper-1", stream=True)


async def test_a_ranking_has_the_scores_of_the_other_kind(sim):
    asked = {"model": "sim", "query": "red apple", "documents": ["a blue car", "a red apple", "a red car"], "top_n": 2}
    async with sim.http() as client:
        jina = (await client.post("/v1/rerank", json=asked)).json()
        cohere = (await client.post("/v2/rerank", json=asked)).json()
    assert [(one["index"], one["relevance_score"]) for one in jina["results"]] == [
        (one["index"], one["relevance_score"]) for one in cohere["results"]
    ]
    assert jina["results"][0]["document"] == {"text": "a red apple"}
    assert jina["usage"]["total_tokens"] > 0


@pytest.mark.parametrize(("fault", "status"), [("503", 503), ("429=3s", 429), ("context_length", 400)])
async def test_faults_reach_forms_by_their_model(sim, fault, status):
    async with sim.openai() as client:
        with pytest.raises(openai.APIStatusError) as caught:
            await client.audio.transcriptions.create(file=("a.wav", WAV), model=f"sim+{fault}")
        assert caught.value.status_code == status


async def test_a_stream_of_events_is_cut_as_asked(sim):
    async with sim.openai() as client:
        stream = await client.audio.transcriptions.create(file=("a.wav", WAV), model="sim+cut=2", stream=True)
        with pytest.raises(Exception, match=r"incomplete|closed|peer|Connection"):
            [one async for one in stream]


@pytest.mark.parametrize("path", ["/v1/audio/transcriptions", "/v1/images/generations", "/v1/audio/speech", "/v1/rerank"])
async def test_no_model_is_told(sim, path):
    async with sim.http() as client:
        answer = await client.post(path, json={"prompt": "x", "input": "x", "query": "x"})
        assert (answer.status_code, answer.json()["error"]["param"]) == (400, "model")


HEAD = b'--b\r\nContent-Disposition: form-data; name="%b"\r\n\r\n'


def test_forms_are_read():
    body = HEAD % b"model" + b"m\r\n" + HEAD % b"a[]" + b"1\r\n" + HEAD % b"a[]" + b"2\r\n" + HEAD % b"stream" + b"true\r\n"
    body += b'--b\r\nContent-Disposition: form-data; name="file"; filename="x.wav"\r\n\r\nRI\r\nFF\r\n--b--\r\n'
    fields = read_form(body, b"b")
    assert not isinstance(fields, ApiError)
    file = fields["file"]
    assert isinstance(file, FormFile)
    assert (file.name, file.size, file.text) == ("x.wav", 6, "RI\r\nFF")
    assert {name: value for name, value in fields.items() if name != "file"} == {"model": "m", "a": ["1", "2"], "stream": True}


@pytest.mark.parametrize(
    "body",
    [b"", b"x", b"--b--\r\n--b--\r\n", HEAD % b"a" + b"1\r\n", HEAD % b"a" + b"1\r\n--b--\r\nmore", b"--b\r\n\r\nx\r\n--b--\r\n",
     HEAD % b"a" + b"1\r\n" + HEAD % b"a" + b"1\r\n--b--\r\n", (HEAD % b"a" + b"1\r\n--b--\r\n").replace(b"\r\n", b"\n")],
)  # fmt: skip
def test_forms_that_are_none_are_refused(body):
    assert isinstance(read_form(body, b"b"), ApiError)


def test_the_boundary_is_found():
    assert boundary_of('multipart/form-data; charset=utf-8; boundary="a b"') == b"a b"
    assert boundary_of("multipart/form-data; boundary=x") == b"x"
    assert boundary_of("application/json") is None

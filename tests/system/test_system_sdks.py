"""Applications keep their SDK whatever provider is behind: the four official ones, whole and streamed, in a loop of tools with every spoken
language, over both engines. The simulated providers are as strict as the services, so a loop that gets through lost nothing they look at.
"""

import asyncio
import re
from collections.abc import Iterator
from typing import Any

import anthropic
import attrs
import openai
import pytest
from google import genai
from rig import KEY, Gateway, Simulator, running
from sdk_callers import TALKS
from sdk_talk import ERROR_TEXT, Result, Said, Talk, Wish
from sdk_upstreams import MODELS, SEALS, UNNUMBERED, Place, as_json, call_ids, config, result_ids

from appliance.dialects.gemini_seal import SKIP

SKY = "partly cloudy, 21 degrees"
STREAMS = pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
PAIRS = pytest.mark.parametrize(("caller", "spoken"), [(caller, spoken) for spoken in MODELS for caller in TALKS])
ENDS = {"tools": {"", "tool_use", "function_call"}, "stop": {"", "text", "message", "reasoning"}}

# What a backend of the second language has no word for, of what a caller of the first asks.
LEFT_OUT = {
    ("chat", "cohere"): r"tools\[\d\]\.strict",  # all tools are, or none, and one without parameters cannot be
    ("responses", "cohere"): r"tools\[\d\]\.strict",
    ("responses", "chat"): r"reasoning\.(summary|sealed)",
    ("messages", "gemini"): "answer: seal of text",
}

MARKING = ("messages", "gemini")
MARKS = {"anthropic": '"is_error": true', "gemini": f'"error": "{ERROR_TEXT}"', "bedrock": '"status": "error"'}
"""How a tool's error is told, of callers who can say that it is one; in words where a backend has no mark."""

UNSEEN = {("chat", "responses"), ("chat", "gemini")}
"""Thoughts are shown by these services to who asks for it, and OpenAI's chat has no word for that."""


@pytest.fixture(scope="module")
def place(simulator: Simulator, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    gateway = Gateway(tmp_path_factory.mktemp("gateway"), config(simulator))
    with running(gateway):
        yield Place(simulator, gateway)


def check_left_out(dropped: str, caller: str, spoken: str) -> None:
    allowed = LEFT_OUT.get((caller, spoken), "(?!)")
    assert all(re.fullmatch(allowed, one) for one in dropped.split(", ") if one), dropped


@attrs.frozen
class Loop:
    """One conversation with tools: two calls at once, one more, an answer, and one more question."""

    place: Place
    talk: Talk
    caller: str
    spoken: str
    stream: bool
    thinking: bool = False

    def run(self) -> None:
        self.talk.say("Use both get_weather and get_time.")
        first = self.turn("tools")
        weather, time = first.calls
        assert (weather.name, time.name) == ("get_weather", "get_time")
        assert (type(weather.arguments["city"]), type(weather.arguments["days"]), len(weather.arguments)) == (str, int, 2)
        assert time.arguments == {}
        self.talk.give([Result(weather, ERROR_TEXT, error=True), Result(time, {"sky": SKY, "more": ["[[calls=1]]"]})])
        second = self.turn("tools", "" if self.thinking else "get_time")
        self.check_sent([call.id for call in first.calls])
        (again,) = second.calls
        assert again.name == ("get_weather" if self.thinking else "get_time")
        ids = [call.id for call in (*first.calls, again) if call.id]
        assert len(set(ids)) == len(ids)
        self.talk.give([Result(again, "noon")])
        third = self.turn("stop")
        assert (third.text, third.calls) == ("The tool answered: noon", ())
        self.check_sent([call.id for call in (*first.calls, again)])
        self.talk.say("[[say=You are welcome]]")
        assert self.turn("stop").text == "You are welcome"

    def turn(self, finish: str, choice: str = "") -> Said:
        said = self.talk.answer(self.stream, Wish(choice=choice, thinking=self.thinking))
        seen = self.place.seen()
        assert said.finish == finish
        assert said.last in ENDS[finish]
        assert (said.count.input, said.count.output) == (seen["prompt_tokens"], seen["completion_tokens"])
        if self.thinking and (self.caller, self.spoken) not in UNSEEN:
            assert said.thought
        check_left_out(self.talk.heard.dropped, self.caller, self.spoken)
        return said

    def check_sent(self, ids: list[str]) -> None:
        """The provider got what it had said, under its own names, and the results that belong to it."""
        sent = self.place.seen()["sent"]
        if all(ids):
            assert call_ids(sent) == result_ids(sent)
            assert self.spoken == "gemini" or call_ids(sent) == ids
        text = as_json(sent)
        assert ERROR_TEXT in text
        assert SKY in text
        assert not self.thinking or SEALS.get(self.spoken, "") in text
        if self.caller in MARKING:
            assert MARKS.get(self.spoken, f"Error: {ERROR_TEXT}") in text
        assert SKIP not in text  # what stands for a signature that was lost


def talk(place: Place, caller: str, model: str, engine: str = "builtin") -> Talk:
    return TALKS[caller](place.gateway.url if engine == "builtin" else place.gateway.hypercorn_url, model)


@STREAMS
@PAIRS
def test_three_turns_with_tools(place: Place, caller: str, spoken: str, stream: bool) -> None:
    with talk(place, caller, MODELS[spoken]) as one:
        Loop(place, one, caller, spoken, stream).run()


@STREAMS
@PAIRS
def test_three_turns_with_tools_of_a_model_that_thinks(place: Place, caller: str, spoken: str, stream: bool) -> None:
    with talk(place, caller, MODELS[spoken]) as one:
        Loop(place, one, caller, spoken, stream, thinking=True).run()


@STREAMS
@pytest.mark.parametrize("caller", TALKS)
def test_calls_of_a_model_that_does_not_number_them(place: Place, caller: str, stream: bool) -> None:
    with talk(place, caller, UNNUMBERED) as one:
        Loop(place, one, caller, "gemini", stream).run()


@STREAMS
def test_a_seal_that_an_anthropic_answer_has_no_place_for_is_in_the_record(place: Place, stream: bool) -> None:
    with talk(place, "messages", MODELS["gemini"]) as one:
        one.say("[[say=one two]]")
        said = one.answer(stream, Wish(tools=False, thinking=True))
        assert (said.last, said.text) == ("text", "one two")
        assert place.gateway.record(one.heard.headers["x-request-id"])["dropped_fields"] == ["answer: seal of text"]


@STREAMS
@pytest.mark.parametrize(("caller", "spoken"), [("messages", "gemini"), ("gemini", "bedrock")])
def test_the_loop_over_hypercorn(place: Place, caller: str, spoken: str, stream: bool) -> None:
    with talk(place, caller, MODELS[spoken], "hypercorn") as one:
        Loop(place, one, caller, spoken, stream, thinking=True).run()


def test_the_async_clients(place: Place) -> None:
    asked: Any = [{"role": "user", "content": "[[say=one two three]]"}]
    url, model = place.gateway.url, MODELS["anthropic"]

    async def ask() -> list[str | None]:
        said = []
        async with openai.AsyncOpenAI(base_url=url + "/v1", api_key=KEY, max_retries=0) as client:
            async with client.chat.completions.stream(model=model, messages=asked) as chat:
                said.append((await chat.get_final_completion()).choices[0].message.content)
            async with client.responses.stream(model=model, input=asked) as responses:
                said.append((await responses.get_final_response()).output_text)
        async with (
            anthropic.AsyncAnthropic(base_url=url, api_key=KEY, max_retries=0) as claude,
            claude.messages.stream(model=MODELS["gemini"], max_tokens=99, messages=asked) as messages,
        ):
            said.append(await messages.get_final_text())
        google = genai.Client(api_key=KEY, http_options=genai.types.HttpOptions(base_url=url)).aio
        chunks = await google.models.generate_content_stream(model=model, contents=asked[0]["content"])
        said.append("".join([chunk.text or "" async for chunk in chunks]))
        await google.aclose()
        return said

    assert asyncio.run(ask()) == ["one two three"] * 4

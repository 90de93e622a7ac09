"""The four official SDKs, each by the ways of its own: its helpers for streams and forms, its objects in the history. See sdk_talk."""

import json
from collections.abc import Sequence
from typing import Any

import anthropic
import httpx
import openai
from google import genai
from google.genai import types
from sdk_talk import NO_TLS, THINKING_TOKENS, TOOLS, Call, Count, Person, Result, Said, Talk, Wish, as_text, data_url, options


class ChatTalk(Talk):
    """openai, chat completions."""

    def made(self, url: str, key: str) -> openai.OpenAI:
        http = openai.DefaultHttpxClient(**options(self.heard))
        return openai.OpenAI(base_url=url + "/v1", api_key=key, max_retries=0, http_client=http)

    def say(self, text: str, picture: bytes | None = None) -> None:
        shown = [] if picture is None else [{"type": "image_url", "image_url": {"url": data_url(picture)}}]
        self.history.append({"role": "user", "content": [{"type": "text", "text": text}, *shown] if shown else text})

    def give(self, results: Sequence[Result]) -> None:
        for one in results:
            text = as_text(one.value)
            content: Any = text if isinstance(one.value, str) else [{"type": "text", "text": text}]
            self.history.append({"role": "tool", "tool_call_id": one.call.id, "content": content})

    def asked(self, wish: Wish) -> dict[str, Any]:
        asked: dict[str, Any] = {"model": self.model, "messages": self.history, "max_completion_tokens": wish.max_tokens}
        if wish.tools:
            functions = ({"name": name, "description": about, "parameters": schema, "strict": True} for name, about, schema in TOOLS)
            asked["tools"] = [{"type": "function", "function": function} for function in functions]
        if wish.choice:
            named = {"type": "function", "function": {"name": wish.choice}}
            asked["tool_choice"] = "required" if wish.choice == "any" else named
        if wish.thinking:
            asked["reasoning_effort"] = "low"
        if wish.stop:
            asked["stop"] = list(wish.stop)
        if wish.person:
            asked["response_format"] = Person
        return asked

    def answer(self, stream: bool, wish: Wish) -> Said:
        asked, completions = self.asked(wish), self.client.chat.completions
        if stream:
            try:
                with completions.stream(**asked, stream_options={"include_usage": True}) as events:
                    got = events.until_done().get_final_completion()
            except openai.LengthFinishReasonError as error:  # which this helper makes of it; the answer is in it
                got = error.completion
        else:
            got = completions.parse(**asked) if wish.person else completions.create(**asked)
        (choice,), usage = got.choices, got.usage
        message = choice.message
        self.history.append(message)
        calls = tuple(Call(one.id, one.function.name, json.loads(one.function.arguments)) for one in message.tool_calls or ())
        thought = getattr(message, "reasoning_content", None) or ""
        details = usage.completion_tokens_details
        assert usage.total_tokens == usage.prompt_tokens + usage.completion_tokens
        finish = {"tool_calls": "tools"}.get(choice.finish_reason, choice.finish_reason)
        count = Count(usage.prompt_tokens, usage.completion_tokens, (details and details.reasoning_tokens) or 0)
        return Said(message.content or "", thought, calls, finish, count, parsed=getattr(message, "parsed", None))


class ResponsesTalk(Talk):
    """openai, responses without a store."""

    def made(self, url: str, key: str) -> openai.OpenAI:
        http = openai.DefaultHttpxClient(**options(self.heard))
        return openai.OpenAI(base_url=url + "/v1", api_key=key, max_retries=0, http_client=http)

    def say(self, text: str, picture: bytes | None = None) -> None:
        shown = [] if picture is None else [{"type": "input_image", "image_url": data_url(picture), "detail": "auto"}]
        self.history.append({"role": "user", "content": [{"type": "input_text", "text": text}, *shown]})

    def give(self, results: Sequence[Result]) -> None:
        for one in results:
            text = as_text(one.value)
            output: Any = text if isinstance(one.value, str) else [{"type": "input_text", "text": text}]
            self.history.append({"type": "function_call_output", "call_id": one.call.id, "output": output})

    def asked(self, wish: Wish) -> dict[str, Any]:
        asked: dict[str, Any] = {"model": self.model, "input": self.history, "max_output_tokens": wish.max_tokens, "store": False}
        if wish.tools:
            tools = ({"name": name, "description": about, "parameters": schema} for name, about, schema in TOOLS)
            asked["tools"] = [{"type": "function", "strict": True, **tool} for tool in tools]
        if wish.choice:
            asked["tool_choice"] = "required" if wish.choice == "any" else {"type": "function", "name": wish.choice}
        if wish.thinking:
            asked |= {"reasoning": {"effort": "low", "summary": "auto"}, "include": ["reasoning.encrypted_content"]}
        if wish.person:
            asked["text_format"] = Person
        return asked

    def answer(self, stream: bool, wish: Wish) -> Said:
        asked = self.asked(wish)
        if stream:
            with self.client.responses.stream(**asked) as events:
                *_, last = events
                cut = last.type == "response.incomplete"  # for which this helper has no answer
                got = last.response if cut else events.get_final_response()
        else:
            got = self.client.responses.parse(**asked) if wish.person else self.client.responses.create(**asked)
        self.history += got.output
        calls = tuple(Call(one.call_id, one.name, json.loads(one.arguments)) for one in got.output if one.type == "function_call")
        thought = "".join(part.text for one in got.output if one.type == "reasoning" for part in one.summary)
        reason = got.incomplete_details.reason if got.incomplete_details else ""
        finish = {"max_output_tokens": "length"}.get(reason, reason) or ("tools" if calls else "stop")
        assert (got.status == "incomplete") == bool(reason)
        usage = got.usage
        assert usage.total_tokens == usage.input_tokens + usage.output_tokens
        count = Count(usage.input_tokens, usage.output_tokens, usage.output_tokens_details.reasoning_tokens)
        return Said(got.output_text, thought, calls, finish, count, got.output[-1].type, getattr(got, "output_parsed", None))


class MessagesTalk(Talk):
    """anthropic."""

    def made(self, url: str, key: str) -> anthropic.Anthropic:
        http = anthropic.DefaultHttpxClient(**options(self.heard))
        return anthropic.Anthropic(base_url=url, api_key=key, max_retries=0, http_client=http)

    def say(self, text: str, picture: bytes | None = None) -> None:
        source = None if picture is None else {"type": "base64", "media_type": "image/png", "data": data_url(picture).partition(",")[2]}
        shown = [] if source is None else [{"type": "image", "source": source}]
        self.history.append({"role": "user", "content": [{"type": "text", "text": text}, *shown] if shown else text})

    def give(self, results: Sequence[Result]) -> None:
        blocks: list[Any] = []
        for one in results:
            text = as_text(one.value)
            content: Any = text if isinstance(one.value, str) else [{"type": "text", "text": text}]
            blocks.append({"type": "tool_result", "tool_use_id": one.call.id, "content": content, "is_error": one.error})
        self.history.append({"role": "user", "content": blocks})

    def asked(self, wish: Wish) -> dict[str, Any]:
        asked: dict[str, Any] = {"model": self.model, "messages": self.history, "max_tokens": wish.max_tokens}
        if wish.tools:
            asked["tools"] = [{"name": name, "description": about, "input_schema": schema} for name, about, schema in TOOLS]
        if wish.choice:
            asked["tool_choice"] = {"type": "any"} if wish.choice == "any" else {"type": "tool", "name": wish.choice}
        if wish.thinking:
            asked["thinking"] = {"type": "enabled", "budget_tokens": THINKING_TOKENS}
        if wish.stop:
            asked["stop_sequences"] = list(wish.stop)
        if wish.person:
            asked["output_format"] = Person
        return asked

    def answer(self, stream: bool, wish: Wish) -> Said:
        asked, messages = self.asked(wish), self.client.messages
        if stream:
            with messages.stream(**asked) as events:
                got = events.get_final_message()
        else:
            got = messages.parse(**asked) if wish.person else messages.create(**asked)
        self.history.append({"role": "assistant", "content": got.content})
        calls = tuple(Call(one.id, one.name, one.input) for one in got.content if one.type == "tool_use")
        words = "".join(one.text for one in got.content if one.type == "text")
        thought = "".join(one.thinking for one in got.content if one.type == "thinking")
        finish = {"end_turn": "stop", "tool_use": "tools", "max_tokens": "length", "stop_sequence": "stop"}.get(got.stop_reason)
        assert got.stop_sequence is None or got.stop_reason == "stop_sequence"
        usage = got.usage
        taken = usage.input_tokens + (usage.cache_read_input_tokens or 0) + (usage.cache_creation_input_tokens or 0)
        parsed, last = getattr(got, "parsed_output", None), got.content[-1].type if got.content else ""
        return Said(words, thought, calls, finish or str(got.stop_reason), Count(taken, usage.output_tokens), last, parsed)


class GeminiTalk(Talk):
    """google-genai, by its own chat, which keeps the history itself (and leaves out of it what it holds to be no valid answer)."""

    def made(self, url: str, key: str) -> genai.Client:
        http = httpx.Client(**options(self.heard))
        self.turn: list[Any] = []
        unused = {"verify": NO_TLS, "ssl": NO_TLS}
        wire = types.HttpOptions(base_url=url, httpx_client=http, client_args=unused, async_client_args=unused)
        client = genai.Client(api_key=key, http_options=wire)
        self.chat = client.chats.create(model=self.model)
        return client

    def say(self, text: str, picture: bytes | None = None) -> None:
        shown = [] if picture is None else [types.Part.from_bytes(data=picture, mime_type="image/png")]
        self.turn = [types.Part.from_text(text=text), *shown]

    def give(self, results: Sequence[Result]) -> None:
        self.turn = []
        for one in results:
            value = {"error": one.value} if one.error else {"output": one.value}
            response = types.FunctionResponse(id=one.call.id or None, name=one.call.name, response=value)
            self.turn.append(types.Part(function_response=response))

    def config(self, wish: Wish) -> types.GenerateContentConfig:
        config: dict[str, Any] = {"max_output_tokens": wish.max_tokens, "automatic_function_calling": {"disable": True}}
        if wish.tools:
            made = [{"name": name, "description": about, "parameters_json_schema": schema} for name, about, schema in TOOLS]
            config["tools"] = [{"function_declarations": made}]
        if wish.choice:
            named = {} if wish.choice == "any" else {"allowed_function_names": [wish.choice]}
            config["tool_config"] = {"function_calling_config": {"mode": "ANY", **named}}
        if wish.thinking:
            config["thinking_config"] = {"include_thoughts": True, "thinking_budget": THINKING_TOKENS}
        if wish.stop:
            config["stop_sequences"] = list(wish.stop)
        if wish.person:
            config |= {"response_mime_type": "application/json", "response_schema": Person}
        return types.GenerateContentConfig(**config)

    def answer(self, stream: bool, wish: Wish) -> Said:
        config = self.config(wish)
        if stream:
            got = list(self.chat.send_message_stream(self.turn, config=config))
        else:
            got = [self.chat.send_message(self.turn, config=config)]
        parts = [part for one in got if one.candidates for part in (one.candidates[0].content and one.candidates[0].content.parts) or ()]
        called = [part.function_call for part in parts if part.function_call]
        calls = tuple(Call(one.id or "", one.name or "", dict(one.args or {})) for one in called)
        words = "".join(part.text for part in parts if part.text and not part.thought)
        thought = "".join(part.text for part in parts if part.text and part.thought)
        reasons = [one.candidates[0].finish_reason for one in got if one.candidates and one.candidates[0].finish_reason]
        assert len(reasons) == 1
        word = reasons[0].name
        finish = {"STOP": "tools" if calls else "stop", "MAX_TOKENS": "length"}.get(word, word)
        usage = got[-1].usage_metadata
        assert usage is not None
        output, thinking = usage.candidates_token_count or 0, usage.thoughts_token_count or 0
        assert usage.total_token_count == (usage.prompt_token_count or 0) + output + thinking
        parsed = Person.model_validate_json(words) if wish.person else None
        return Said(words, thought, calls, finish, Count(usage.prompt_token_count or 0, output + thinking, thinking), parsed=parsed)


TALKS: dict[str, type[Talk]] = {"chat": ChatTalk, "responses": ResponsesTalk, "messages": MessagesTalk, "gemini": GeminiTalk}

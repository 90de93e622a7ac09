"""Writes a conversation as a chat completion request for a backend.

The rule: what a vendor's row drops is reported if its loss leaves the meaning whole, and refused if it does not. Beside top-level fields a
row may name these.
  `drop`: reasoning_content, reasoning_details, extra_content, refusal and name (of messages); strict (of functions); allowed_tools (then
    only the allowed ones are offered); late_system (one system message, the first; turns alternate); user_after_tool (a turn of the
    assistant's is put between); prefill (the answer cannot be begun); json_schema (its words are told instead, with any JSON object asked
    for); effort_with_tools (then it must be none).
  `rename`: developer to system; custom to function; cache to cache_control; reasoning_content to reasoning or thinking; reasoning_effort to
    reasoning, thinking or enable_thinking; file_url to file_data; prefill to prefix or continue_final_message.
"""

import hashlib
from typing import Any

import attrs
import orjson

from appliance.core.conversation import Conversation, OutputFormat, ReasoningWish
from appliance.core.fault import Fault, FaultKind
from appliance.dialects.chat_message_writer import NAME, MessageWriter
from appliance.dialects.chat_order import with_system_words
from appliance.dialects.chat_reasoning import told, write_wish
from appliance.dialects.chat_request import KNOWN, SAMPLING, SERVICE_TIERS
from appliance.dialects.chat_tools import write_choice, write_format, write_tools
from appliance.dialects.codec import Target, Written
from appliance.dialects.fields import Unfit

USER_MAX_CHARS = 64
"""OpenAI refuses longer names of users; it advises to send a hash anyway (API reference, safety_identifier)."""

PRESET_DROP = ("allowed_tools", "prompt_cache_key", "verbosity", "store", "metadata", "service_tier")
PRESET_RENAME = {"developer": "system", "custom": "function"}
"""What a row of a vendor other than OpenAI and Azure should have at least: these are OpenAI's inventions that few have taken over."""

FITTING = "Answer with one valid JSON object that fits the JSON schema below and nothing else: no words around it, no code fence.\n"
"""Stands before a schema that the backend cannot be held to."""

_MEANT = frozenset({"messages", "tools", "response_format", "n"})
"""Fields whose loss changes what is asked for. tool_choice is one only when it forces a call."""


def write_request(conversation: Conversation, target: Target) -> Written | Fault:
    try:
        return _Request(conversation, target).written()
    except Unfit as unfit:
        return unfit.fault()


@attrs.define
class _Request:
    conversation: Conversation
    target: Target
    body: dict[str, Any] = attrs.field(factory=dict)
    dropped: list[str] = attrs.field(factory=list)

    def written(self) -> Written | Fault:
        conversation, target = self.conversation, self.target
        if conversation.previous:
            message = "previous_response_id cannot be followed by a backend that speaks chat completions: send the whole conversation"
            return Fault(FaultKind.BAD_REQUEST, message, param="previous_response_id")
        messages = MessageWriter(target)
        self.body = {"model": target.model, "messages": messages.write(conversation.messages)}
        if messages.fault is not None:
            return messages.fault
        self.dropped += messages.dropped
        self.body |= messages.beside
        self._say("max_tokens", self._bound(), "max_tokens")
        self._say_tools()
        if conversation.output is not None:
            self._say_format(conversation.output)
        self._say_reasoning()
        self._say_sampling()
        self._say_rest()
        if conversation.stream:
            self.body["stream"] = True
            if target.include_usage and "stream_options" not in target.drop:
                self.body["stream_options"] = {"include_usage": True}
        self._say_extra()
        try:
            body = orjson.dumps(self.body)
        except (orjson.JSONEncodeError, RecursionError):  # half a surrogate pair, or deeper than orjson writes
            return Fault(FaultKind.BAD_REQUEST, "the request holds a text or a nesting that cannot be written as JSON", param="messages")
        return Written(body, tuple(self.dropped))

    def _bound(self) -> int | None:
        """On the answer. A vendor refuses one that is higher than its model can answer, and callers of other vendors cannot know that."""
        asked, most = self.conversation.max_tokens, self.target.output_max
        if asked is None or most is None or asked <= most:
            return asked
        self.dropped.append(f"max_tokens: above {most}")
        return most

    def _say(self, name: str, value: Any, path: str, meant: bool = True) -> None:
        """One top-level field. meant: its value changes what is asked for, if the field is one that can."""
        if value is None:
            return
        if name not in self.target.drop:
            self.body[self.target.rename.get(name, name)] = value
        elif name in _MEANT and meant:
            raise Unfit(name, "is something that this backend cannot do")
        else:
            self.dropped.append(path)

    def _say_format(self, output: OutputFormat) -> None:
        form = write_format(output, self.conversation.family != NAME)
        if output.kind == "json_schema" and "json_schema" in self.target.drop and "response_format" not in self.target.drop:
            self.dropped.append("output: the schema is asked for in words")
            words = FITTING + orjson.dumps(output.schema or {}).decode()
            form = {"type": "json_object"}
            self.body["messages"] = with_system_words(self.body["messages"], words)
        self._say("response_format", form, "output", output.kind != "text")

    def _say_tools(self) -> None:
        conversation = self.conversation
        tools = write_tools(conversation, self.target, self.dropped)
        choice = write_choice(conversation, self.target)
        if tools:
            self._say("tools", tools, "tools")
            self._say("parallel_tool_calls", conversation.parallel_tools, "parallel_tools")
        elif choice in ("auto", "none"):  # says nothing without tools, and OpenAI refuses it then
            choice = None
        if choice is not None and choice not in ("auto", "none") and ("tool_choice" in self.target.drop or not tools):
            raise Unfit("tool_choice", "forces a tool call, which this backend cannot be asked for")
        self._say("tool_choice", choice, "tool_choice")

    def _say_reasoning(self) -> None:
        wish = self.conversation.reasoning
        if wish is None:
            wish = ReasoningWish(effort="none") if "effort_with_tools" in self.target.drop and "tools" in self.body else None
        if wish is None:
            return
        if "reasoning_effort" in self.target.drop:
            self.dropped.append("reasoning")
            return
        if "effort_with_tools" in self.target.drop and "tools" in self.body:
            self.body["reasoning_effort"] = "none"
            if told(wish) != "none":
                self.dropped.append("reasoning: not beside tools in chat completions; the backend's openai_responses can do it")
            return
        spelling = self.target.rename.get("reasoning_effort", "reasoning_effort")
        self.body |= write_wish(wish, spelling, self.dropped, self.target.efforts)

    def _say_sampling(self) -> None:
        sampling = self.conversation.sampling
        for name in SAMPLING:
            self._say(name, getattr(sampling, name), f"sampling.{name}")
        self._say("stop", list(sampling.stop) or None, "sampling.stop")
        self._say("logit_bias", None if sampling.logit_bias is None else dict(sampling.logit_bias), "sampling.logit_bias")
        self._say("n", sampling.candidates, "sampling.candidates", (sampling.candidates or 1) > 1)

    def _say_rest(self) -> None:
        conversation = self.conversation
        user, tier = conversation.user, conversation.service_tier
        self._say("user", (user if len(user) <= USER_MAX_CHARS else _hashed(user)) or None, "user")
        self._say("modalities", [one.lower() for one in conversation.modalities] or None, "modalities")
        self._say("metadata", dict(conversation.metadata) or None, "metadata")
        self._say("prompt_cache_key", conversation.cache_key or None, "cache_key")
        self._say("verbosity", conversation.verbosity or None, "verbosity")
        if conversation.store or "store" not in self.target.drop:  # who keeps nothing need not be told to keep nothing
            self._say("store", conversation.store, "store")
        if tier and tier not in SERVICE_TIERS and conversation.family != NAME:
            self.dropped.append("service_tier")
        else:
            self._say("service_tier", tier or None, "service_tier")

    def _say_extra(self) -> None:
        for name, value in self.conversation.extra.items():
            own = self.conversation.family == NAME and not name.startswith("messages[")
            if own and (name not in KNOWN or name == "safety_identifier"):
                self._say(name, value, name)
            else:
                self.dropped.append(name)


def _hashed(user: str) -> str:
    return hashlib.sha256(user.encode("utf-8", "replace")).hexdigest()

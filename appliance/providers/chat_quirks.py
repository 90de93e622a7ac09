"""The quirks of the vendors that speak chat completions, each with the page or the error text that shows it.

A model whose name nothing here knows is asked as its vendor's plainest one. Names of fields are those of dialects.chat_request_writer.
"""

from appliance.providers.quirks import EVERY, USUAL, Efforts, Limit, Quirks, Refused, Spelled

OPEN_SAMPLING = ("top_k", "min_p", "repetition_penalty")
"""Of the servers of open models; others answer 400 ("Unrecognized request argument supplied: top_k")."""

SEALS = ("reasoning_details", "extra_content")
"""OpenRouter's and Google's members of messages; strict vendors answer "Unknown parameter" or "property ... is unsupported"."""

THOUGHTS = ("reasoning_content", *SEALS)

# OpenAI: which models reason (platform.openai.com/docs/guides/reasoning). gpt-5-chat-latest and its like do not.
_CHATTY = ("gpt-5-chat*", "gpt-5.?-chat*", "gpt-5-search*")
_O = ("o1*", "o3*", "o4*")
_REASONING = (*_O, "gpt-5", "gpt-5-20*", "gpt-5-mini*", "gpt-5-nano*", "gpt-5-pro*", "gpt-5-codex*", "gpt-5.?", "gpt-5.?-*", "gpt-6*")
_ALONE = ("gpt-5.4*", "gpt-5.5*", "gpt-5.6*", "gpt-5.7*", "gpt-5.8*", "gpt-5.9*", "gpt-6*")
_PLAIN = ("gpt-3*", "gpt-4*", "chatgpt-*", "gpt-audio*", "ft:gpt-3*", "ft:gpt-4*", *_CHATTY)

_DRAWING = ("temperature", "top_p", "presence_penalty", "frequency_penalty", "logit_bias", "logprobs", "top_logprobs", "stop")
"""Refused by reasoning models ("Unsupported value: 'temperature' does not support 0.7", "Unsupported parameter: 'stop'")."""

OPENAI = Quirks(
    refused=(
        Refused((*OPEN_SAMPLING, *THOUGHTS, "prefill")),
        Refused(_DRAWING, _REASONING),
        Refused(("reasoning_effort",), _PLAIN),  # "Unrecognized request argument supplied: reasoning_effort"
        Refused(("parallel_tool_calls",), _O),
        # "Function tools with reasoning_effort are not supported for gpt-5.6 in /v1/chat/completions. To use function tools, use
        # /v1/responses or set reasoning_effort to 'none'": from 5.4 on, and from 5.6 on also if none is said
        Refused(("effort_with_tools",), _ALONE),
    ),
    # "Unsupported value: 'minimal' is not supported with the 'gpt-5.1' model. Supported values are: ...", collected model by model
    efforts=(
        Efforts(USUAL, _O),
        Efforts(("high",), ("gpt-5-pro*",)),
        Efforts(("medium", "high", "xhigh"), ("gpt-5.?-pro*",)),
        Efforts(("low", "medium", "high", "xhigh"), ("gpt-5.?-codex*",)),
        Efforts(("none", "low", "medium", "high"), ("gpt-5.1*",)),
        Efforts(("none", "low", "medium", "high", "xhigh"), ("gpt-5.2*", "gpt-5.3*", "gpt-5.4*", "gpt-5.5*")),
        Efforts(("none", "low", "medium", "high", "xhigh", "max"), ("gpt-5.?*", "gpt-6*")),
        Efforts(("minimal", "low", "medium", "high"), ("gpt-5*",)),
    ),
    # platform.openai.com/docs/models, "max output tokens"; beyond it: "max_tokens is too large: 32000. This model supports at most 16384"
    limits=(
        Limit(4_096, ("gpt-3.5*", "gpt-4-turbo*", "gpt-4-1106*", "gpt-4-0125*", "gpt-4o-2024-05-13")),
        Limit(8_192, ("gpt-4", "gpt-4-0613")),
        Limit(16_384, ("gpt-4o*", "chatgpt-4o*", "gpt-4.5*", "gpt-audio*", *_CHATTY)),
        Limit(32_768, ("gpt-4.1*",)),
        Limit(100_000, ("o1", "o1-20*", "o1-pro*", "o3*", "o4*")),
        Limit(272_000, ("gpt-5-pro*",)),
        Limit(128_000, ("gpt-5*",)),
    ),
)  # fmt: skip

# openrouter.ai/docs: reasoning-tokens, prompt-caching, multimodal/pdfs; parameters that a model has not are ignored there
OPENROUTER = Quirks(
    spelled=(
        Spelled("cache", "cache_control"), Spelled("reasoning_effort", "reasoning"), Spelled("reasoning_content", "reasoning"),
        Spelled("file_url", "file_data"),
    ),
    efforts=(Efforts(EVERY),),
)  # fmt: skip

# console.groq.com/docs/openai, "currently unsupported": 400 for these; of members of messages "property 'reasoning_content' is unsupported"
GROQ = Quirks(
    refused=(
        Refused((*OPEN_SAMPLING, *THOUGHTS, "refusal", "name", "n", "logprobs", "top_logprobs", "logit_bias")),
        Refused(("reasoning_effort",), ("llama*", "gemma*", "moonshot*", "kimi*", "allam*")),
    ),
    efforts=(Efforts(("none",), ("qwen*",)),),
)

# docs.mistral.ai/api: what is not known is 422 extra_forbidden; message order: "Unexpected role 'user' after role 'tool'", code 3230;
# "Expected last role User or Tool (or Assistant with prefix True)". Thinking is adjustable in some models only.
_THINKING = ("magistral*", "mistral-small*", "mistral-medium-3-5*", "mistral-medium-latest")
MISTRAL = Quirks(
    refused=(
        Refused((*OPEN_SAMPLING, *SEALS, "refusal", "logit_bias", "logprobs", "top_logprobs", "user", "user_after_tool")),
        Refused(
            ("reasoning_content", "reasoning_effort"),
            ("mistral-large*", "ministral*", "codestral*", "devstral*", "pixtral*", "voxtral*", "open-*", "mistral-tiny*", "mistral-nemo*"),
        ),
        Refused(("reasoning_effort",), ("magistral*",)),
    ),
    spelled=(
        Spelled("seed", "random_seed"), Spelled("prefill", "prefix"), Spelled("reasoning_content", "thinking", _THINKING),
        Spelled("dimensions", "output_dimension"),  # of embeddings (docs.mistral.ai/api/endpoint/embeddings)
    ),
    efforts=(Efforts(("none", "high")),),
)

# inference-docs.cerebras.ai: "property 'messages.2.assistant.reasoning_content' is unsupported"; `reasoning` is taken back
CEREBRAS = Quirks(
    refused=(Refused((*OPEN_SAMPLING, *SEALS, "refusal", "n", "presence_penalty", "frequency_penalty", "logit_bias")),),
    spelled=(Spelled("reasoning_content", "reasoning"),),
)

# docs.x.ai/docs/guides/reasoning: "presencePenalty, frequencyPenalty and stop parameters are not supported by reasoning models"
XAI = Quirks(
    refused=(
        Refused(("presence_penalty", "frequency_penalty", "stop"), ("grok-3-mini*", "grok-4*", "grok-code*", "grok-5*")),
        Refused(("reasoning_effort",), ("grok-2*", "grok-3", "grok-3-fast*", "grok-3-beta*", "grok-4", "grok-4-0709", "grok-code*")),
    ),
    efforts=(Efforts(("low", "high"), ("grok-3-mini*",)),),
)

# api-docs.deepseek.com/guides: thinking_mode (switched by an object; thoughts come back while tools are in use), json_mode ("This
# response_format type is unavailable now" for a schema)
DEEPSEEK = Quirks(refused=(Refused(("json_schema",)),), spelled=(Spelled("reasoning_effort", "thinking"),))

# docs.perplexity.ai/api-reference: no tools, turns of user and assistant alternate
PERPLEXITY = Quirks(refused=(Refused((*THOUGHTS, "refusal", "name", "n", "tools", "tool_choice", "late_system")),))

# Servers of open models apply the model's own chat template, and many of those refuse a system message that is not the first ("System
# message must be at the beginning": Qwen's and others').
OPEN_SERVER = Quirks(refused=(Refused(("late_system",)),))
VLLM = Quirks(refused=(Refused(("late_system",)),), spelled=(Spelled("prefill", "continue_final_message"),))
OLLAMA = Quirks(refused=(Refused(("late_system",)),), efforts=(Efforts(("none", "low", "medium", "high")),))

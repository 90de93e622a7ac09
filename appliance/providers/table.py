"""The vendors. One row each, with the vendor's own page for what it says; a quirk is here only where an API is known to have it.

Names of `gen_ai_name` are from the OpenTelemetry registry (opentelemetry.io/docs/specs/semconv/registry/attributes/gen-ai).
"""

from collections.abc import Mapping
from types import MappingProxyType

from appliance.providers import chat_quirks as q
from appliance.providers.row import EVERY_PATH, BodyShape, Provider, Rename, openai_paths

# OpenAI's reasoning models answer 400 unsupported_parameter to `max_tokens` ("Use 'max_completion_tokens' instead"); the other name is
# understood by all its chat models (platform.openai.com/docs/api-reference/chat/create).
REASONING_LIMIT = Rename("max_tokens", "max_completion_tokens", ("o1*", "o3*", "o4*", "gpt-5*", "gpt-6*"))

# platform.claude.com/docs/en/build-with-claude/claude-on-vertex-ai: the model stands in the path (but of a count), the version in the body.
_VERSION = MappingProxyType({"anthropic_version": "vertex-2023-10-16"})
CLAUDE_ON_VERTEX: Mapping[str, BodyShape] = MappingProxyType({
    "anthropic_messages": BodyShape(_VERSION, without=("model",)), "anthropic_messages count_tokens": BodyShape(_VERSION),
})

# cloud.google.com/vertex-ai/docs/reference/rest/v1/projects.locations.publishers.models/countTokens: contents, instructions and tools stand
# at the top, and nothing wraps them.
GEMINI_COUNT_ON_VERTEX: Mapping[str, BodyShape] = MappingProxyType({
    "gemini count_tokens": BodyShape(
        lifted="generateContentRequest",
        without=("model", "toolConfig", "safetySettings", "labels", "serviceTier", "store", "cachedContent"),
    ),
})  # fmt: skip

VERTEX_PATHS: Mapping[str, str] = MappingProxyType({
    "gemini": "/publishers/google/models/{model}:generateContent",
    "gemini stream": "/publishers/google/models/{model}:streamGenerateContent?alt=sse",
    "anthropic_messages": "/publishers/anthropic/models/{model}:rawPredict",
    "anthropic_messages stream": "/publishers/anthropic/models/{model}:streamRawPredict",
    "gemini count_tokens": "/publishers/google/models/{model}:countTokens",
    "anthropic_messages count_tokens": "/publishers/anthropic/models/count-tokens:rawPredict",
})
"""Below /v1/projects/PROJECT/locations/LOCATION, which an account's base_url ends in."""

BEDROCK_MAKERS = (
    "ai21", "amazon", "anthropic", "cohere", "deepseek", "google", "luma", "meta", "minimax", "mistral", "moonshot", "moonshotai", "nvidia",
    "openai", "qwen", "stability", "twelvelabs", "writer", "zai",
)
"""First parts of Bedrock's model ids (docs.aws.amazon.com/bedrock/latest/userguide/models-supported.html); of inference profiles' the
second, behind a geography. They end in a version, as in `us.anthropic.claude-sonnet-4-5-20250929-v1:0`."""

NOTHING_ELSE: Mapping[str, str] = MappingProxyType({})
"""Paths of a vendor that speaks nothing of OpenAI's; see row.LANGUAGE_PATHS."""

_ROWS = (
    # platform.openai.com/docs/api-reference. Not gpt-*: the open gpt-oss models are everybody's but OpenAI's.
    Provider(
        "openai", "https://api.openai.com/v1", dialects=("openai_chat", "openai_responses"), renames=(REASONING_LIMIT,), newest_fields=True,
        price_source="openai",
        counts=True, paths=openai_paths(has=("moderations", "image_generation", "image_edit", "speech", "transcription", "translation")),
        quirks=q.OPENAI,
        models=(
            *(f"gpt-{generation}*" for generation in range(3, 10)), "gpt-audio*", "chatgpt-*", "o1*", "o3*", "o4*", "ft:*",
            "text-embedding-*", "davinci-002", "babbage-002", "gpt-image-*", "gpt-transcribe*", "dall-e-*", "whisper-1", "tts-1*",
            "omni-moderation-*", "text-moderation-*",
        ),
    ),
    # platform.claude.com/docs/en/api/overview; the version is the only one there is, and a caller's own goes before it
    Provider(
        "anthropic", "https://api.anthropic.com", dialects=("anthropic_messages",), auth="x-api-key", health_path="/v1/models",
        price_source="anthropic",
        paths=NOTHING_ELSE, counts=True, models=("claude-*",), headers=((b"anthropic-version", b"2023-06-01"),),
    ),
    # ai.google.dev/api; the key as its own SDK sends it
    Provider(
        "gemini", "https://generativelanguage.googleapis.com", dialects=("gemini",), auth="x-goog-api-key", health_path="/v1beta/models",
        price_source="google", models=("gemini-*",), gen_ai_name="gcp.gemini", paths=NOTHING_ELSE, counts=True,
    ),
    # docs.cohere.com/reference/about; both versions of rerank are served
    Provider(
        "cohere", "https://api.cohere.com", price_source="cohere", dialects=("cohere",), health_path="/v1/models",
        models=("command-*", "c4ai-*", "rerank-v*", "rerank-english-*", "rerank-multilingual-*"),
        paths=MappingProxyType({"rerank": "/v1/rerank", "rerank_v2": "/v2/rerank"}),
    ),
    # docs.aws.amazon.com/bedrock/latest/APIReference. A request is signed, or has a Bedrock API key
    # (docs.aws.amazon.com/bedrock/latest/userguide/api-keys.html) as a bearer token. There is no free GET below that host.
    Provider(
        "bedrock", "https://bedrock-runtime.{region}.amazonaws.com", dialects=("bedrock",), health_path="", gen_ai_name="aws.bedrock",
        price_source="aws", paths=NOTHING_ELSE, counts=True, cloud="aws",
        models=(*(f"{maker}.*" for maker in BEDROCK_MAKERS), "*.anthropic.*", "*.amazon.*", "*.meta.*"),
        trims=((r"^(?:[a-z-]+\.)?[a-z0-9]+\.(?=[a-z])", ""), (r"(?:-v\d+(?::\d+)?|-\d+:\d+|:\d+)(?::\w+)?$", "")),
    ),
    # cloud.google.com/vertex-ai/generative-ai/docs/model-reference/inference; an api_key is one of Express mode's or of a service account.
    # Vertex refuses ids of calls that Google's other API knows (`Unknown name "id" at 'contents[1].parts[0].function_call'`).
    Provider(
        "vertex", "https://{location}-aiplatform.googleapis.com", dialects=("gemini", "anthropic_messages"), auth="x-goog-api-key",
        price_source="google",
        health_path="", gen_ai_name="gcp.vertex_ai", paths=NOTHING_ELSE, language_paths=VERTEX_PATHS, counts=True, cloud="google",
        drop=("functionCall.id",), languages=(("claude-*", "anthropic_messages"),), shapes={**CLAUDE_ON_VERTEX, **GEMINI_COUNT_ON_VERTEX},
        trims=((r"@(?:default|latest)$", ""), ("@", "-")),
    ),
    # openrouter.ai/docs/api-reference/overview; variants such as `:free` and `:nitro`: openrouter.ai/docs/guides/routing/model-variants;
    # openrouter.ai/docs/client-sdks lists rerank, speech and transcriptions
    Provider(
        "openrouter", "https://openrouter.ai/api/v1", price_source="openrouter", strips_suffix=True, quirks=q.OPENROUTER,
        paths=openai_paths(has=("rerank", "speech", "transcription")),
    ),
    # featherless.ai/docs/api-overview-and-common-options
    Provider("featherless", "https://api.featherless.ai/v1", quirks=q.OPEN_SERVER),
    # console.groq.com/docs/openai, "currently unsupported": text completions; there are no embeddings. `x_groq.usage` stands on the last
    # chunk of every stream (console.groq.com/docs/api-reference).
    Provider(
        "groq", "https://api.groq.com/openai/v1", price_source="groq", stream_usage="given", quirks=q.GROQ,
        paths=openai_paths("text_completion", "embeddings", has=("speech", "transcription", "translation")),
    ),
    # docs.mistral.ai/api. `stream_options` and `max_completion_tokens` are answered with 422 extra_forbidden; usage is on the last chunk.
    Provider(
        "mistral", "https://api.mistral.ai/v1", price_source="mistral", gen_ai_name="mistral_ai", stream_usage="refused",
        renames=(Rename("max_completion_tokens", "max_tokens"),), short_ids=True, quirks=q.MISTRAL,
        paths=openai_paths("text_completion", has=("moderations", "speech", "transcription")),
        models=("mistral-*", "ministral-*", "magistral-*", "codestral-*", "devstral-*", "pixtral-*", "voxtral-*", "open-mi?tral-*"),
    ),
    # api-docs.deepseek.com
    Provider(
        "deepseek", "https://api.deepseek.com", price_source="deepseek",
        models=("deepseek-chat", "deepseek-reasoner"), quirks=q.DEEPSEEK,
    ),
    # docs.together.ai/docs/openai-api-compatibility
    Provider(
        "together", "https://api.together.xyz/v1", price_source="together", quirks=q.OPEN_SERVER,
        paths=openai_paths(has=("rerank", "image_generation", "speech", "transcription", "translation")),
    ),
    # docs.fireworks.ai/tools-sdks/openai-compatibility, /guides/querying-embeddings-models. Its audio has hosts of its own.
    Provider(
        "fireworks", "https://api.fireworks.ai/inference/v1", price_source="fireworks",
        quirks=q.OPEN_SERVER, paths=openai_paths(has=("rerank",)),
    ),
    # inference-docs.cerebras.ai/resources/openai
    Provider("cerebras", "https://api.cerebras.ai/v1", price_source="cerebras", quirks=q.CEREBRAS),
    # docs.x.ai/docs/api-reference
    Provider(
        "xai", "https://api.x.ai/v1", price_source="x-ai", gen_ai_name="x_ai", models=("grok-*",), quirks=q.XAI,
        paths=openai_paths(has=("image_generation", "image_edit")),
    ),
    # docs.perplexity.ai/api-reference/chat-completions-post: cumulative usage on every chunk; no list of models below this base
    Provider(
        "perplexity", "https://api.perplexity.ai", paths=openai_paths("text_completion"), health_path="", models=("sonar", "sonar-*"),
        price_source="perplexity", stream_usage="given", quirks=q.PERPLEXITY,
    ),
    # docs.api.nvidia.com/nim/reference/llm-apis
    Provider("nvidia", "https://integrate.api.nvidia.com/v1", quirks=q.OPEN_SERVER),
    # huggingface.co/docs/inference-providers: its OpenAI-compatible side has chats alone; `model:provider` picks who serves it
    Provider(
        "huggingface", "https://router.huggingface.co/v1", paths=openai_paths("text_completion", "embeddings"), strips_suffix=True,
        quirks=q.OPEN_SERVER,
    ),
    # learn.microsoft.com/azure/ai-foundry/openai/reference; listing models needs an api-version, so the probe is a connect
    Provider(
        "azure-openai", auth="api-key", health_path="", gen_ai_name="azure.ai.openai", deployments=True, renames=(REASONING_LIMIT,),
        price_source="azure", newest_fields=True, quirks=q.OPENAI,
        paths=openai_paths(has=("image_generation", "image_edit", "speech", "transcription", "translation")),
    ),
    # docs.vllm.ai/en/latest/serving/openai_compatible_server.html
    Provider("vllm", "http://127.0.0.1:8000/v1", key_optional=True, paths=EVERY_PATH, quirks=q.VLLM),
    # docs.ollama.com/api/openai-compatibility
    Provider("ollama", "http://127.0.0.1:11434/v1", key_optional=True, paths=EVERY_PATH, quirks=q.OLLAMA),
    # github.com/ggml-org/llama.cpp/tree/master/tools/server. Its default port 8080 is the gateway's own, so there is no default here.
    Provider("llamacpp", key_optional=True, paths=EVERY_PATH, quirks=q.OPEN_SERVER),
    # lmstudio.ai/docs/developer/openai-compat
    Provider("lmstudio", "http://127.0.0.1:1234/v1", key_optional=True, paths=EVERY_PATH, quirks=q.OPEN_SERVER),
    # docs.sglang.io/basic_usage/openai_api.html
    Provider("sglang", "http://127.0.0.1:30000/v1", key_optional=True, paths=EVERY_PATH, quirks=q.OPEN_SERVER),
    # kserve.github.io/website/docs/model-serving/generative-inference/sdk-integration: base_url ends in /openai/v1
    Provider("kserve", key_optional=True, paths=EVERY_PATH, quirks=q.OPEN_SERVER),
    Provider("custom", key_optional=True, paths=EVERY_PATH, quirks=q.OPEN_SERVER),
)  # fmt: skip

PROVIDERS: Mapping[str, Provider] = MappingProxyType({row.name: row for row in _ROWS})

"""How each operation is said to each vendor, as a table: the caller's language first, and no call that the row does not promise."""

import pytest

from appliance.dialects.language_table import language
from appliance.dialects.protocol import SHARED
from appliance.providers import PROVIDERS, Manner, Provider, endpoint, manner

BASE = "https://host.example/v1"


@pytest.mark.parametrize(("row", "pinned", "callers", "operation", "wanted"), [
    ("openai", None, "openai_chat", "chat", ("openai_chat", "chat")),
    ("openai", None, "anthropic_messages", "chat", ("openai_chat", "chat")),
    ("openai", None, "openai_responses", "chat", ("openai_responses", "chat")),
    ("custom", "gemini", "openai_chat", "chat", ("gemini", "chat")),
    ("openai", None, "openai_chat", "text_completion", ("openai_chat", "text_completion")),
    ("openai", "openai_responses", "openai_chat", "text_completion", ("openai_chat", "text_completion")),
    ("anthropic", None, "openai_chat", "text_completion", ("anthropic_messages", "chat")),
    ("custom", "cohere", "openai_chat", "text_completion", ("cohere", "chat")),
    ("mistral", None, "openai_chat", "text_completion", ("openai_chat", "chat")),
    ("groq", None, "openai_chat", "text_completion", ("openai_chat", "chat")),
    ("groq", None, "gemini", "embeddings", None),
    ("mistral", None, "gemini", "embeddings", ("openai_chat", "embeddings")),
    ("openai", None, "openai_chat", "embeddings", ("openai_chat", "embeddings")),
    ("openai", None, "gemini", "embeddings", ("openai_chat", "embeddings")),
    ("openai", "openai_responses", "gemini", "embeddings", ("openai_chat", "embeddings")),
    ("gemini", None, "gemini", "embeddings", ("gemini", "embeddings")),
    ("gemini", None, "openai_chat", "embeddings", ("gemini", "embeddings")),
    ("custom", "gemini", "openai_chat", "embeddings", ("gemini", "embeddings")),
    ("cohere", None, "gemini", "embeddings", ("cohere", "embeddings")),
    ("anthropic", None, "openai_chat", "embeddings", None),
    ("bedrock", None, "gemini", "embeddings", None),
    ("anthropic", None, "anthropic_messages", "count_tokens", ("anthropic_messages", "count_tokens")),
    ("anthropic", None, "gemini", "count_tokens", ("anthropic_messages", "count_tokens")),
    ("gemini", None, "gemini", "count_tokens", ("gemini", "count_tokens")),
    ("gemini", None, "anthropic_messages", "count_tokens", ("gemini", "count_tokens")),
    ("bedrock", None, "anthropic_messages", "count_tokens", ("bedrock", "count_tokens")),
    ("openai", None, "anthropic_messages", "count_tokens", ("openai_responses", "count_tokens")),
    ("openai", "openai_chat", "anthropic_messages", "count_tokens", None),
    ("cohere", None, "gemini", "count_tokens", None),
    ("vllm", "anthropic_messages", "anthropic_messages", "count_tokens", None),
    ("custom", None, "openai_chat", "something_new", None),
])  # fmt: skip
def test_an_operation_is_said_in_a_language_that_has_it(row, pinned, callers, operation, wanted):
    found = manner(PROVIDERS[row], pinned, callers, operation)
    assert found == (None if wanted is None else Manner(*wanted))


def test_an_operation_of_one_language_alone_passes_where_the_row_has_its_path():
    row = Provider("acme", paths={"rerank": "/rank"}, dialects=("cohere",))
    assert manner(row, None, "openai_chat", "rerank") == Manner("openai_chat", "rerank")


@pytest.mark.parametrize("name", PROVIDERS)
def test_whatever_a_row_promises_has_a_path_and_a_codec(name):
    row = PROVIDERS[name]
    for operation in SHARED:
        for callers in ("openai_chat", "openai_responses", "anthropic_messages", "gemini"):
            found = manner(row, None, callers, operation)
            if found is not None:
                assert endpoint(row, BASE, found.operation, "m", language=found.language).startswith(b"/")
                sides = language(found.language).sides(operation)
                assert sides is not None
                assert sides.told is not None


@pytest.mark.parametrize(("row", "operation", "spoken", "target"), [
    ("gemini", "embeddings", "gemini", b"/v1beta/models/a%2Fb:batchEmbedContents"),
    ("gemini", "embed_content", "gemini", b"/v1beta/models/a%2Fb:embedContent"),
    ("gemini", "count_tokens", "gemini", b"/v1beta/models/a%2Fb:countTokens"),
    ("anthropic", "count_tokens", "anthropic_messages", b"/v1/messages/count_tokens"),
    ("openai", "count_tokens", "openai_responses", b"/responses/input_tokens"),
    ("bedrock", "count_tokens", "bedrock", b"/model/a%2Fb/count-tokens"),
    ("cohere", "embeddings", "cohere", b"/v2/embed"),
])  # fmt: skip
def test_each_call_has_its_path(row, operation, spoken, target):
    assert endpoint(PROVIDERS[row], "https://host.example", operation, "a/b", language=spoken) == target

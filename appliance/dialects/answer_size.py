"""How much a model wrote, in bytes: what an answer whose backend counts no tokens is estimated by, and a prompt likewise.

The rule: only what the model made counts (words, thoughts that are shown, calls of tools), in UTF-8 and without JSON's escapes, and a part
counts the same whether it came whole or in pieces. openai_size holds to it for OpenAI's JSON, completion_size for canonical values.
"""

BYTES_PER_TOKEN = 4
"""Prose in recorded answers of seven vendors has 3.9 to 5.8 bytes a token, mostly 4.6, so that this is rather too many tokens; JSON has
fewer bytes."""

CALL_BYTES = 80
"""Around each call of a tool, for what no answer shows: in recordings of Anthropic, Bedrock and Cohere 13 to 37 tokens beside its name and
its arguments, of OpenAI about ten."""

MEDIA_BYTES = 6_000
"""Of a picture, sound or document, also in a prompt: 1,500 tokens. That is what Anthropic's largest picture costs, (width x height) / 750
(platform.claude.com/docs/en/build-with-claude/vision), and about what a page of a PDF does; one that Gemini makes costs 1,290
(ai.google.dev/gemini-api/docs/pricing)."""


def text_size(text: str) -> int:
    """Backends cut surrogate pairs where they cut a text: half a pair counts as well."""
    return len(text) if text.isascii() else len(text.encode("utf-8", "surrogatepass"))

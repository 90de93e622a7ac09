"""Token counts of one generation, in the gateway's own terms.

Every dialect counts differently; here `input_tokens` includes cache reads and writes, and `output_tokens` includes reasoning, so that the
kinds below are parts of the two totals and never added to them.
"""

import attrs


@attrs.define  # never changed after it is made, but not frozen: that costs 0.6 µs each time
class Usage:
    """Tokens as billed.

    Attributes:
        source: where the figures come from: `provider` (its own count), `drained` (its own count, read after the client had left) or
            `estimated` (ours).
        search_units: what rankings are billed by (Cohere: one query with up to a hundred documents); 0 elsewhere.
        cache_write_1h_tokens: of cache_write_tokens those that are kept for an hour, which costs more than five minutes (Anthropic).
        cached_audio_tokens: of cached_input_tokens those that are audio, where the vendor says so.
        tier: what other than the standard price is asked for the answer: `priority`, `flex`, `fast`; empty for the standard.
        web_searches: made by the provider for the answer, and billed apiece, where the vendor says how many.
    """

    input_tokens: int = 0
    output_tokens: int = 0
    cached_input_tokens: int = 0
    cache_write_tokens: int = 0
    reasoning_tokens: int = 0
    input_audio_tokens: int = 0
    output_audio_tokens: int = 0
    source: str = "provider"
    search_units: int = 0
    cache_write_1h_tokens: int = 0
    cached_audio_tokens: int = 0
    input_image_tokens: int = 0
    output_image_tokens: int = 0
    web_searches: int = 0
    tier: str = ""

    @property
    def total_tokens(self) -> int:
        return self.input_tokens + self.output_tokens

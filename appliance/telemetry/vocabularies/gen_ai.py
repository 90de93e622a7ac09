"""The OpenTelemetry GenAI semantic conventions, in their Prometheus spelling.

`client` families count attempts, `server` families requests that reached a backend. Edges, label names and well-known values are those of
the conventions' metrics page (opentelemetry.io, "Semantic conventions for generative AI metrics", status: development). Tokens are the
billed ones; where no count is known, nothing is observed.
"""

from appliance.telemetry.family import REACHED, Family, Label
from appliance.telemetry.verdict import NO_ERROR

DURATION_EDGES_S = (0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92)
TTFT_EDGES_S = (0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0)
TIME_PER_TOKEN_EDGES_S = (0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1.0, 2.5)
TOKEN_EDGES = tuple(float(4**power) for power in range(14))

# `gen_ai.provider.name`: where the conventions have a word for a vendor it must be used.
PROVIDERS = {
    "mistral": "mistral_ai",
    "xai": "x_ai",
    "azure-openai": "azure.ai.openai",
    "azure": "azure.ai.openai",
    "bedrock": "aws.bedrock",
    "gemini": "gcp.gemini",
    "vertex": "gcp.vertex_ai",
}

LABELS = (
    Label("gen_ai_operation_name", "operation"),
    Label("gen_ai_provider_name", "vendor", PROVIDERS),
    Label("gen_ai_request_model", "model"),
    Label("gen_ai_response_model", "response_model"),
    # Empty, which Prometheus reads as absent, when nothing went wrong.
    Label("error_type"),
)

FAMILIES = (
    Family(
        "gen_ai_client_operation_duration_seconds", "histogram", "Duration of one attempt at a provider.", "attempts",
        LABELS, "duration", edges=DURATION_EDGES_S, unit="seconds",
    ),
    Family(
        "gen_ai_client_token_usage", "histogram", "Tokens of one attempt, as the provider counted them.", "attempts", LABELS,
        split=("gen_ai_token_type", {"input": "input_tokens", "output": "output_tokens"}), edges=TOKEN_EDGES,
    ),
    Family(
        "gen_ai_server_request_duration_seconds", "histogram", "Duration of a request until its last byte.", "requests",
        LABELS, "duration", where=REACHED, edges=DURATION_EDGES_S, unit="seconds",
    ),
    Family(
        "gen_ai_server_time_to_first_token_seconds", "histogram", "Time to the first token of a successful stream.", "requests",
        LABELS, "ttft", where={**REACHED, "error_type": NO_ERROR}, edges=TTFT_EDGES_S, unit="seconds",
    ),
    Family(
        "gen_ai_server_time_per_output_token_seconds", "histogram", "Time per token after the first, of a successful stream.", "requests",
        LABELS, "time_per_token", where={**REACHED, "error_type": NO_ERROR}, edges=TIME_PER_TOKEN_EDGES_S, unit="seconds",
    ),
)  # fmt: skip

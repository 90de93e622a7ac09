"""OpenAI's dialect: chat completions, completions, embeddings, model lists, on both sides. This module is its only door.

Towards the upstream the caller's bytes pass as they came (`rewrite` splices); of the answer the gateway reads what it must record
(`OpenAIStreamTap`, `read_answer`) and what went wrong (`classify`, `hidden_error`).
"""

from appliance.dialects.openai_envelope import OpenAICaller, model_one, models_list
from appliance.dialects.openai_request import read_request
from appliance.dialects.openai_rewrite import rewrite
from appliance.dialects.openai_stream import OpenAIStreamTap
from appliance.dialects.openai_usage import read_answer
from appliance.dialects.protocol import CallerDialect
from appliance.dialects.upstream_error import classify, hidden_error

OPENAI: CallerDialect = OpenAICaller()

__all__ = ["OPENAI", "OpenAIStreamTap", "classify", "hidden_error", "model_one", "models_list", "read_answer", "read_request", "rewrite"]

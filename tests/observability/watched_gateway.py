"""The gateway that the scripted workload asks: three backends that work, three that do not, and a route for each thing that may happen."""

import hashlib

BACKENDS = ("alpha", "beta", "claude", "flaky", "broken", "resting")
SLOW_S = 0.3
TENANTS = {
    "acme": "",
    "globex": "",
    "careful": 'budget = { usd = 1, period = "total" }',
    "poor": 'budget = { usd = 1, period = "total" }',
    "limited": "",
}
KEYS = {"acme": "", "globex": "", "careful": "", "poor": "", "limited": "rpm = 1", "limited-again": "rpm = 1"}
FLAT_USD = 0.05
PRICES_USD = {
    "gpt-4o-mini": (0.001, 0.002), "gpt-4o": (0.002, 0.004), "claude-3-5-haiku": (0.003, 0.015), "gemini-2.5-flash": (0.001, 0.003),
    "llama-3.1-8b": (0.0005, 0.0005), "mistral-small": (0.001, 0.001), "embedder": (0.0001, 0.0),
}  # fmt: skip
"""USD for one token of a prompt and of an answer."""
EXPERIMENT_PERCENT = 40
STRANGER = "stranger"


def config(simulator: str, sink: str) -> str:
    """Its TOML. Traces and budget warnings go to the URL `sink`."""
    prices = "".join(
        f'[prices.models."{name}"]\ninput_usd_per_mtok = {each[0] * 1e6}\noutput_usd_per_mtok = {each[1] * 1e6}\n'
        for name, each in {**PRICES_USD, "hedged": (0.0, 0.0), "left": (0.0, 0.0)}.items()
    )
    tenants = ""
    for name, lines in TENANTS.items():
        keys = ", ".join(
            f'{{ id = "{key}", sha256 = "{hashlib.sha256(secret_of(key).encode()).hexdigest()}"{", " + limits if limits else ""} }}'
            for key, limits in KEYS.items() if key.removesuffix("-again") == name
        )  # fmt: skip
        tenants += f"[tenants.{name}]\n{lines}\nkeys = [ {keys} ]\n"
    return CONFIG.replace("{sim}", simulator).replace("{sink}", sink) + prices + tenants


CONFIG = f"""
[telemetry]
traces = {{ endpoint = "{{sink}}", sample = 1, interval_s = 0.2 }}
[alerts]
webhook = {{ url = "{{sink}}" }}
[budgets]
answer_tokens_max = 100
[prices.models.flat]
request_usd = {FLAT_USD}
[prices.models.dear]
request_usd = 5
[backends.alpha]
provider = "custom"
base_url = "{{sim}}/v1"
api_key = "first"
api_keys = ["second"]
[backends.beta]
provider = "custom"
base_url = "{{sim}}/v1"
breaker = {{ consecutive_failures = 0, failure_ratio = 0 }}
[backends.claude]
provider = "anthropic"
base_url = "{{sim}}"
api_key = "third"
[backends.flaky]
provider = "custom"
base_url = "{{sim}}/v1"
breaker = {{ consecutive_failures = 0, failure_ratio = 0 }}
health = {{ failures = 1000 }}
[backends.broken]
provider = "custom"
base_url = "{{sim}}/v1"
breaker = {{ consecutive_failures = 3, failure_ratio = 0, open_s = 3600 }}
[backends.resting]
provider = "custom"
base_url = "{{sim}}/v1"
breaker = {{ consecutive_failures = 2, failure_ratio = 0, open_s = 0.05 }}
health = {{ mode = "off" }}
[[routes]]
name = "claude"
models = ["claude"]
targets = [ {{ backend = "claude", model = "claude-3-5-haiku@ttft={SLOW_S}s", label = "claude-3-5-haiku" }} ]
[[routes]]
name = "llama"
models = ["llama"]
targets = [ {{ backend = "beta", model = "llama-3.1-8b@tps=50", label = "llama-3.1-8b" }} ]
[[routes]]
name = "failing"
models = ["failing"]
targets = [ {{ backend = "flaky", model = "mistral-small+500", label = "mistral-small" }} ]
retry = {{ attempts = 1 }}
[[routes]]
name = "rescued-1"
models = ["rescued-1"]
targets = [ {{ backend = "flaky", model = "gpt-4o+401", label = "gpt-4o" }} ]
fallback = [ {{ backend = "alpha", model = "gpt-4o" }} ]
[[routes]]
name = "rescued-2"
models = ["rescued-2"]
targets = [ {{ backend = "flaky", model = "gpt-4o+429", label = "gpt-4o" }} ]
fallback = [ {{ backend = "alpha", model = "gpt-4o" }} ]
retry = {{ attempts = 2, backoff_s = 0.01 }}
[[routes]]
name = "too-long"
models = ["too-long"]
targets = [ {{ backend = "beta", model = "gemini-2.5-flash+context_length", label = "gemini-2.5-flash" }} ]
[[routes]]
name = "cached"
models = ["cached"]
targets = [ {{ backend = "beta", model = "gpt-4o" }} ]
cache = {{ ttl_s = 3600, when = "always" }}
[[routes]]
name = "hedged"
models = ["hedged"]
strategy = "priority"
targets = [ {{ backend = "alpha", model = "hedged@ttft=30s", label = "hedged" }}, {{ backend = "beta", model = "hedged" }} ]
hedge = {{ after_s = 0.05, max_percent = 100 }}
[[routes]]
name = "shadowed"
models = ["shadowed"]
targets = [ {{ backend = "alpha", model = "gpt-4o" }} ]
[[routes]]
name = "tried"
models = ["tried"]
targets = [ {{ backend = "alpha", model = "gpt-4o" }} ]
[[routes]]
name = "resting"
models = ["resting"]
targets = [ {{ backend = "resting", model = "mistral-small+500", label = "mistral-small" }} ]
retry = {{ attempts = 1 }}
[[routes]]
name = "breaking"
models = ["breaking"]
targets = [ {{ backend = "broken", model = "mistral-small+500", label = "mistral-small" }} ]
retry = {{ attempts = 1 }}
[[routes]]
name = "left"
models = ["left"]
targets = [ {{ backend = "alpha", model = "left@tps=5", label = "left" }} ]
[[routes]]
name = "chat"
models = ["gpt-4o-mini"]
targets = [ {{ backend = "alpha" }} ]
[[routes]]
name = "others"
models = ["gemini-2.5-flash", "embedder", "house", "flat", "dear"]
targets = [ {{ backend = "beta" }} ]
[[experiments]]
name = "trial"
route = "tried"
control = {{ backend = "alpha", model = "gpt-4o" }}
treatment = {{ backend = "beta", model = "gpt-4o-mini" }}
percent = {EXPERIMENT_PERCENT}
[[experiments]]
name = "copied"
route = "shadowed"
control = {{ backend = "alpha", model = "gpt-4o" }}
treatment = {{ backend = "beta", model = "flat" }}
percent = 100
shadow = true
"""


def secret_of(key: str) -> str:
    return f"sk-observed-{key}"

"""The [telemetry.traces] table: where spans of requests go, and which requests'. See `schema` for the rule."""

from collections.abc import Mapping
from typing import Literal

import attrs

from appliance.config.knob import knob, required
from appliance.config.secret import Secret


@attrs.frozen
class Traces:
    """OpenTelemetry traces, sent to a collector by OTLP over HTTP (protobuf)."""

    endpoint: str = required("the collector's whole URL, /v1/traces included")
    headers: Mapping[str, Secret] = knob(attrs.Factory(dict), "request headers, such as an API key; each value a secret")
    service_name: str = knob("appliance", "`service.name` of all spans")
    resource: Mapping[str, str] = knob(attrs.Factory(dict), "more attributes of all spans, such as deployment.environment.name")
    sample: float = knob(0.1, "share of the traces that begin here; in a caller's trace the caller's own flag decides", low=0, high=1)
    faults: bool = knob(True, "what met a fault of a backend or of the gateway is sent though it was not sampled")
    queue_max: int = knob(2048, "requests that wait to be sent, some 4 kB each; more are dropped, and counted", low=1, high=1000000)
    batch_max: int = knob(256, "requests in one POST; 1 MiB at most whatever this says", low=1, high=10000)
    interval_s: float = knob(1.0, "longest wait of a request for its batch", unit="s", low=0.01, high=300)
    timeout_s: float = knob(10.0, "one POST, whole", unit="s", low=0.01, high=300)
    retry_s: float = knob(60.0, "how long a batch is tried while a collector is away or busy; then it is lost", unit="s", low=0, high=3600)
    flush_s: float = knob(3.0, "how long the end of the process waits for what was not sent yet", unit="s", low=0, high=60)
    compression: Literal["none", "gzip"] = knob("none", "gzip costs CPU and saves nine tenths of the bytes")
    ca: str = knob("certifi", "certifi, system, or a PEM file of the authority that signed the collector's certificate")

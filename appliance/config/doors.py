"""The [server] and [admin] tables: where callers and operators connect, and the bounds of that. See `schema` for the rule."""

from typing import Literal

import attrs

from appliance.config.knob import knob, required, table
from appliance.config.secret import Secret


@attrs.frozen
class Listener:
    """One address of the public listener. A plain string in TOML is the address alone."""

    address: str = required("host:port, [::]:port, unix:/path, fd:N or fd:NAME (a socket handed over by systemd)")
    tls_cert: str = knob("", "PEM file with the certificate chain; with it the listener speaks TLS and is served by Hypercorn")
    tls_key: str = knob("", "PEM file with the private key")
    engine: Literal["auto", "builtin", "hypercorn"] = knob("auto", "auto = hypercorn with TLS (HTTP/2 too), else builtin (HTTP/1.1)")


LOOPBACK = (Listener(address="127.0.0.1:8080"),)


@attrs.frozen
class ServerLimits:
    """Bounds of the public door. Each protects memory, sockets or time from one caller."""

    head_max_bytes: int = knob(65536, "request line and headers; agents send long beta headers", unit="bytes", low=1024, high=1048576)
    body_max_bytes: int = knob(33554432, "request body; a few images or PDFs in base64 fit", unit="bytes", low=1024, high=1073741824)
    items_max: int = knob(
        100000, "objects and lists in a JSON body, ten times as many values; reading them holds up everybody", low=1000, high=10000000
    )
    upload_max_bytes: int = knob(
        536870912, "a form with files (images, audio); it is passed on as it comes", unit="bytes", low=1024, high=68719476736
    )
    upload_memory_bytes: int = knob(
        1048576, "of a form held in memory; a shorter one can be sent again to another backend", unit="bytes", low=0, high=1073741824
    )
    upload_spool_bytes: int = knob(
        268435456, "of a form held in an unlinked file in TMPDIR while its model has not come", unit="bytes", low=0, high=68719476736
    )
    connections_max: int = knob(4096, "open client connections per listener; beyond it new ones are refused with 503", low=1, high=1000000)
    header_read_s: float = knob(15.0, "from first byte to the end of the headers; ends slow-header attacks", unit="s", low=0.1, high=3600)
    body_read_s: float = knob(30.0, "longest silence while a body is being sent", unit="s", low=0.1, high=3600)
    idle_s: float = knob(75.0, "keep-alive without a request; longer than the 60 s of common load balancers", unit="s", low=0.1, high=86400)
    write_stall_s: float = knob(30.0, "longest time a client may take no byte while an answer waits", unit="s", low=0.1, high=3600)
    min_rate_bytes_s: int = knob(64, "slowest body or answer that counts as progress", unit="bytes/s", low=0, high=1048576)


@attrs.frozen
class Server:
    """The public listener."""

    listen: tuple[Listener, ...] = knob(LOOPBACK, "where applications connect; loopback until you decide otherwise")
    auth: Literal["keys", "none"] = knob("keys", "none lets anybody in, on any address")
    metrics: Literal["auto", "open", "off"] = knob("auto", "/metrics here: auto = open on loopback, elsewhere with a token")
    drain_s: float = knob(30.0, "after SIGTERM, how long requests may run and answers be read to their end", unit="s", low=0, high=3600)
    notice_s: float = knob(0.0, "how long /readyz says 503 before listeners close; a load balancer notices", unit="s", low=0, high=300)
    user_agent: str = knob("forward", "towards backends: forward = the caller's own, else this text")
    forward_headers: tuple[str, ...] = knob((), "request headers forwarded beside the known dialect headers; a trailing * is a prefix")
    drains_max: int = knob(64, "requests read on at once after their clients left; further ones are cancelled", low=0, high=100000)
    shadows_max: int = knob(16, "copies for shadow experiments at once, each with its body; further ones are skipped", low=1, high=10000)
    responses_max: int = knob(20_000, "stored responses whose maker is remembered for previous_response_id", low=0, high=10_000_000)
    limits: ServerLimits = table(ServerLimits)


@attrs.frozen
class Admin:
    """The admin listener: metrics, admin API, console. Never the public one."""

    listen: str = knob("127.0.0.1:9464", "where operators and Prometheus connect")
    token: Secret | None = knob(None, "bearer token; without one the listener is loopback only and checks Host and Origin")
    metrics_token: Secret | None = knob(None, "bearer token that opens /metrics and nothing else")

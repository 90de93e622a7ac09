"""A collector of traces for tests: a real HTTP server that reads what is posted with OpenTelemetry's own protobuf classes, and fails as
it is told to.
"""

import gzip
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest, ExportTraceServiceResponse
from opentelemetry.proto.common.v1.common_pb2 import AnyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span as ProtoSpan
from threaded_server import ThreadedServer

KINDS = {2: "server", 3: "client"}


def value_of(value: AnyValue) -> Any:
    kind = value.WhichOneof("value")
    return tuple(value_of(one) for one in value.array_value.values) if kind == "array_value" else getattr(value, kind)


class Seen:
    """One span as the collector read it. `of` are its attributes, `resource` what it comes from."""

    def __init__(self, span: ProtoSpan, resource: dict[str, Any]) -> None:
        self.trace_id, self.span_id, self.parent_id = span.trace_id.hex(), span.span_id.hex(), span.parent_span_id.hex()
        self.name, self.kind, self.state, self.flags = span.name, KINDS[span.kind], span.trace_state, span.flags
        self.start_ns, self.end_ns = span.start_time_unix_nano, span.end_time_unix_nano
        self.error = span.status.code == 2
        self.words = span.status.message
        self.of = {pair.key: value_of(pair.value) for pair in span.attributes}
        self.resource = resource
        assert len(self.of) == len(span.attributes), "an attribute twice"

    def __repr__(self) -> str:
        return f"Seen({self.name!r}, {self.kind}, {self.of})"


class Collector:
    """What came, and what is to be answered.

    Attributes:
        script: (status, headers) of the next answers; after them 200. hold: answers wait for it. rejects: spans it says to have rejected.
        bodies: every body as it came off the wire; posts: (headers, path, time, status) of each request.
    """

    def __init__(self, port: int = 0) -> None:
        self.script: list[tuple[int, dict[str, str]]] = []
        self.hold = threading.Event()
        self.hold.set()
        self.rejects = 0
        self.words = ""
        self.bodies: list[bytes] = []
        self.posts: list[tuple[dict[str, str], str, float, int]] = []
        self.spans: list[Seen] = []
        self._lock = threading.Lock()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                outer.hold.wait(30)
                with outer._lock:
                    status, headers = outer.script.pop(0) if outer.script else (200, {})
                    outer.posts.append(({k.lower(): v for k, v in self.headers.items()}, self.path, time.monotonic(), status))
                    outer.bodies.append(body)
                    if status == 200:
                        outer._take(gzip.decompress(body) if self.headers["content-encoding"] == "gzip" else body)
                if status == 0:
                    self.close_connection = True
                    return
                answer = ExportTraceServiceResponse()
                if status == 200 and outer.rejects:
                    answer.partial_success.rejected_spans = outer.rejects
                    answer.partial_success.error_message = outer.words
                told = answer.SerializeToString()
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.send_header("content-type", "application/x-protobuf")
                self.send_header("content-length", str(len(told)))
                self.end_headers()
                self.wfile.write(told)

            def log_message(self, *_: Any) -> None:
                pass

            def handle_error(self, *_: Any) -> None:
                pass  # a gateway that does not wait any longer

        self.server = ThreadedServer(("127.0.0.1", port), Handler)
        self.port = self.server.server_port
        self.url = f"http://127.0.0.1:{self.port}/v1/traces"
        threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True).start()

    def _take(self, body: bytes) -> None:
        for group in ExportTraceServiceRequest.FromString(body).resource_spans:
            resource = {pair.key: value_of(pair.value) for pair in group.resource.attributes}
            for scoped in group.scope_spans:
                assert scoped.scope.name == "appliance"
                self.spans += [Seen(span, resource) for span in scoped.spans]

    def trace(self, trace_id: str) -> list[Seen]:
        """Its spans, the request's own first and attempts in their order."""
        with self._lock:
            return sorted((span for span in self.spans if span.trace_id == trace_id), key=lambda one: (one.kind != "server", one.start_ns))

    def of_request(self, request_id: str) -> list[Seen]:
        """The spans of the request that its caller knows by this id; empty while they have not come."""
        with self._lock:
            found = [span.trace_id for span in self.spans if span.of.get("appliance.request_id") == request_id]
        return self.trace(found[0]) if found else []

    def close(self) -> None:
        self.hold.set()
        self.server.shutdown()
        self.server.server_close()


@contextmanager
def collecting(port: int = 0) -> Iterator[Collector]:
    one = Collector(port)
    try:
        yield one
    finally:
        one.close()

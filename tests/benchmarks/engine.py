"""The HTTP/1.1 engine's share of one small request, both of its sides over real sockets: its bytecodes by part and by function.

    make bench-engine         (or: .venv/bin/python tests/benchmarks/engine.py [--clients 8] [--requests 200] [--top 40])

A server with an application that hands each request on to an upstream and its answer back, as the gateway does with a whole answer that
passes verbatim; the clients and the upstream are threads, which are not traced. Counted is what the interpreter executes, as in
`request.py`; the application is left out. The engine's part differs by half a hundredth from run to run; trio's by half of itself, with how
many requests a pass of its loop happens to serve. What C code does between the bytecodes, the kernel first of all, is in no count.
"""

import argparse
import socket
import sys
import threading
from collections import Counter

import trio

from appliance.http1.arrivals import Arrivals
from appliance.http1.client import Http1Transport
from appliance.http1.departures import Departures
from appliance.http1.origin import Origin
from appliance.http1.refusal import plain_text_refusal
from appliance.http1.server import Server
from appliance.http1.server_limits import ServerLimits
from appliance.http1.traffic import Traffic
from appliance.http1.transport import TransportLimits, UpstreamRequest

ASKED = (
    b'{"model":"gpt-4o-mini","messages":[{"role":"system","content":"You are a helpful assistant."},'
    b'{"role":"user","content":"Hello, how are you?"}],"max_tokens":100}'
)
REQUEST = (
    b"POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1:8080\r\nContent-Type: application/json\r\n"
    b"Authorization: Bearer sk-bench\r\nContent-Length: %d\r\n\r\n%b" % (len(ASKED), ASKED)
)
BODY = b"x" * 400
ANSWER = (
    b"HTTP/1.1 200 OK\r\nServer: nginx/1.22.1\r\nDate: Sun, 29 Nov 2026 20:00:00 GMT\r\nContent-Type: application/json\r\n"
    b"Content-Length: %d\r\nConnection: keep-alive\r\n\r\n%b" % (len(BODY), BODY)
)
PASSED_ON = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(BODY)), (b"x-request-id", b"abc")]
RECV_BYTES = 65_536


def answer(sock):
    """The upstream's connection. A request is small enough to come in one piece."""
    while sock.recv(RECV_BYTES):
        sock.sendall(ANSWER)


def upstream(door):
    while True:
        threading.Thread(target=answer, args=(door.accept()[0],), daemon=True).start()


def client(port, requests):
    with socket.create_connection(("127.0.0.1", port)) as sock:
        for _ in range(requests):
            sock.sendall(REQUEST)
            got = b""
            while not got.endswith(BODY):
                got += sock.recv(RECV_BYTES)


def server_of(port, departures):
    """Passes each request on to that port, without waiting where the gateway does not."""
    transport = Http1Transport(Origin.parse(f"http://127.0.0.1:{port}"), TransportLimits(), None, Traffic(Arrivals(), departures))

    async def app(scope, receive, send):
        turn = scope["extensions"]["http1"]
        headers = b"host: upstream\r\ncontent-type: application/json\r\n"
        exchange = await transport.send(UpstreamRequest(b"POST", b"/v1/chat/completions", headers, turn.whole_body()))
        turn.push_whole(exchange.status, PASSED_ON, exchange.whole())

    def on_error(error, scope):
        print(repr(error), file=sys.stderr)

    return Server(app, ServerLimits(), render_refusal=plain_text_refusal, on_error=on_error, departures=departures)


def tracer(counts):
    def trace(frame, event, _):
        frame.f_trace_opcodes, frame.f_trace_lines = True, False
        if event == "opcode":
            file = frame.f_code.co_filename
            if not file.endswith("benchmarks/engine.py"):
                counts[file.rpartition("/appliance/")[2].rpartition("site-packages/")[2], frame.f_code.co_qualname] += 1
        return trace

    return trace


async def ask(port, clients, requests):
    async with trio.open_nursery() as nursery:
        for _ in range(clients):
            nursery.start_soon(trio.to_thread.run_sync, client, port, requests)


async def measure(asked):
    upstream_door, door = socket.create_server(("127.0.0.1", 0)), socket.create_server(("127.0.0.1", 0))
    threading.Thread(target=upstream, args=(upstream_door,), daemon=True).start()
    departures = Departures()
    server = server_of(upstream_door.getsockname()[1], departures)
    counts = Counter()
    async with trio.open_nursery() as nursery:
        await nursery.start(server.serve, [door])
        nursery.start_soon(departures.run)
        port = door.getsockname()[1]
        await ask(port, asked.clients, asked.requests)
        sys.settrace(tracer(counts))
        await ask(port, asked.clients, asked.requests)
        sys.settrace(None)
        nursery.cancel_scope.cancel()
    report(counts, asked.clients * asked.requests, asked.top)


def report(counts, requests, top):
    parts = Counter()
    for (file, _), number in counts.items():
        parts["engine" if file.startswith(("http1/", "<attrs generated methods appliance")) else "trio and others"] += number
    parted = ", ".join(f"{name} {number / requests:.0f}" for name, number in parts.most_common())
    print(f"{sum(counts.values()) / requests:.0f} bytecodes: {parted}")
    for (file, name), number in counts.most_common(top):
        print(f"{number / requests:8.1f}  {name} ({file})")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clients", type=int, default=8, help="connections that ask at once")
    parser.add_argument("--requests", type=int, default=200, help="of each client, once untraced and once traced")
    parser.add_argument("--top", type=int, default=40, help="functions that are listed")
    trio.run(measure, parser.parse_args())


main()

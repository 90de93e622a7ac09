"""The floor: the least that a trio proxy can do. One request in, one request out, llhttp on both sides, no features.

    floor.py LISTEN_PORT UPSTREAM_PORT [sse]
"""

import socket
import sys

import httptools
import trio
from trio.lowlevel import wait_readable, wait_writable

HEAD = b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n"
CHUNKED_HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
WHOLE_HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%b"


class Message:
    """What llhttp's callbacks leave of one message."""

    def __init__(self):
        self.body, self.done = [], False

    def reset(self):
        self.body, self.done = [], False

    def on_body(self, data):
        self.body.append(data)

    def on_message_complete(self):
        self.done = True


async def send(sock, data):
    while data:
        try:
            data = data[sock.send(data) :]
        except BlockingIOError:
            await wait_writable(sock)


async def connect(port):
    sock = socket.socket()
    sock.setblocking(False)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    try:
        sock.connect(("127.0.0.1", port))
    except BlockingIOError:
        await wait_writable(sock)
    message = Message()
    return sock, message, httptools.HttpResponseParser(message)


async def read_request(sock, request, parser):
    """The body of one request; None at the end of the connection."""
    request.reset()
    while not request.done:
        await wait_readable(sock)
        data = sock.recv(65536)
        if not data:
            return None
        parser.feed_data(data)
    return b"".join(request.body)


async def pass_answer(sock, up, answer, reader, chunked):
    if chunked:
        await send(sock, CHUNKED_HEAD)
    while not answer.done:
        await wait_readable(up)
        data = up.recv(65536)
        if not data:
            raise OSError("upstream closed")
        reader.feed_data(data)
        if chunked and answer.body:
            out = b"".join(answer.body)
            answer.body.clear()
            await send(sock, b"%x\r\n%b\r\n" % (len(out), out) + (b"0\r\n\r\n" if answer.done else b""))
        elif chunked and answer.done:
            await send(sock, b"0\r\n\r\n")
    if not chunked:
        out = b"".join(answer.body)
        await send(sock, WHOLE_HEAD % (len(out), out))


async def handle(sock, idle, port, chunked):
    request = Message()
    parser = httptools.HttpRequestParser(request)
    try:
        while (body := await read_request(sock, request, parser)) is not None:
            up, answer, reader = idle.pop() if idle else await connect(port)
            answer.reset()
            await send(up, HEAD % len(body) + body)
            await pass_answer(sock, up, answer, reader, chunked)
            idle.append((up, answer, reader))
    except OSError:
        pass
    finally:
        sock.close()


async def main(listen, port, chunked):
    idle = []
    door = socket.socket()
    door.setblocking(False)
    door.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    door.bind(("127.0.0.1", listen))
    door.listen(4096)
    async with trio.open_nursery() as nursery:
        while True:
            await wait_readable(door)
            while True:
                try:
                    sock, _ = door.accept()
                except BlockingIOError:
                    break
                sock.setblocking(False)
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                nursery.start_soon(handle, sock, idle, port, chunked)


trio.run(main, int(sys.argv[1]), int(sys.argv[2]), sys.argv[3:] == ["sse"])

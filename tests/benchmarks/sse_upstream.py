"""A provider that streams: N chunks, each carrying the time it was written; the request's `user` field says how many seconds apart.

    sse_upstream.py PORT CHUNKS

asyncio, so that it shares no code with what is measured.
"""

import asyncio
import json
import re
import sys
import time

PACE = re.compile(rb'"user":\s*"([0-9.]+)"')
HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
COMMON = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1700000000, "model": "gpt-4o"}


def frame(value):
    data = b"data: " + (value if isinstance(value, bytes) else json.dumps({**COMMON, **value}).encode()) + b"\n\n"
    return b"%x\r\n%b\r\n" % (len(data), data)


def event(delta, finish=None):
    return frame({"choices": [{"index": 0, "delta": delta, "finish_reason": finish}]})


class Connection(asyncio.Protocol):
    def __init__(self, chunks):
        self.chunks, self.buffer, self.task = chunks, b"", None

    def connection_made(self, transport):
        self.transport = transport

    def data_received(self, data):
        self.buffer += data
        while (end := self.buffer.find(b"\r\n\r\n")) >= 0:
            length = int((re.search(rb"content-length: *(\d+)", self.buffer[:end], re.I) or [0, 0])[1])
            if len(self.buffer) < end + 4 + length:
                return
            pace = PACE.search(self.buffer, end, end + 4 + length)
            self.buffer = self.buffer[end + 4 + length :]
            self.task = asyncio.ensure_future(self.stream(float(pace[1]) if pace else 0.02))

    async def stream(self, pace):
        self.transport.write(HEAD)
        self.transport.write(event({"role": "assistant", "content": ""}))
        due = time.monotonic()
        for number in range(self.chunks):
            due += pace
            await asyncio.sleep(max(0, due - time.monotonic()))
            if self.transport.is_closing():
                return
            self.transport.write(event({"content": f"tok{number} @{time.time():.6f} "}))
        usage = {"prompt_tokens": 19, "completion_tokens": self.chunks, "total_tokens": self.chunks + 19}
        done = b"e\r\ndata: [DONE]\n\n\r\n0\r\n\r\n"
        self.transport.write(event({}, "stop") + frame({"choices": [], "usage": usage}) + done)

    def connection_lost(self, _):
        if self.task:
            self.task.cancel()


async def main(port, chunks):
    server = await asyncio.get_running_loop().create_server(lambda: Connection(chunks), "127.0.0.1", port, backlog=4096)
    await server.serve_forever()


asyncio.run(main(int(sys.argv[1]), int(sys.argv[2])))

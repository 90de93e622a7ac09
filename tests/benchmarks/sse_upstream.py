"""A provider that streams: N chunks, each carrying the time it was written; its `user` or `user_id` says how many seconds apart.

    sse_upstream.py PORT CHUNKS

It answers in the language of the path: OpenAI's chat, Anthropic's Messages, Gemini. asyncio, so that it shares no code with what is
measured.
"""

import asyncio
import json
import re
import sys
import time

PACE = re.compile(rb'"user(?:_id)?":\s*"([0-9.]+)"')
HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
COMMON = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1700000000, "model": "gpt-4o"}


def framed(data):
    return b"%x\r\n%b\r\n" % (len(data), data)


class Chat:
    """OpenAI's chunks."""

    def event(self, value):
        return framed(b"data: " + json.dumps({**COMMON, **value}).encode() + b"\n\n")

    def chunk(self, delta, finish=None):
        return self.event({"choices": [{"index": 0, "delta": delta, "finish_reason": finish}]})

    def begin(self):
        return self.chunk({"role": "assistant", "content": ""})

    def words(self, text):
        return self.chunk({"content": text})

    def end(self, chunks):
        usage = {"prompt_tokens": 19, "completion_tokens": chunks, "total_tokens": chunks + 19}
        return self.chunk({}, "stop") + self.event({"choices": [], "usage": usage}) + framed(b"data: [DONE]\n\n")


class Messages:
    """Anthropic's events."""

    def event(self, kind, **value):
        return framed(b"event: %b\ndata: %b\n\n" % (kind.encode(), json.dumps({"type": kind, **value}).encode()))

    def begin(self):
        message = {
            "id": "msg_1", "type": "message", "role": "assistant", "model": "claude", "content": [], "stop_reason": None,
            "stop_sequence": None, "usage": {"input_tokens": 19, "output_tokens": 1},
        }  # fmt: skip
        start = self.event("content_block_start", index=0, content_block={"type": "text", "text": ""})
        return self.event("message_start", message=message) + start

    def words(self, text):
        return self.event("content_block_delta", index=0, delta={"type": "text_delta", "text": text})

    def end(self, chunks):
        said = {"stop_reason": "end_turn", "stop_sequence": None}
        last = self.event("message_delta", delta=said, usage={"output_tokens": chunks})
        return self.event("content_block_stop", index=0) + last + self.event("message_stop")


class Gemini:
    """Google's chunks, each with the counts so far."""

    def event(self, parts, **candidate):
        content = {"parts": parts, "role": "model"}
        value = {
            "candidates": [{"content": content, "index": 0, **candidate}], "modelVersion": "gemini",
            "usageMetadata": {"promptTokenCount": 19, "candidatesTokenCount": 1, "totalTokenCount": 20}, "responseId": "r1",
        }  # fmt: skip
        return framed(b"data: " + json.dumps(value).encode() + b"\r\n\r\n")

    def begin(self):
        return b""

    def words(self, text):
        return self.event([{"text": text}])

    def end(self, chunks):
        return self.event([{"text": ""}], finishReason="STOP")


WIRES = ((b"/v1/messages", Messages()), (b":streamGenerateContent", Gemini()), (b"", Chat()))


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
            path = self.buffer[: self.buffer.index(b"\r\n")]
            wire = next(one for mark, one in WIRES if mark in path)
            self.buffer = self.buffer[end + 4 + length :]
            self.task = asyncio.ensure_future(self.stream(wire, float(pace[1]) if pace else 0.02))

    async def stream(self, wire, pace):
        self.transport.write(HEAD)
        self.transport.write(wire.begin())
        due = time.monotonic()
        for number in range(self.chunks):
            due += pace
            await asyncio.sleep(max(0, due - time.monotonic()))
            if self.transport.is_closing():
                return
            self.transport.write(wire.words(f"tok{number} @{time.time():.6f} "))
        self.transport.write(wire.end(self.chunks) + b"0\r\n\r\n")

    def connection_lost(self, _):
        if self.task:
            self.task.cancel()


async def main(port, chunks):
    server = await asyncio.get_running_loop().create_server(lambda: Connection(chunks), "127.0.0.1", port, backlog=4096)
    await server.serve_forever()


asyncio.run(main(int(sys.argv[1]), int(sys.argv[2])))

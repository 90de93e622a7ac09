"""Paced streams, many at once, through a port; one JSON line: lag of each chunk (now less the time in it), first-token time, failures.

    sse_load.py PORT STREAMS CHUNKS PACE_S KEY [LANGUAGE [MODEL]]

LANGUAGE: what is asked in, one of CALLS. The pace goes along where the language has a place for a user's name.
"""

import asyncio
import json
import re
import sys
import time

STAMP = re.compile(rb"@(\d+\.\d+)")
GIVE_UP_S = 90
# A stamp can straddle two reads and is then not counted.
SEEN_MIN = 0.98
ASKED = [{"role": "user", "content": "Hello there"}]
GEMINI_ASKED = [{"role": "user", "parts": [{"text": "Hello there"}]}]
# Path, body beside model and stream, and what stands in the last event.
CALLS = {
    "chat": ("/v1/chat/completions", lambda pace: {"user": pace, "messages": ASKED}, b"[DONE]"),
    "messages": ("/v1/messages", lambda pace: {"metadata": {"user_id": pace}, "max_tokens": 1000, "messages": ASKED}, b"message_stop"),
    "responses": ("/v1/responses", lambda pace: {"user": pace, "input": ASKED}, b"response.completed"),
    "gemini": (
        "/v1beta/models/%s:streamGenerateContent?alt=sse", lambda _: {"contents": GEMINI_ASKED}, b"finishReason",
    ),
}  # fmt: skip


class Stream(asyncio.Protocol):
    def __init__(self, request, last, done, seen):
        self.request, self.last, self.done, self.seen = request, last, done, seen
        self.count, self.tail = 0, b""

    def connection_made(self, transport):
        self.transport, self.start = transport, time.time()
        transport.write(self.request)

    def data_received(self, data):
        now = time.time()
        stamps = STAMP.findall(data)
        if stamps and not self.count:
            self.seen["first"].append(now - self.start)
        self.seen["lags"].extend(now - float(stamp) for stamp in stamps)
        self.count += len(stamps)
        around = self.tail + data
        self.tail = around[-200:]
        if self.last in around and not self.done.done():
            self.done.set_result(self.count)
            self.transport.close()

    def connection_lost(self, _):
        if not self.done.done():
            self.done.set_exception(RuntimeError(f"cut after {self.count} chunks: {self.tail!r}"))


async def one(number, port, chunks, request, last, seen):
    loop = asyncio.get_running_loop()
    done = loop.create_future()
    await asyncio.sleep(number * 0.002)
    try:
        await loop.create_connection(lambda: Stream(request, last, done, seen), "127.0.0.1", port)
        count = await asyncio.wait_for(done, GIVE_UP_S)
        if count < chunks * SEEN_MIN:
            seen["wrong"].append(f"{count} of {chunks} chunks")
    except (OSError, RuntimeError, TimeoutError) as error:
        seen["wrong"].append(repr(error)[:200])


def quantile_ms(values, share):
    return round(sorted(values)[min(len(values) - 1, int(share * len(values)))] * 1000, 2) if values else None


async def main(port, streams, chunks, pace, key, language="chat", model="gpt-4o"):
    path, body_of, last = CALLS[language]
    body = json.dumps({**({} if "%s" in path else {"model": model, "stream": True}), **body_of(pace)}).encode()
    path = path.replace("%s", model)
    head = (
        f"POST {path} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {key}\r\ncontent-type: application/json\r\n"
        f"content-length: {len(body)}\r\n\r\n"
    )
    seen = {"lags": [], "first": [], "wrong": []}
    await asyncio.gather(*[one(number, port, chunks, head.encode() + body, last, seen) for number in range(streams)])
    lags, first, wrong = seen["lags"], seen["first"], seen["wrong"]
    shown = {f"lag_ms_{name}": quantile_ms(lags, share) for name, share in (("p50", 0.5), ("p99", 0.99), ("max", 1))}
    print(json.dumps({"streams": streams, "failed": len(wrong), "why": wrong[:2], **shown, "ttft_ms_p50": quantile_ms(first, 0.5)}))


asyncio.run(main(int(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), *sys.argv[4:8]))

"""Paced streams, many at once, through a port; one JSON line: lag of each chunk (now less the time in it), first-token time, failures.

    sse_load.py PORT STREAMS CHUNKS PACE_S KEY
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


class Stream(asyncio.Protocol):
    def __init__(self, request, done, seen):
        self.request, self.done, self.seen = request, done, seen
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
        self.tail = (self.tail + data)[-200:]
        if b"[DONE]" in self.tail and not self.done.done():
            self.done.set_result(self.count)
            self.transport.close()

    def connection_lost(self, _):
        if not self.done.done():
            self.done.set_exception(RuntimeError(f"cut after {self.count} chunks: {self.tail!r}"))


async def one(number, port, chunks, request, seen):
    loop = asyncio.get_running_loop()
    done = loop.create_future()
    await asyncio.sleep(number * 0.002)
    try:
        await loop.create_connection(lambda: Stream(request, done, seen), "127.0.0.1", port)
        count = await asyncio.wait_for(done, GIVE_UP_S)
        if count < chunks * SEEN_MIN:
            seen["wrong"].append(f"{count} of {chunks} chunks")
    except (OSError, RuntimeError, TimeoutError) as error:
        seen["wrong"].append(repr(error)[:200])


def quantile_ms(values, share):
    return round(sorted(values)[min(len(values) - 1, int(share * len(values)))] * 1000, 2) if values else None


async def main(port, streams, chunks, pace, key):
    asked = {"model": "gpt-4o", "stream": True, "user": pace, "messages": [{"role": "user", "content": "Hello there"}]}
    body = json.dumps(asked).encode()
    head = (
        f"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {key}\r\ncontent-type: application/json\r\n"
        f"content-length: {len(body)}\r\n\r\n"
    )
    seen = {"lags": [], "first": [], "wrong": []}
    await asyncio.gather(*[one(number, port, chunks, head.encode() + body, seen) for number in range(streams)])
    lags, first, wrong = seen["lags"], seen["first"], seen["wrong"]
    shown = {f"lag_ms_{name}": quantile_ms(lags, share) for name, share in (("p50", 0.5), ("p99", 0.99), ("max", 1))}
    print(json.dumps({"streams": streams, "failed": len(wrong), "why": wrong[:2], **shown, "ttft_ms_p50": quantile_ms(first, 0.5)}))


asyncio.run(main(int(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), sys.argv[4], sys.argv[5]))

"""The access log: one line per request, made from its record. No prompt, no answer, no header, no secret ever enters it.

`AccessLog.write` is on the hot path of every request.
"""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Final, Literal

import orjson

from appliance.core.fault import Blame, FaultKind
from appliance.core.record import AttemptRecord, RequestRecord
from appliance.telemetry.sink import LineSink

LogFormat = Literal["json", "text"]
Level = Literal["debug", "info", "warning", "error"]
RANK: Final[dict[str, int]] = {"debug": 10, "info": 20, "warning": 30, "error": 40}

# Longest text taken from a caller: a requested model name can be megabytes long.
TEXT_MAX_CHARS: Final = 256

# How a time ends, for each millisecond of a second: looking it up costs a third of making it.
MILLISECONDS: Final = tuple(f"{number:03d}Z" for number in range(1000))

# What lines share (method to attempts) is kept for so many kinds of request; past it all is forgotten and made again.
MIDDLES_MAX: Final = 4_096

Middle = tuple[str, str, str, str, str, str, int, bool]


class AccessLog:
    """Writes a line for every request at or above a level."""

    def __init__(self, sink: LineSink, format: LogFormat = "json", level: Level = "info") -> None:
        self._write = sink.write
        self._json = format == "json"
        self._rank = RANK[level]
        self._everything = self._rank <= RANK["info"]  # no request is below `info`
        self._usual = self._json and self._everything
        self._clock = SecondClock()
        self._middles: dict[Middle, orjson.Fragment] = {}

    def write(self, record: RequestRecord) -> None:
        """Queues the line of a finished request. Never blocks, never raises."""
        attempts = record.attempts
        if self._usual and record.fault is None and len(attempts) == 1:
            self._write(self._usual_line(record, attempts[0]))
            return
        if not self._everything and RANK[level_of(record)] < self._rank:
            return
        line = access_line(record, self._clock.text)
        self._write(json_bytes(line) if self._json else text_bytes(line))

    def _usual_line(self, record: RequestRecord, attempt: AttemptRecord) -> bytes:
        """The same bytes as `json_bytes(access_line(record))`, at half the price: of the fields only those that change are made anew."""
        kind = (
            record.method, record.path, record.route, record.requested_model, record.model, attempt.backend, record.status, record.stream,
        )  # fmt: skip
        duration_s = record.ended_at - record.started_at
        overhead_s = duration_s - (attempt.ended_at - attempt.started_at)
        usage = record.usage
        fields = {
            "ts": self._clock.text(record.wall_time + duration_s), "level": "info", "event": "request", "id": record.id,
            "request_id": record.request_id, "tenant": record.tenant, "key": record.key, "client": record.client,
            "method": self._middles.get(kind) or self._make_middle(record, kind),
            "input_tokens": None if usage is None else usage.input_tokens,
            "output_tokens": None if usage is None else usage.output_tokens,
            "cost_usd": record.cost_usd,
            "ttft_ms": int((record.first_token_at - record.started_at) * 1e6) / 1000 if record.first_token_at else None,
            "duration_ms": int(duration_s * 1e6) / 1000,
            "overhead_ms": int(overhead_s * 1e6) / 1000 if overhead_s > 0 else 0.0,
        }  # fmt: skip
        # Of more than fifteen members the interpreter makes a dictionary one by one.
        fields["bytes_in"], fields["bytes_out"] = record.bytes_in, record.bytes_out
        trace = record.trace
        if trace is not None:
            fields["trace_id"], fields["span_id"] = trace.trace_id, trace.span_id
        try:
            return orjson.dumps(fields, None, orjson.OPT_APPEND_NEWLINE)
        except TypeError:  # a lone surrogate, see json_bytes
            return json_bytes(access_line(record, self._clock.text))

    def _make_middle(self, record: RequestRecord, kind: Middle) -> orjson.Fragment:
        """What stands behind `"method":`, its value and all fields before `input_tokens`. Kept unless it is long, or its path has a query:
        the key that Gemini callers put there must not stay in memory."""
        fields = access_line(record)
        names = list(fields)
        shared = names[names.index("method") : names.index("input_tokens")]
        text = json_bytes({name: fields[name] for name in shared})
        middle = orjson.Fragment(text[len(b'{"method":') : -len(b"}\n")])
        if "?" not in record.path and max(len(record.path), len(record.requested_model), len(record.model)) <= TEXT_MAX_CHARS:
            if len(self._middles) >= MIDDLES_MAX:
                self._middles.clear()
            self._middles[kind] = middle
        return middle


def timestamp(wall_time_s: float) -> str:
    """ISO 8601 in UTC with milliseconds."""
    return datetime.fromtimestamp(wall_time_s, UTC).isoformat(timespec="milliseconds")[:-6] + "Z"


class SecondClock:
    """Writes times as `timestamp` does, at a fifth of the price: the text of a second is made once."""

    __slots__ = ("_second", "_text")

    def __init__(self) -> None:
        self._second = -1
        self._text = ""

    def text(self, wall_time_s: float) -> str:
        second = int(wall_time_s)
        if second != self._second:
            self._second, self._text = second, timestamp(second)[:-4]
        return self._text + MILLISECONDS[int((wall_time_s - second) * 1000)]


def access_line(record: RequestRecord, timestamp: Callable[[float], str] = timestamp) -> dict[str, Any]:
    """The record as the flat, JSON-ready fields of its line.

    `ts` is when the request ended, UTC; times are milliseconds. `ttft_ms` is None without a first token, token counts where unknown. The
    two ids of a trace come last, where there is one.
    """
    duration_s = record.ended_at - record.started_at
    usage = record.usage
    fault = record.fault
    trace = record.trace
    return {
        "ts": timestamp(record.wall_time + duration_s),
        "level": "info" if fault is None else level_of(record),
        "event": "request",
        "id": record.id,
        "request_id": record.request_id,
        "tenant": record.tenant,
        "key": record.key,
        "client": record.client,
        "method": record.method,
        # Without its query, where Gemini callers put their key.
        "path": record.path.partition("?")[0][:TEXT_MAX_CHARS],
        "route": record.route,
        "requested_model": record.requested_model[:TEXT_MAX_CHARS],
        "model": record.model[:TEXT_MAX_CHARS],
        "backend": record.backend,
        "status": record.status,
        "error_type": "" if fault is None else fault.row.label,
        "error": "" if fault is None else fault.noted[:TEXT_MAX_CHARS],
        "stream": record.stream,
        "attempts": len(record.attempts),
        "input_tokens": None if usage is None else usage.input_tokens,
        "output_tokens": None if usage is None else usage.output_tokens,
        "cost_usd": record.cost_usd,
        # Whole microseconds; round(…, 3) costs twice as much.
        "ttft_ms": int((record.first_token_at - record.started_at) * 1e6) / 1000 if record.first_token_at else None,
        "duration_ms": int(duration_s * 1e6) / 1000,
        "overhead_ms": int(record.overhead_s * 1e6) / 1000,
        "bytes_in": record.bytes_in,
        "bytes_out": record.bytes_out,
        **({} if trace is None else {"trace_id": trace.trace_id, "span_id": trace.span_id}),
    }


def level_of(record: RequestRecord) -> Level:
    """A bug of ours is an error, a fault of upstream or gateway a warning; what callers do wrong is their business, hence info."""
    fault = record.fault
    if fault is None or fault.row.blame is Blame.CALLER:
        return "info"
    return "error" if fault.kind is FaultKind.INTERNAL else "warning"


def json_bytes(fields: dict[str, Any]) -> bytes:
    """One JSON line. A lone surrogate, which JSON cannot carry, becomes `?`."""
    try:
        return orjson.dumps(fields, option=orjson.OPT_APPEND_NEWLINE, default=repr)
    except TypeError:
        clean = {name: value.encode("utf-8", "replace").decode() if isinstance(value, str) else value for name, value in fields.items()}
        return orjson.dumps(clean, option=orjson.OPT_APPEND_NEWLINE | orjson.OPT_NON_STR_KEYS, default=repr)


def text_bytes(fields: dict[str, Any]) -> bytes:
    """One line for eyes: the same columns in the same places, then what is worth saying about this request."""
    tokens = "" if fields["input_tokens"] is None else f" {fields['input_tokens']}+{fields['output_tokens']} tok"
    ttft = "" if fields["ttft_ms"] is None else f" ttft {fields['ttft_ms']:.0f} ms"
    tries = f" {fields['attempts']} attempts" if fields["attempts"] > 1 else ""
    trace = f" trace {fields['trace_id']}" if "trace_id" in fields else ""
    error = f" {fields['error_type']}: {fields['error']}" if fields["error_type"] else ""
    text = (
        f"{fields['ts']} {fields['level']:<7} {fields['status']:>3} {fields['duration_ms']:>9.1f} ms  "
        f"{fields['tenant']:<12} {fields['route']:<12} {fields['model'] or fields['requested_model']:<24} {fields['backend']:<14} "
        f"{fields['request_id']}{' stream' if fields['stream'] else ''}{ttft}{tokens}{tries}{trace}{error}"
    )
    return printable(text).encode("utf-8", "replace") + b"\n"


def printable(text: str) -> str:
    """Without control characters: a caller's text must not start a line of its own nor move a terminal's cursor."""
    return text if text.isprintable() else "".join([char if char.isprintable() else repr(char)[1:-1] for char in text])

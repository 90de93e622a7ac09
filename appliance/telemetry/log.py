"""The log of everything that is not a request: structlog to the same sink as the access log, and the libraries' logging with it.

Two shapes: JSON lines for machines, one coloured line per event for eyes (colours on a terminal alone, never with NO_COLOR).
"""

import logging
import os
from collections.abc import Mapping, MutableMapping
from typing import Any, Final

import structlog

from appliance.telemetry.access import RANK, Level, LogFormat, json_bytes
from appliance.telemetry.sink import LineSink

# Libraries whose `info` is one line per call, with URLs; Gemini's carry the key in the query. They speak from `warning` on.
CHATTY: Final = ("httpx", "httpcore", "hpack", "h2")


def configure_logging(
    sink: LineSink, format: LogFormat = "json", level: Level = "info", *, terminal: bool = False, environ: Mapping[str, str] = os.environ
) -> None:
    """Sends structlog's and the standard library's log to the sink. Safe to call again, after a reload.

    `terminal` says whether the sink's descriptor is one; `NO_COLOR` (no-color.org) set to anything but the empty string forbids colours.
    """
    colours = terminal and not environ.get("NO_COLOR")
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True, key="ts"),
            *([_traceback_text, _json] if format == "json" else [_console(colours), _line]),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(RANK[level]),
        logger_factory=lambda *_: _SinkLogger(sink),
        cache_logger_on_first_use=False,
    )
    root = logging.getLogger()
    for handler in root.handlers[:]:
        if isinstance(handler, _ToStructlog):
            root.removeHandler(handler)
    root.addHandler(_ToStructlog())
    root.setLevel(RANK[level])
    for name in CHATTY:
        logging.getLogger(name).setLevel(max(RANK[level], logging.WARNING))


class _SinkLogger:
    """What structlog calls at the end: one method per level, all the same."""

    def __init__(self, sink: LineSink) -> None:
        self._sink = sink

    def msg(self, line: bytes) -> None:
        self._sink.write(line)

    log = debug = info = warn = warning = error = err = exception = critical = fatal = failure = msg


class _ToStructlog(logging.Handler):
    """Hands the libraries' records to structlog, so that there is one log in one shape."""

    def emit(self, record: logging.LogRecord) -> None:
        try:
            # structlog knows the five standard levels alone.
            level = max(logging.DEBUG, min(logging.CRITICAL, record.levelno // 10 * 10))
            structlog.get_logger().log(level, record.getMessage(), logger=record.name, exc_info=record.exc_info or None)
        except Exception:  # the contract of logging.Handler: a bad log call must not break its caller
            self.handleError(record)


def _console(colours: bool) -> structlog.dev.ConsoleRenderer:
    # Plain tracebacks: structlog's default shows local variables where `rich` happens to be installed, and those may hold secrets.
    return structlog.dev.ConsoleRenderer(colors=colours, timestamp_key="ts", exception_formatter=structlog.dev.plain_traceback)


def _traceback_text(logger: Any, method: str, event: MutableMapping[str, Any]) -> Any:
    return structlog.processors.format_exc_info(logger, method, event)


def _json(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> bytes:
    first = {"ts": event.pop("ts"), "level": event.pop("level", "info"), "event": event.pop("event", "")}
    return json_bytes({**first, **event})


def _line(_logger: Any, _method: str, text: str) -> bytes:
    return text.encode("utf-8", "replace") + b"\n"

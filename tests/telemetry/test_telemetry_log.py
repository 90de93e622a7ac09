"""The log of everything that is not a request."""

import json
import logging
import os

import structlog

from appliance.telemetry.log import configure_logging
from appliance.telemetry.sink import LineSink


def said(tmp_path, talk, **settings) -> str:
    path = tmp_path / "log"
    root = logging.getLogger()
    before = root.handlers[:], root.level
    try:
        with path.open("wb") as stream, LineSink(stream.fileno()) as sink:
            configure_logging(sink, environ={}, **settings) if "environ" not in settings else configure_logging(sink, **settings)
            talk()
    finally:
        root.handlers[:], level = before
        root.setLevel(level)
        structlog.reset_defaults()
    return path.read_text()


def chat() -> None:
    structlog.get_logger().debug("quiet")
    structlog.get_logger().info("started", port=8080)
    structlog.get_logger().warning("odd\nname", path="/x")


def test_json_is_one_object_a_line(tmp_path) -> None:
    lines = [json.loads(line) for line in said(tmp_path, chat).splitlines()]
    assert [(line["level"], line["event"]) for line in lines] == [("info", "started"), ("warning", "odd\nname")]
    assert list(lines[0]) == ["ts", "level", "event", "port"]
    assert lines[0]["ts"].endswith("Z")


def test_debug_speaks_when_asked(tmp_path) -> None:
    assert "quiet" in said(tmp_path, chat, level="debug")
    assert "started" not in said(tmp_path, chat, level="error")


def test_text_has_colours_on_a_terminal_alone_and_never_with_no_color(tmp_path) -> None:
    assert "\x1b[" in said(tmp_path, chat, format="text", terminal=True)
    assert "\x1b[" not in said(tmp_path, chat, format="text")
    assert "\x1b[" not in said(tmp_path, chat, format="text", terminal=True, environ={"NO_COLOR": "1"})
    assert "\x1b[" in said(tmp_path, chat, format="text", terminal=True, environ={"NO_COLOR": ""})


def test_the_libraries_speak_through_the_same_log_and_their_urls_stay_out(tmp_path) -> None:
    def talk() -> None:
        logging.getLogger("hypercorn.error").warning("bad %s", "thing")
        logging.getLogger("httpx").info("HTTP Request: GET https://example.test/?key=sk-secret")
        logging.getLogger("odd").log(35, "between levels")

    lines = [json.loads(line) for line in said(tmp_path, talk).splitlines()]
    assert [(line["event"], line["logger"]) for line in lines] == [("bad thing", "hypercorn.error"), ("between levels", "odd")]


def test_a_traceback_is_part_of_its_line_and_shows_no_local_variables(tmp_path) -> None:
    def talk() -> None:
        secret = "sk-secret"[::-1]
        try:
            raise ValueError("boom")
        except ValueError:
            structlog.get_logger().exception("failed")
            logging.getLogger("lib").exception("also failed")
        assert secret

    lines = said(tmp_path, talk).splitlines()
    assert len(lines) == 2
    assert all("ValueError: boom" in json.loads(line)["exception"] for line in lines)
    assert "terces" not in said(tmp_path, talk, format="text")


def test_configuring_again_replaces_what_was_there(tmp_path) -> None:
    def talk() -> None:
        with open(os.devnull, "wb") as null, LineSink(null.fileno()) as elsewhere:
            configure_logging(elsewhere, environ={})
            logging.getLogger("lib").warning("to the second sink alone")

    assert said(tmp_path, talk) == ""

"""Tools whose form Anthropic defines and which the caller runs: its models know them by their type, others need a schema like any other.

The rule: to Anthropic they go back as they were; elsewhere they are functions of the same name and arguments, so the caller's code that
runs them need not know who asked. Sources: platform.claude.com/docs/en/agents-and-tools/tool-use (bash-tool, text-editor-tool, memory-tool)
and the SDK's types of their commands. Tools of screens and browsers are not among them: their answers mean something to Claude only.
"""

from collections.abc import Mapping
from typing import Any

_TEXT: dict[str, Any] = {"type": "string"}
_LINE: dict[str, Any] = {"type": "integer"}
_RANGE: dict[str, Any] = {"type": "array", "items": {"type": "integer"}, "description": "First and last line, from 1; -1 is the end."}


def _commands(*names: str) -> dict[str, Any]:
    return {"type": "string", "enum": list(names)}


def _object(required: list[str], **properties: dict[str, Any]) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": required}


_FORMS: tuple[tuple[str, str, dict[str, Any]], ...] = (
    (
        "bash_",
        "Runs a command in a bash session that lasts from call to call. Give command, or restart to begin a new session.",
        _object([], command=_TEXT, restart={"type": "boolean"}),
    ),
    (
        "text_editor_",
        "Views and edits text files. view: path, perhaps view_range. create: path, file_text. str_replace: path, old_str (must occur "
        "exactly once), new_str. insert: path, insert_line (the line to insert after, 0 for the beginning), insert_text.",
        _object(
            ["command", "path"], command=_commands("view", "create", "str_replace", "insert"), path=_TEXT, file_text=_TEXT, old_str=_TEXT,
            new_str=_TEXT, insert_line=_LINE, insert_text=_TEXT, view_range=_RANGE,
        ),
    ),
    (
        "memory_",
        "Keeps notes in files below /memories from one conversation to the next; look there before starting on a task. view: path, perhaps "
        "view_range. create: path, file_text. str_replace: path, old_str, new_str. insert: path, insert_line, insert_text. delete: path. "
        "rename: old_path, new_path.",
        _object(
            ["command"], command=_commands("view", "create", "str_replace", "insert", "delete", "rename"), path=_TEXT, file_text=_TEXT,
            old_str=_TEXT, new_str=_TEXT, insert_line=_LINE, insert_text=_TEXT, view_range=_RANGE, old_path=_TEXT, new_path=_TEXT,
        ),
    ),
)  # fmt: skip


def form_of(kind: str) -> tuple[str, Mapping[str, Any]] | None:
    """Description and schema of the tool whose type this is ("bash_20250124"); None for a tool that the provider runs itself."""
    return next(((told, schema) for start, told, schema in _FORMS if kind.startswith(start) and kind[len(start) :].isdigit()), None)

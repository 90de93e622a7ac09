"""A form with files (multipart/form-data), read whole. Pure.

Written from RFC 7578 alone, as strictly as the frameworks that providers use: it also judges whoever passes forms on.
"""

import hashlib
import re
from collections.abc import Mapping
from typing import Any

import attrs

from appliance.simulator.api_error import ApiError

FORM_TYPE = re.compile(r'multipart/form-data\s*;(?:.*;)?\s*boundary=(?:"([^"]{1,70})"|([^\s";]{1,70}))', re.IGNORECASE)
NAME = re.compile(rb'(?i)^content-disposition: *form-data *;(?:.*;)? *name="([^"]*)"', re.MULTILINE)
FILE_NAME = re.compile(rb'(?i); *filename="([^"]*)"')
BAD_FORM = ApiError(400, "Could not parse multipart form.", code="invalid_multipart_form")
WORDS: Mapping[str, Any] = {"true": True, "false": False}


@attrs.frozen
class FormFile:
    """One file: what an answer may depend on. `text`: what of it reads as text, for wishes like [[say=TEXT]]."""

    name: str
    size: int
    digest: str
    text: str = attrs.field(repr=False)


def boundary_of(content_type: str) -> bytes | None:
    """None where the body is no form."""
    found = FORM_TYPE.match(content_type.strip())
    return None if found is None else (found[1] or found[2]).encode("latin-1")


def read_form(body: bytes, boundary: bytes) -> Mapping[str, Any] | ApiError:
    """The fields: texts, True and False where they say so, files as FormFile; `name[]` is a list under its bare name."""
    before, *parts = (b"\r\n" + body).split(b"\r\n--" + boundary)
    if before or not parts or parts[-1][:2] != b"--" or parts[-1][2:].strip(b"\r\n"):
        return BAD_FORM
    fields: dict[str, Any] = {}
    for part in parts[:-1]:
        head, blank, content = part.partition(b"\r\n\r\n")
        named = NAME.search(head.strip(b"\r\n"))
        if not blank or not head.startswith(b"\r\n") or named is None:
            return BAD_FORM
        name = named[1].decode("utf-8", "replace")
        file = FILE_NAME.search(head)
        value = _field(content) if file is None else _file(file[1], content)
        if name.endswith("[]"):
            fields.setdefault(name[:-2], []).append(value)
        elif name in fields:
            return ApiError(400, f"Duplicate field '{name}' in form.", param=name)
        else:
            fields[name] = value
    return fields


def _field(content: bytes) -> Any:
    text = content.decode("utf-8", "replace")
    return WORDS.get(text, text)


def _file(name: bytes, content: bytes) -> FormFile:
    return FormFile(name.decode("utf-8", "replace"), len(content), hashlib.sha256(content).hexdigest(), content[:4096].decode("latin-1"))

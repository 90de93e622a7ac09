"""Changes an OpenAI request in place: new values and members are spliced into the caller's bytes, everything else stays as it came.

Spliced rather than written anew because providers' prompt caches key on the exact prefix, and because numbers, key order and unknown
fields then survive by construction.
"""

from collections.abc import Mapping
from typing import Any

import attrs
import orjson

from appliance.dialects.json_scan import Member, locate, members
from appliance.dialects.protocol import ParsedRequest, Rewrite

TOKEN_FIELDS = ("max_tokens", "max_completion_tokens")

Splice = tuple[int, int, bytes]
"""Replace bytes from start to end."""

USAGE_OPTION = b'"include_usage":true'


def rewrite(body: bytes, parsed: ParsedRequest, wanted: Rewrite) -> bytes:
    """Apply `wanted` to the request that `parsed` was read from. The very same object comes back when nothing changes.

    Operator's overrides win over every other change, a vendor's renames and drops over what the caller sent.
    """
    if not (wanted.overrides or wanted.drop or wanted.rename or wanted.max_tokens is not None):
        return _rewrite_plain(body, parsed, wanted)
    return _Edit(body, parsed, wanted).result()


def _rewrite_plain(body: bytes, parsed: ParsedRequest, wanted: Rewrite) -> bytes:
    """The common case: another model name, usage asked for, or neither."""
    if wanted.model is not None and wanted.model != parsed.model:
        quoted = orjson.dumps(wanted.model)
        for member in reversed(locate(body, "model", parsed.fields)):
            body = body[: member.value_start] + quoted + body[member.value_end :]
    if wanted.include_usage and parsed.stream and not parsed.wants_usage:
        if "stream_options" not in parsed.fields:
            return _appended(body, b'"stream_options":{' + USAGE_OPTION + b"}", parsed.fields)
        for member in reversed(locate(body, "stream_options", parsed.fields)):
            body = _spliced(body, _usage_splices(body, member, parsed.fields["stream_options"]))
    return body


def _appended(body: bytes, member: bytes, fields: Mapping[str, Any]) -> bytes:
    brace = body.rindex(b"}")  # a valid object's last one closes it
    return body[:brace] + (b"," + member if fields else member) + body[brace:]


def _usage_splices(body: bytes, member: Member, options: object) -> list[Splice]:
    """Edits that make the caller's own `stream_options` ask for usage. Options that are no object are left for the upstream to refuse."""
    start, end = member.value_start, member.value_end
    if options is None:
        return [(start, end, b"{" + USAGE_OPTION + b"}")]
    if not isinstance(options, dict):
        return []
    inner = [one for one in members(body, start) or () if one.key == "include_usage"]
    if inner:
        return [(one.value_start, one.value_end, b"true") for one in inner]
    return [(start + 1, start + 1, USAGE_OPTION + (b"," if options else b""))]


def _spliced(body: bytes, splices: list[Splice]) -> bytes:
    if not splices:
        return body
    pieces: list[bytes] = []
    reached = 0
    for start, end, replacement in sorted(splices, key=lambda one: one[0]):
        pieces += (body[reached:start], replacement)
        reached = end
    pieces.append(body[reached:])
    return b"".join(pieces)


@attrs.define
class _Edit:
    """One request under change, walked once: what each member becomes, and what is added after the last."""

    body: bytes
    parsed: ParsedRequest
    wanted: Rewrite
    splices: list[Splice] = attrs.field(factory=list)
    kept: int = 0

    def result(self) -> bytes:
        body = self.body
        found = members(body) or []
        values = self._values()
        dropped: list[bool] = []
        for member in found:
            gone = self._is_dropped(member.key)
            dropped.append(gone)
            if not gone:
                self.kept += 1
                self._edit(member, values)
        self._cut(found, dropped)
        for name, value in values.items():
            self._add(name, value)
        return _spliced(body, self.splices)

    def _values(self) -> dict[str, bytes]:
        """New values by the name that the upstream will read; what no member of the caller takes up is added."""
        wanted, parsed = self.wanted, self.parsed
        values: dict[str, bytes] = {}
        if wanted.model is not None and wanted.model != parsed.model:
            values["model"] = orjson.dumps(wanted.model)
        if wanted.max_tokens is not None and parsed.operation != "embeddings":
            self._cap(wanted.max_tokens, values)
        if wanted.include_usage and parsed.stream and not parsed.wants_usage and "stream_options" not in parsed.fields:
            values["stream_options"] = b"{" + USAGE_OPTION + b"}"
        for name, value in wanted.overrides.items():
            values[name] = orjson.dumps(value)
        return values

    def _cap(self, limit: int, values: dict[str, bytes]) -> None:
        """The cap goes on whichever fields the caller used. What is not a count within it is replaced: some servers read -1 as no bound."""
        fields, overrides = self.parsed.fields, self.wanted.overrides
        used = [name for name in TOKEN_FIELDS if name in overrides or (name in fields and not self._is_dropped(name))]
        for name in used or TOKEN_FIELDS[:1]:
            if name in overrides:
                continue
            value = fields.get(name)
            within = isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= limit
            if not within:
                values[self._name(name)] = b"%d" % limit

    def _name(self, name: str) -> str:
        return self.wanted.rename.get(name, name)

    def _is_dropped(self, name: str) -> bool:
        wanted = self.wanted
        if name in wanted.overrides:
            return False
        if name in wanted.drop:
            return True
        renamed = wanted.rename.get(name)
        # Renaming onto a member that is already there would make two of it.
        return renamed is not None and (renamed in self.parsed.fields or renamed in wanted.overrides)

    def _edit(self, member: Member, values: dict[str, bytes]) -> None:
        key = member.key
        name = key if key in self.wanted.overrides else self._name(key)
        if name != key:
            self.splices.append((member.key_start, member.key_end, orjson.dumps(name)))
        value = values.get(name)
        if value is not None:
            if self.body[member.value_start : member.value_end] != value:
                self.splices.append((member.value_start, member.value_end, value))
        elif key == "stream_options" and self.wanted.include_usage and self.parsed.stream and not self.parsed.wants_usage:
            self.splices += _usage_splices(self.body, member, self.parsed.fields[key])

    def _cut(self, found: list[Member], dropped: list[bool]) -> None:
        """Take members out with one of the commas beside them: the following one, or the one before in a tail of dropped members."""
        last_kept = max((place for place, gone in enumerate(dropped) if not gone), default=-1)
        for place, gone in enumerate(dropped):
            if not gone:
                continue
            if place < last_kept:
                self.splices.append((found[place].key_start, found[place + 1].key_start, b""))
            elif last_kept >= 0:
                self.splices.append((found[place - 1].value_end, found[place].value_end, b""))
            else:
                end = found[place + 1].key_start if place + 1 < len(found) else found[place].value_end
                self.splices.append((found[place].key_start, end, b""))

    def _add(self, name: str, value: bytes) -> None:
        if name in self.wanted.drop and name not in self.wanted.overrides:
            return
        fields, rename = self.parsed.fields, self.wanted.rename
        taken = name in fields and not self._is_dropped(name)
        renamed_to_it = (old for old, new in rename.items() if new == name and old in fields and old not in self.wanted.overrides)
        if taken or any(not self._is_dropped(old) for old in renamed_to_it):
            return
        brace = self.body.rindex(b"}")
        comma = b"," if self.kept else b""
        self.splices.append((brace, brace, comma + orjson.dumps(name) + b":" + value))
        self.kept += 1

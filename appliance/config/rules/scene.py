"""What a rule may look at, and the questions several rules ask."""

import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import attrs

from appliance.config.document import ReadFile, reason
from appliance.config.problem import Finding, Steps, quoted
from appliance.config.schema import Config

Asked = Callable[[str], bool]
"""Asks whether the store at a path has tenants."""


def nobody(_: str) -> bool:
    """Where nobody can look into the store."""
    return False


@attrs.frozen
class Scene:
    """A structured configuration; `broken` are the paths whose values were refused and are stand-ins here."""

    config: Config
    providers: Mapping[str, str]
    read_file: ReadFile
    broken: tuple[Steps, ...] = ()
    stored_tenants: Asked = nobody

    def doubts(self, steps: Steps) -> bool:
        """Whether a path was refused already, or lies below one that was."""
        return any(steps[: len(each)] == each for each in self.broken)

    def incomplete(self, *steps: str | int) -> bool:
        """Whether something at or below a path was refused, so that its absence proves nothing."""
        return self.doubts(steps) or any(each[: len(steps)] == steps for each in self.broken)


Rule = Callable[[Scene], Iterator[Finding]]

NAME = re.compile(r"[!-.0-~]{1,128}")
"""Names become metric labels, response header values and URL segments: visible ASCII without a slash."""
RESERVED = frozenset({"none", "cache", "direct", "shadow", "anonymous"})
"""Label values of requests that no route, backend or tenant of the file stands for."""
HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,128}")
"""A token of RFC 9110 §5.6.2."""


FRAMING_HEADERS = frozenset(
    {"host", "content-length", "transfer-encoding", "connection", "te", "trailer", "upgrade", "expect", "keep-alive", "proxy-connection"}
)
"""What the transport writes itself (RFC 9110 §7.6.1, RFC 9112 §6); a second one would let two parsers read a request differently."""
CREDENTIAL_HEADERS = frozenset({"authorization", "x-api-key", "x-goog-api-key", "api-key", "cookie", "proxy-authorization"})
"""The caller's own; they never go to a provider."""


def ill_value(text: str, steps: Steps) -> Iterator[Finding]:
    """A header value that cannot be sent as it is (RFC 9110 §5.5); not shown, for it may be a secret."""
    if not all(" " <= letter <= "~" or letter == "\t" for letter in text) or text.strip() != text:
        yield Finding(steps, "holds control or non-ASCII characters, or begins or ends with a space", "printable ASCII characters")


def ill_named(name: str, steps: Steps, what: str) -> Iterator[Finding]:
    if name in RESERVED:
        yield Finding(steps, f"{quoted(name)} cannot be {what}: metrics and usage have it for what has no name", "another name")
    elif not NAME.fullmatch(name):
        yield Finding(steps, f"{quoted(name)} cannot be {what}", "1 to 128 visible ASCII characters without a slash")


def ill_globs(patterns: tuple[str, ...], steps: Steps) -> Iterator[Finding]:
    """Every text is a glob for `core.glob` except an empty one, which matches nothing anybody would ask for."""
    if not patterns:
        yield Finding(steps, "is empty, so nothing matches", 'at least one glob; ["*"] for everything')
    for index, pattern in enumerate(patterns):
        if not pattern or len(pattern) > GLOB_MAX or not pattern.isprintable():
            yield Finding((*steps, index), "is no glob", f"1 to {GLOB_MAX} printable characters; * and ? are wild")


GLOB_MAX = 256
"""Characters of a glob; the longest model ids of the big hubs have about 100."""


def ill_pem(scene: Scene, name: str, steps: Steps, marker: bytes, what: str) -> Iterator[Finding]:
    """Whether a file can be read and looks like PEM of the wanted kind (RFC 7468)."""
    try:
        data = scene.read_file(Path(name))
    except (OSError, ValueError) as error:
        yield Finding(steps, f"{quoted(name)} cannot be read: {reason(error)}", what)
        return
    if marker not in data:
        yield Finding(steps, f"{quoted(name)} holds none", what)

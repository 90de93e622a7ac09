"""Where a secret's value comes from: the file itself, an environment variable, a file, or a systemd credential.

One rule: whatever goes wrong is told by the name of the source, never by what was found there.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import attrs

from appliance.config.document import ReadFile, reason
from appliance.config.problem import Refusal, meant, quoted
from appliance.config.secret import Secret

SECRET_MAX_BYTES = 65536
"""The longest secret; a service account's JSON key is about 2.5 kB."""
EXPECTED = 'a string, { env = "NAME" }, { file = "/path" } or { credential = "name" }'
_SOURCES = ("env", "file", "credential")
_VARIABLE = re.compile(r"[A-Z_][A-Z0-9_]{0,63}|[a-z_][a-z0-9_]{0,20}")
_FILE = re.compile(r"(?=.*[/.]).{1,200}|.{1,24}", re.DOTALL)
"""Names that are shown. A common mistake is to write the secret itself where its source's name belongs, and it must not be repeated."""
_PASTED = "a secret itself is written as a plain string"


@attrs.frozen
class SecretSource:
    """What a secret may be read from. Relative files are relative to the config file's `folder`."""

    env: Mapping[str, str] = attrs.field(repr=False)
    read_file: ReadFile
    folder: Path

    def resolve(self, value: Any) -> Secret:
        """The secret that a TOML value stands for; raises Refusal."""
        if isinstance(value, str):
            return _present(value, "is empty")
        if not isinstance(value, dict):
            raise Refusal("is neither a string nor a table", EXPECTED)
        unknown = [key for key in value if key not in _SOURCES]
        if unknown:
            raise Refusal(f"has the unknown key {quoted(unknown[0])}", EXPECTED, meant(unknown[0], _SOURCES))
        if len(value) != 1:
            raise Refusal("names no source" if not value else "names more than one source", EXPECTED)
        source, name = next(iter(value.items()))
        if not isinstance(name, str) or not name:
            raise Refusal(f"{source} must be a string that is not empty", EXPECTED)
        if source == "env":
            return self._from_env(name)
        if source == "file":
            return self._from_file(self.folder / name, f"file {quoted(name)}" if _FILE.fullmatch(name) else "the file that it names")
        return self._from_credential(name)

    def _from_env(self, name: str) -> Secret:
        value = self.env.get(name)
        if value is None and not _VARIABLE.fullmatch(name):
            raise Refusal("env names no variable that is set", 'a variable\'s name, like { env = "OPENAI_API_KEY" }', _PASTED)
        if value is None:
            hint = meant(name, [known for known in self.env if known.isupper()])
            expected = f"a variable that is set: export {name}=…, or Environment= in the unit"
            raise Refusal(f"environment variable {quoted(name)} is not set", expected, hint)
        return _present(value, f"environment variable {quoted(name)} is empty")

    def _from_credential(self, name: str) -> Secret:
        """systemd.exec(5), "CREDENTIALS": $CREDENTIALS_DIRECTORY holds one file per credential, named as in LoadCredential=."""
        folder = self.env.get("CREDENTIALS_DIRECTORY", "")
        if not folder:
            message = f"credential {quoted(name)} cannot be looked up: $CREDENTIALS_DIRECTORY is not set"
            raise Refusal(message, f"LoadCredential={name}:/path in the unit")
        if "/" in name or name in (".", ".."):
            raise Refusal(f"credential {quoted(name)} is not a credential's name", "a name without slashes")
        return self._from_file(Path(folder) / name, f"credential {quoted(name)}")

    def _from_file(self, path: Path, label: str) -> Secret:
        try:
            data = self.read_file(path)
        except (OSError, ValueError) as error:
            raise Refusal(f"{label} cannot be read: {reason(error)}", "a readable file") from None
        if len(data) > SECRET_MAX_BYTES:
            raise Refusal(f"{label} is longer than {SECRET_MAX_BYTES} bytes", "a file that holds the secret alone")
        try:
            text = data.decode()
        except UnicodeDecodeError:
            raise Refusal(f"{label} is not UTF-8", "a text file that holds the secret alone") from None
        return _present(text.rstrip("\r\n"), f"{label} is empty")


def _present(value: str, complaint: str) -> Secret:
    if not value:
        raise Refusal(complaint, EXPECTED if complaint == "is empty" else "")
    return Secret(value)

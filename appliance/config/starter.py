"""The short configuration that `init` writes: enough to begin with, and one variable to set.

One rule: a file that is there already is never touched.
"""

import os
import shlex
from pathlib import Path

from appliance.config.document import reason

MODE = 0o600
"""The file may come to hold secrets, so nobody else reads it from the first moment."""

TEXT = """\
# The gateway's configuration. `appliance check` tells every mistake; config.example.toml shows every setting.
#
#     export OPENAI_API_KEY=sk-...
#     appliance serve -c THIS_FILE
#     curl http://127.0.0.1:8080/v1/chat/completions -H 'content-type: application/json' \\
#          -d '{"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "Hello"}]}'

[server]
listen = ["127.0.0.1:8080"]     # where applications connect: this machine only; without keys it cannot be opened further

[admin]
listen = "127.0.0.1:9464"       # metrics and the admin API, for operators

# Who answers. Any OpenAI-compatible server works: provider = "ollama", "vllm", "groq", "openrouter", ... or "custom" with a base_url.
[backends.openai]
provider = "openai"
api_key = { env = "OPENAI_API_KEY" }

#[backends.local]
#provider = "ollama"
#base_url = "http://127.0.0.1:11434/v1"

# Which backend a model goes to; the first route that matches wins. Add more targets to share the load, `fallback` for bad days.
[[routes]]
name = "default"
models = ["*"]
targets = [{ backend = "openai" }]

# Who may call. With a tenant here every call needs one of its keys, and listeners other than loopback may be opened.
# Make both at run time:     appliance tenant create team && appliance key create --tenant team
# or a key and its hash:     key=sk-$(openssl rand -hex 24); echo $key; printf %s $key | sha256sum
#[tenants.team]
#keys = [{ id = "first", sha256 = "..." }]
"""


def starter_text(path: str | Path) -> str:
    """The text for a file at `path`. A name with a line feed would end the comment that it stands in."""
    return TEXT.replace("THIS_FILE", shlex.quote(str(path)) if str(path).isprintable() else "FILE")


def write_starter(path: str | Path) -> str | None:
    """Writes it; None when done, else why not. O_EXCL makes "never overwrites" hold even against a file that appears just now."""
    path = Path(path)
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_CLOEXEC", 0), MODE)
    except FileExistsError:
        return f"{path} exists already and is left as it is"
    except (OSError, ValueError) as error:
        return f"{path} cannot be written: {reason(error)}"
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
            stream.write(starter_text(path))
    except OSError as error:
        path.unlink(missing_ok=True)
        return f"{path} cannot be written: {reason(error)}"
    return None

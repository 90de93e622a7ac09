"""What must hold between settings: each rule shown by a file that breaks it, and by a neighbour that does not."""

from pathlib import Path

import pytest

from appliance.config.loader import Loaded, load_text

PROVIDERS = {"openai": "https://api.openai.com/v1", "azure-openai": "", "custom": "", "ollama": "http://127.0.0.1:11434/v1"}
BACKEND = '[backends.a]\nprovider = "openai"\n'
HASH = "ab" * 32
OTHER = "cd" * 32


def findings(text: str, folder: Path | str = ".") -> tuple[dict[str, str], dict[str, str]]:
    """Problems and warnings, by path."""
    found = load_text(text, env={}, providers=PROVIDERS, folder=folder)
    grave = {} if isinstance(found, Loaded) else {each.path: f"{each.message}; {each.expected}; {each.hint}" for each in found}
    return grave, {each.path: each.message for each in found.warnings}


def route(more: str = "", name: str = "r", models: str = "*") -> str:
    return f'[[routes]]\nname = "{name}"\nmodels = ["{models}"]\n' + (more or 'targets = [{ backend = "a" }]') + "\n"


TWO = '[backends.b]\nprovider = "openai"\n' + route('targets = [{ backend = "a" }]\nfallback = [{ backend = "b" }]')

SEMANTIC = 'cache.semantic = { backend = "a", model = "m" }\n'


def tenant(key: str, name: str = "t") -> str:
    return f"[tenants.{name}]\nkeys = [{key}]\n"


def traces(endpoint: str = "http://127.0.0.1:4318/v1/traces", more: str = "") -> str:
    return f'[telemetry.traces]\nendpoint = "{endpoint}"\n{more}'


REFUSED = [
    # doors
    ('server.listen = ["8080"]', "server.listen[0]", "has no port"),
    ('server.listen = [":8080"]', "server.listen[0]", 'did you mean "0.0.0.0:8080"?'),
    ('server.listen = ["127.0.0.1:99999"]', "server.listen[0]", "no valid port"),
    ('server.listen = ["::1:8080"]', "server.listen[0]", "without brackets"),
    ('server.listen = ["127.0.0.1:1", "127.0.0.1:1"]', "server.listen[1]", "taken already"),
    ('server.listen = ["127.0.0.1:9464"]', "admin.listen", "taken already"),
    ("server.listen = []", "server.listen", "is empty"),
    ('admin.listen = "nowhere"', "admin.listen", "has no port"),
    ('server.listen = [{ address = "127.0.0.1:1", tls_cert = "c.pem" }]', "server.listen[0].tls_key", "missing beside tls_cert"),
    ('server.listen = [{ address = "127.0.0.1:1", tls_key = "k.pem" }]', "server.listen[0].tls_cert", "missing beside tls_key"),
    (
        'server.listen = [{ address = "127.0.0.1:1", tls_cert = "c.pem", tls_key = "k.pem", engine = "builtin" }]',
        "server.listen[0].engine",
        "TLS",
    ),
    ('server.listen = [{ address = "127.0.0.1:1", tls_cert = "k.pem", tls_key = "k.pem" }]', "server.listen[0].tls_cert", "holds none"),
    ('server.listen = [{ address = "127.0.0.1:1", tls_cert = "no.pem", tls_key = "k.pem" }]', "server.listen[0].tls_cert", "no such file"),
    ('server.listen = ["0.0.0.0:8080"]', "server.listen[0]", 'auth = "none"'),
    ('server.listen = ["[::]:8080"]', "server.listen[0]", "neither a tenant nor a key"),
    ('server.listen = ["fd:3"]', "server.listen[0]", "may be reached"),
    ('admin.listen = "0.0.0.0:9464"', "admin.listen", "admin.token is not set"),
    ('admin.token = "two words"', "admin.token", "white space"),
    ('admin.metrics_token = "ü"', "admin.metrics_token", "non-ASCII"),
    ('server.forward_headers = ["Authorization"]', "server.forward_headers[0]", "never forwarded"),
    ('server.forward_headers = ["x-*-y"]', "server.forward_headers[0]", "no header name"),
    ('server.user_agent = "a\\nb"', "server.user_agent", "control"),
    ('store.path = ""', "store.path", "no file name"),
    # upstreams
    ('backends.a.provider = "opnai"', "backends.a.provider", 'did you mean "openai"?'),
    ('backends."a/b".provider = "openai"', 'backends."a/b"', "cannot be a backend's name"),
    ('backends.a.provider = "custom"', "backends.a.base_url", "is missing"),
    (BACKEND + 'base_url = "api.openai.com"', "backends.a.base_url", "is no URL"),
    (BACKEND + 'base_url = "ftp://x/"', "backends.a.base_url", 'scheme "ftp"'),
    (BACKEND + 'base_url = "https://me:hush@x/"', "backends.a.base_url", "holds credentials"),
    (BACKEND + 'base_url = "https://x/?key=hush"', "backends.a.base_url", "query"),
    (BACKEND + 'base_url = "https://x:99999/"', "backends.a.base_url", "is no URL"),
    (BACKEND + 'base_url = "https://a b/"', "backends.a.base_url", "is no URL"),
    (BACKEND + 'base_url = "https://"', "backends.a.base_url", "is no URL"),
    (BACKEND + 'base_url = "http+unix://run/vllm.sock"', "backends.a.base_url", "absolute path"),
    (BACKEND + 'base_url = "http+unix://%2Frun%00"', "backends.a.base_url", "NUL"),
    (BACKEND + f'base_url = "http+unix://%2F{"r" * 107}"', "backends.a.base_url", "107 bytes"),
    (BACKEND + 'base_url = "http+unix://%2Frun%2Fa.sock/v1?x"', "backends.a.base_url", "query"),
    (BACKEND + 'base_url = "http+unix://%2Frun%2Fa.sock/v1"\nproxy = "http://p:3128"', "backends.a.proxy", "unix socket"),
    (BACKEND + 'api_version = "2024-10-21"', "backends.a.api_version", '"azure-openai" only'),
    (BACKEND + 'deployments = { m = "d" }', "backends.a.deployments", '"azure-openai" only'),
    (
        'backends.z = { provider = "azure-openai", base_url = "https://x", deployments = { m = "a/b" } }',
        "backends.z.deployments.m",
        "deployment's name",
    ),
    (BACKEND + 'proxy = "socks5://x:1"', "backends.a.proxy", "no proxy URL"),
    (BACKEND + 'ca = "no.pem"', "backends.a.ca", "no such file"),
    (BACKEND + 'ca = "k.pem"', "backends.a.ca", "holds none"),
    (BACKEND + 'api_key = "line\\n"', "backends.a.api_key", "white space"),
    (BACKEND + 'headers = { "a b" = "x" }', 'backends.a.headers."a b"', "no header name"),
    (BACKEND + 'headers = { Host = "x" }', "backends.a.headers.Host", "cannot be set"),
    (BACKEND + 'headers = { X = "a\\r\\nb: c" }', "backends.a.headers.X", "control"),
    (BACKEND + 'health = { path = "models" }', "backends.a.health.path", "is no path"),
    (BACKEND + 'models = [""]', "backends.a.models[0]", "is no glob"),
    ('alerts.webhook.url = "nowhere"', "alerts.webhook.url", "is no URL"),
    # telemetry
    (traces("collector:4318"), "telemetry.traces.endpoint", "http://127.0.0.1:4318/v1/traces"),
    (traces("https://me:pw@collector/v1/traces"), "telemetry.traces.endpoint", "they belong in headers"),
    (traces("http+unix://%2Frun%2Fotel.sock/v1/traces"), "telemetry.traces.endpoint", "no address that traces"),
    (traces(more='headers = { "a b" = "x" }'), 'telemetry.traces.headers."a b"', "no header name"),
    (traces(more='headers = { Content-Type = "x" }'), "telemetry.traces.headers.Content-Type", "written by the gateway"),
    (traces(more='headers = { x-key = "a\\nb" }'), "telemetry.traces.headers.x-key", "control"),
    (traces(more='service_name = ""'), "telemetry.traces.service_name", "is no name"),
    (traces(more='resource = { "service.name" = "x" }'), 'telemetry.traces.resource."service.name"', "set by service_name"),
    (traces(more=f'resource = {{ a = "{"x" * 300}" }}'), "telemetry.traces.resource.a", "at most 256"),
    (traces(more='ca = "k.pem"'), "telemetry.traces.ca", "holds none"),
    (traces(more="sample = 1.5"), "telemetry.traces.sample", "between 0 and 1"),
    ("telemetry.traces = {}", "telemetry.traces.endpoint", "is missing"),
    # routing
    (BACKEND + route('targets = [{ backend = "aa" }]'), "routes[0].targets[0].backend", 'did you mean "a"?'),
    (route(), "routes[0].targets[0].backend", "a table under [backends]"),
    (BACKEND + route('targets = [{ backend = "a" }]\nfallback = [{ backend = "x" }]'), "routes[0].fallback[0].backend", "is no backend"),
    (BACKEND + route("targets = []"), "routes[0].targets", "is empty"),
    (BACKEND + route('targets = [{ backend = "a", weight = 0 }]'), "routes[0].targets", "all weights are 0"),
    (BACKEND + route() + route(models="x"), "routes[1].name", "taken by routes[0].name"),
    (BACKEND + route(name="a/b"), "routes[0].name", "cannot be a route's name"),
    (BACKEND + route(models=""), "routes[0].models[0]", "is no glob"),
    (BACKEND + '[[routes]]\nname = "r"\nmodels = []\ntargets = [{ backend = "a" }]', "routes[0].models", "nothing matches"),
    (BACKEND + route() + "retry = { on = [429, 200] }", "routes[0].retry.on[1]", "no error status"),
    (BACKEND + route() + "retry = { fallback_on = [600] }", "routes[0].retry.fallback_on[0]", "no error status"),
    (
        BACKEND + route() + "match = { min_prompt_tokens = 9, max_prompt_tokens = 8 }",
        "routes[0].match.max_prompt_tokens",
        "nothing matches",
    ),
    (BACKEND + route() + 'match = { paths = ["v1/messages"] }', "routes[0].match.paths[0]", "matches no path"),
    (BACKEND + route() + 'match = { tenants = [""] }', "routes[0].match.tenants[0]", "is no glob"),
    (BACKEND + route() + 'match = { headers = { "a b" = "x" } }', 'routes[0].match.headers."a b"', "no header name"),
    (
        BACKEND + route('targets = [{ backend = "a", overrides = { model = "x" } }]'),
        "routes[0].targets[0].overrides.model",
        "cannot be overridden",
    ),
    (
        BACKEND + route('targets = [{ backend = "a", overrides = { d = [{ x = 2020-01-01 }] } }]'),
        "routes[0].targets[0].overrides.d[0].x",
        "JSON",
    ),
    (BACKEND + route('targets = [{ backend = "a", overrides = { t = nan } }]'), "routes[0].targets[0].overrides.t", "JSON"),
    ('aliases = { a = "b", b = "c", c = "a", d = "a" }', "aliases.a", '"a" → "b" → "c" → "a"'),
    ('aliases = { a = "a" }', "aliases.a", "back to itself"),
    ('aliases = { a = "" }', "aliases.a", "is empty"),
    (
        BACKEND
        + route(name="chat")
        + '[[experiments]]\nname = "e"\nroute = "chat2"\ncontrol = { backend = "a" }\ntreatment = { backend = "a" }',
        "experiments[0].route",
        'did you mean "chat"?',
    ),
    (
        BACKEND + route() + '[[experiments]]\nname = "e"\nroute = "r"\ncontrol = { backend = "a" }\ntreatment = { backend = "b" }',
        "experiments[0].treatment.backend",
        "is no backend",
    ),
    (
        BACKEND
        + route()
        + "".join(
            f'[[experiments]]\nname = "{name}"\nroute = "r"\ncontrol = {{ backend = "a" }}\ntreatment = {{ backend = "a" }}\n'
            for name in "ef"
        ),
        "experiments[1].route",
        "has the experiment experiments[0] already",
    ),
    ("tenants.shadow = {}", "tenants.shadow", "cannot be a tenant's name"),
    ("tenants.anonymous = {}", "tenants.anonymous", "cannot be a tenant's name"),
    # tenancy
    (tenant('{ id = "k", sha256 = "sk-the-key-itself" }'), "tenants.t.keys[0].sha256", "64 hexadecimal digits"),
    (tenant(f'{{ id = "k", sha256 = "{HASH}g" }}'), "tenants.t.keys[0].sha256", "64 hexadecimal digits"),
    (
        tenant(f'{{ id = "k", sha256 = "{HASH}" }}') + tenant(f'{{ id = "l", sha256 = "{HASH.upper()}" }}', "u"),
        "tenants.u.keys[0].sha256",
        "tenants.t.keys[0]",
    ),
    (tenant(f'{{ id = "k", sha256 = "{HASH}" }}') + tenant(f'{{ id = "k", sha256 = "{OTHER}" }}', "u"), "tenants.u.keys[0].id", "taken by"),
    (tenant(f'{{ id = "", sha256 = "{HASH}" }}'), "tenants.t.keys[0].id", "cannot be a key's id"),
    ('tenants."a b" = {}', 'tenants."a b"', "cannot be a tenant's name"),
    ("tenants.t.models = []", "tenants.t.models", "nothing matches"),
    ("tenants.t.budget.usd = 0", "tenants.t.budget.usd", "above 0"),
    ('tenants.t.budget = { usd = 1, timezone = "Mars/Base" }', "tenants.t.budget.timezone", "time zone"),
    ('tenants.t.budget = { usd = 1, timezone = "Europe" }', "tenants.t.budget.timezone", "time zone"),
    ('tenants.t.budget = { usd = 1, timezone = "../etc/passwd" }', "tenants.t.budget.timezone", "time zone"),
]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "c.pem").write_text("-----BEGIN CERTIFICATE-----")
    (tmp_path / "k.pem").write_text("-----BEGIN PRIVATE KEY-----")
    return tmp_path


@pytest.mark.parametrize(("text", "path", "words"), REFUSED)
def test_what_cannot_work_is_refused_where_it_stands(text: str, path: str, words: str, folder: Path) -> None:
    grave, _ = findings(text, folder)
    assert list(grave) == [path]
    assert words in grave[path]


DOUBTED = [
    (traces("http://127.0.0.1:4318"), "telemetry.traces.endpoint", "names no path"),
    (traces("http://collector.example.com/v1/traces", 'headers = { x-key = "k" }'), "telemetry.traces.endpoint", "unencrypted"),
    (BACKEND + 'base_url = "http://api.example.com/v1"\napi_key = "k"', "backends.a.base_url", "unencrypted"),
    (BACKEND + 'base_url = "http://10.0.0.7/v1"\nhttp2 = true', "backends.a.http2", "no effect"),
    (BACKEND + 'base_url = "http+unix://%2Frun%2Fa.sock/v1"\nhttp2 = true', "backends.a.http2", "no effect"),
    (BACKEND + route() + route(name="s", models="gpt-*"), "routes[1]", "never reached"),
    (BACKEND + route(models="gpt-*") + route(name="s", models="gpt-4o*"), "routes[1]", "never reached"),
    (BACKEND + route(models="fast") + '[aliases]\nfast = "gpt-4o"', "routes[0].models[0]", "is an alias"),
    (BACKEND + route() + "retry = { fallback_on = [429] }", "routes[0].retry.fallback_on", "429"),
    (BACKEND + route() + "hedge = { after_s = 2 }", "routes[0].hedge", "no second attempt"),
    (BACKEND + TWO + "hedge = { percentile = 95 }\nretry = { attempts = 1 }", "routes[0].hedge", "no second attempt"),
    (BACKEND + route() + SEMANTIC, "routes[0].cache.semantic", "ttl_s is 0"),
    (BACKEND + route() + SEMANTIC + "cache.ttl_s = 0", "routes[0].cache.semantic", "ttl_s is 0"),
    (BACKEND + route() + '[[experiments]]\nname = "t"\nroute = "r"\ncontrol = { backend = "a" }\ntreatment = { backend = "a" }\n'
     "percent = 0.0004", "experiments[0].percent", "no effect"),
    ("tenants.t.rpm = 5", "tenants", "nobody can call"),
    (tenant(f'{{ id = "k", sha256 = "{HASH}", routes = ["nope"] }}'), "tenants.t.keys[0].routes[0]", "matches no route"),
]


@pytest.mark.parametrize(("text", "path", "words"), DOUBTED)
def test_what_is_only_doubtful_is_a_warning(text: str, path: str, words: str) -> None:
    grave, doubts = findings(text)
    assert grave == {}
    assert list(doubts) == [path]
    assert words in doubts[path]


SOUND = [
    'server.listen = ["0.0.0.0:8080"]\nserver.auth = "none"',
    'server.listen = ["0.0.0.0:8080"]\n' + tenant(f'{{ id = "k", sha256 = "{HASH}" }}'),
    'server.listen = ["127.0.0.1:0", "[::1]:0", "localhost:0", "unix:/run/a.sock"]',
    'server.listen = ["127.0.0.1:0", "127.0.0.1:0"]',
    'admin = { listen = "0.0.0.0:9464", token = "t" }',
    'server.forward_headers = ["x-team", "x-trace-*"]',
    'backends.a = { provider = "custom", base_url = "http://127.0.0.1:8000/v1", api_key = "k" }',
    'backends.a = { provider = "custom", base_url = "http://vllm:8000/v1", api_key = "k" }',
    'backends.a = { provider = "custom", base_url = "http://[::1]:8000/v1", api_key = "k" }',
    'backends.a = { provider = "ollama", health = { path = "" } }',
    'backends.a = { provider = "custom", base_url = "http+unix://%2Frun%2Fvllm%2Fapi.sock/v1", api_key = "k" }',
    'backends.a = { provider = "openai", ca = "system", headers = { X = "two words" }, proxy = "http://u:p@proxy:3128" }',
    BACKEND + route(models="gpt-4o*") + route(name="s", models="gpt-*"),
    BACKEND + route().replace("[[routes]]", '[[routes]]\nmatch = { headers = { x = "y" } }') + route(name="s"),
    BACKEND + route(models="a?c") + route(name="s", models="a*c"),
    BACKEND + TWO + "hedge = { after_s = 2, percentile = 95 }",
    BACKEND + route() + "hedge = { max_percent = 50 }",
    BACKEND + route() + SEMANTIC + "cache.ttl_s = 60",
    BACKEND + route() + 'cache = { when = "always" }',
    BACKEND + route('targets = [{ backend = "a", weight = 0 }]\nstrategy = "priority"'),
    BACKEND + route('targets = [{ backend = "a" }]\nmatch = { paths = ["/v1/chat/*", "*"] }') + route(name="s"),
    BACKEND + route('targets = [{ backend = "a" }]\nmatch = { tenants = ["team-?"] }') + route(name="s"),
    BACKEND + route('targets = [{ backend = "a", overrides = { temperature = 0.2, stop = ["a"], x = { y = true } } }]'),
    'aliases = { a = "b", b = "c" }',
    'tenants.t = { budget = { usd = 0.5, timezone = "Europe/Berlin" }, keys = [{ id = "k", sha256 = "' + HASH.upper() + '" }] }',
]


def test_a_time_to_keep_that_was_refused_is_not_taken_for_none() -> None:
    grave, doubts = findings(BACKEND + route() + SEMANTIC + "cache.ttl_s = -1")
    assert (list(grave), doubts) == (["routes[0].cache.ttl_s"], {})


@pytest.mark.parametrize("text", SOUND)
def test_what_works_is_neither_refused_nor_doubted(text: str) -> None:
    assert findings(text) == ({}, {})


def test_a_url_is_not_repeated_in_its_problem() -> None:
    for url in ("https://me:hush@x/", "https://x/?key=hush", "hush hush"):
        assert "hush" not in str(findings(f'{BACKEND}base_url = "{url}"'))

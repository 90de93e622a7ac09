"""Prometheus and Grafana as services elsewhere: their images hold what they need, they start by their variables alone, and a gateway of
OpenRouter and Featherless is read over https with a bearer token from a file.
"""

import os
import re
import shutil
import ssl
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import attrs
import httpx
import pytest
import trustme
import yaml
from alert_rules import rules, tool
from doors import certificate
from rig import Process, Simulator, eventually, free_port, running
from stack_files import STACK, compose
from tool_process import Running, started

RAILWAY = STACK / "railway"
METRICS_TOKEN = "metrics-token-0123456789"
VARIABLES = {"OPENROUTER_API_KEY": "or-key", "FEATHERLESS_API_KEY": "fl-key", "METRICS_TOKEN": METRICS_TOKEN}
SCRAPED_S = 90.0
CALL = {"model": "claude-sonnet-4-5-20250929", "max_tokens": 1024, "messages": [{"role": "user", "content": "Hello, Claude!"}]}
SERVICES = ("prometheus", "grafana")
OF_THE_IMAGE = re.compile(r"(?<![\w.}/])/(etc|tmp|prometheus|run\.sh)\b")


def instructions(service: str) -> list[tuple[str, str]]:
    """(word, rest) of each instruction of a service's Dockerfile."""
    joined = (RAILWAY / service / "Dockerfile").read_text().replace("\\\n", " ")
    lines = [line for line in joined.splitlines() if line.strip() and not line.startswith("#")]
    return [(word, " ".join(rest)) for word, *rest in (line.split() for line in lines)]


def image(service: str, folder: Path) -> Path:
    """What the Dockerfile copies, in FOLDER for the image's root; the image's absolute paths in scripts and settings are made FOLDER's."""
    for word, rest in instructions(service):
        if word == "COPY":
            source, target = [one for one in rest.split() if not one.startswith("--")]
            place = folder / target.lstrip("/")
            place.parent.mkdir(parents=True, exist_ok=True)
            if (STACK / source).is_dir():
                shutil.copytree(STACK / source, place)
            else:
                text = (STACK / source).read_text()
                place.write_text(text if place.suffix == ".yaml" else OF_THE_IMAGE.sub(lambda match: f"{folder}/{match[1]}", text))
    return folder


def start(root: Path, service: str, **variables: str) -> subprocess.CompletedProcess[str]:
    script = root / "etc" / service / "start.sh"
    return subprocess.run(["/bin/sh", str(script)], env=variables, capture_output=True, text=True, timeout=30)


@pytest.mark.parametrize("service", SERVICES)
def test_a_service_is_built_from_its_dockerfile_and_its_settings_name_what_is_there(service) -> None:
    settings = tomllib.loads((RAILWAY / service / "railway.toml").read_text())
    assert settings["build"]["builder"] == "DOCKERFILE"
    assert settings["build"]["dockerfilePath"] == f"railway/{service}/Dockerfile"
    watched = [one.removesuffix("/**") for one in settings["build"]["watchPatterns"]]
    assert all((STACK.parent / one.lstrip("/")).exists() for one in watched)
    copied = [rest.split()[-2] for word, rest in instructions(service) if word == "COPY"]
    assert all(any(f"/observability/{one}".startswith(seen) for seen in watched) for one in copied), "a change of it would not be deployed"
    assert settings["deploy"]["healthcheckPath"] in "".join(compose()["services"][service]["healthcheck"]["test"])


@pytest.mark.parametrize("service", SERVICES)
def test_a_service_is_of_the_same_version_as_in_the_stack(service) -> None:
    assert dict(instructions(service))["FROM"] == compose()["services"][service]["image"]


@pytest.mark.parametrize(
    ("service", "variables", "missing"),
    [
        ("prometheus", {"METRICS_TOKEN": "a-token"}, "GATEWAY_HOST"),
        ("prometheus", {"GATEWAY_HOST": "gateway.example.com"}, "METRICS_TOKEN"),
        ("grafana", {"PORT": "3000"}, "GF_SECURITY_ADMIN_PASSWORD"),
    ],
)
def test_a_service_without_its_variables_says_which_is_missing_and_does_not_start(service, variables, missing, tmp_path) -> None:
    done = start(image(service, tmp_path), service, PATH=os.environ["PATH"], **variables)
    assert done.returncode != 0
    assert f"{missing}: is not set" in done.stderr


def test_grafana_starts_on_the_platforms_port_with_the_dashboards_where_it_looks(tmp_path) -> None:
    root = image("grafana", tmp_path)
    (root / "run.sh").write_text("#!/bin/sh\necho port $GF_SERVER_HTTP_PORT\n")
    (root / "run.sh").chmod(0o755)
    assert start(root, "grafana", PORT="7777", GF_SECURITY_ADMIN_PASSWORD="s3cret").stdout == "port 7777\n"
    (provider,) = yaml.safe_load((root / "etc/grafana/provisioning/dashboards/appliance.yml").read_text())["providers"]
    assert (STACK / "grafana/provisioning/dashboards/appliance.yml").read_text().count("/etc/grafana/dashboards") == 1
    assert len(list((root / provider["options"]["path"].lstrip("/")).glob("*.json"))) == 6
    given = " ".join(rest for word, rest in instructions("grafana") if word == "ENV")
    for name in re.findall(r"(?<!\$)\$\{(\w+)\}", (root / "etc/grafana/provisioning/datasources/prometheus.yml").read_text()):
        assert f"{name}=" in given
    assert "PASSWORD" not in given


@attrs.frozen
class Site:
    """A gateway of the example's configuration behind https, with both providers simulated, and the Prometheus that reads it."""

    gateway: Process
    url: str
    key: str
    openrouter: Simulator
    featherless: Simulator
    trust: ssl.SSLContext
    prometheus: Running
    root: Path

    def messages(self) -> httpx.Response:
        with httpx.Client(verify=self.trust, trust_env=False, timeout=30) as client:
            return client.post(self.url + "/v1/messages", json=CALL, headers={"x-api-key": self.key})


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Iterator[Site]:
    prometheus = tool("prometheus")
    folder = tmp_path_factory.mktemp("railway")
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(folder / "ca.pem"))
    trust = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    authority.configure_trust(trust)
    openrouter, featherless = Simulator(folder, "openrouter"), Simulator(folder, "featherless")
    port = free_port()
    with running(openrouter, featherless):
        config = example(folder, port, certificate(folder, authority, "127.0.0.1", "localhost"), openrouter, featherless)
        env = {**VARIABLES, "APPLIANCE_CONFIG": str(config)}
        key = command(env, "key", "create", "--tenant", "team", "--id", "app").strip()
        gateway = Process(["serve"], folder / "gateway.log", env)
        with running(gateway):
            gateway.wait_port(port)
            root = image("prometheus", folder / "image")
            at = free_port()
            variables = {
                "PATH": f"{Path(prometheus).parent}:{os.environ['PATH']}", "HOME": str(folder), "SSL_CERT_FILE": str(folder / "ca.pem"),
                "GATEWAY_HOST": f"127.0.0.1:{port}", "METRICS_TOKEN": METRICS_TOKEN, "PORT": str(at), "CLUSTER": "production",
            }  # fmt: skip
            script = ["/bin/sh", str(root / "etc/prometheus/start.sh")]
            with started(script, f"http://127.0.0.1:{at}", folder / "prometheus.log", variables) as reading:
                yield Site(gateway, f"https://127.0.0.1:{port}", key, openrouter, featherless, trust, reading, root)


def example(folder: Path, port: int, tls: tuple[Path, Path], openrouter: Simulator, featherless: Simulator) -> Path:
    """The committed configuration as it is; what this place has otherwise lies beside it, in conf.d."""
    config = folder / "config.toml"
    shutil.copy(RAILWAY / "gateway/config.toml", config)
    (folder / "conf.d").mkdir()
    (folder / "conf.d/here.toml").write_text(f"""
[server]
listen = [{{ address = "127.0.0.1:{port}", tls_cert = "{tls[0]}", tls_key = "{tls[1]}" }}]
[admin]
listen = "127.0.0.1:{free_port()}"
[store]
path = "{folder}/appliance.db"
[backends.openrouter]
base_url = "{openrouter.url}/v1"
[backends.featherless]
base_url = "{featherless.url}/v1"
""")
    return config


def command(env: dict[str, str], *arguments: str) -> str:
    asked = [sys.executable, "-m", "appliance", *arguments]
    done = subprocess.run(asked, env={**os.environ, **env}, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_example_for_openrouter_and_featherless_is_sound() -> None:
    said = command(VARIABLES, "check", "-c", str(RAILWAY / "gateway/config.toml"))
    assert "configuration is sound" in said
    assert "2 backends" in said


def test_prometheus_takes_its_configuration_as_its_image_has_it(site: Site) -> None:
    done = subprocess.run([tool("promtool"), "check", "config", str(site.root / "etc/prometheus/prom.yml")], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    loaded = [rule for group in site.prometheus.get("/api/v1/rules")["data"]["groups"] for rule in group["rules"]]
    assert len(loaded) == len(rules())


def test_the_token_is_in_a_file_for_its_user_alone_and_in_no_configuration_and_no_environment(site: Site) -> None:
    kept = site.root / "tmp/gateway/token"
    assert kept.read_text() == METRICS_TOKEN
    assert kept.stat().st_mode & 0o777 == 0o600
    assert METRICS_TOKEN not in str(site.prometheus.get("/api/v1/status/config"))
    assert METRICS_TOKEN not in site.prometheus.log.read_text()
    assert METRICS_TOKEN.encode() not in Path(f"/proc/{site.prometheus.pid}/environ").read_bytes()


def test_an_anthropic_request_is_answered_by_openrouter_and_by_featherless_when_that_fails_and_prometheus_sees_both(site: Site) -> None:
    def answered_by(backend: str) -> dict[str, Any]:
        answer = site.messages()
        assert answer.status_code == 200, answer.text
        assert answer.headers["x-served-by"] == backend
        body: dict[str, Any] = answer.json()
        assert (body["type"], body["role"], body["stop_reason"]) == ("message", "assistant", "end_turn")
        assert body["content"][0]["type"] == "text"
        assert body["usage"].keys() >= {"input_tokens", "output_tokens"}
        return body

    answered_by("openrouter")
    site.openrouter.fault("anthropic/claude-sonnet-4.5", "503")
    answered_by("featherless")
    target = 'cluster="production", job="gatewayz_staging"'
    eventually(lambda: site.prometheus.value(f"up{{{target}}}") == 1, SCRAPED_S)
    by_model = f"sum by (model) (model_requests_total{{{target}}}) > 0"
    counts = {"claude-sonnet-4.5": "1", "Qwen2.5-72B-Instruct": "1"}
    eventually(lambda: {one["metric"]["model"]: one["value"][1] for one in site.prometheus.ask(by_model)} == counts, SCRAPED_S)
    assert site.prometheus.value(f'sum(inference_gateway_fallbacks_total{{{target}, to_backend="featherless"}})') == 1

"""The stack's files are what Docker, Prometheus, Alertmanager and Grafana take, and what they say of each other is true."""

import json
import re
import subprocess
import sys

import pytest
import yaml
from alert_rules import RULES, alerts, cases, tool
from stack_files import COMPOSE, STACK, compose, lay_out, mounts, problems

DATASOURCE = yaml.safe_load((STACK / "grafana/provisioning/datasources/prometheus.yml").read_text())
PROVIDER = yaml.safe_load((STACK / "grafana/provisioning/dashboards/appliance.yml").read_text())
ALERTMANAGER = yaml.safe_load((STACK / "alertmanager.yml").read_text())
PROMETHEUS = yaml.safe_load((STACK / "prometheus.yml").read_text())
SECRETS = {"gateway_token": "a-token", "slack_url": "http://127.0.0.1:9/", "smtp_password": "a-password", "webhook_token": "another"}
INTERPOLATED = re.compile(r"\$\{(\w+)(?::?[-+?]([^}]*))?\}")


def checked(*arguments: str) -> str:
    done = subprocess.run([tool(arguments[0]), *arguments[1:]], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def filled(value: str, environment: dict[str, str]) -> str:
    """A compose file's string as docker compose reads it: defaults, and `:+` for what is set."""

    def one(match: re.Match[str]) -> str:
        name, words, whole = match[1], match[2] or "", match[0]
        if ":+" in whole:
            return words if environment.get(name) else ""
        return environment.get(name) or words

    return INTERPOLATED.sub(one, value)


def test_the_compose_file_is_one_by_the_compose_specification() -> None:
    assert problems("compose-spec", compose()) == []


@pytest.mark.parametrize(
    ("path", "value"),
    [(("services", "grafana", "ports"), 3000), (("services", "grafana", "imgae"), "x"), (("services", "gateway", "profiles"), "gateway")],
)
def test_the_compose_schema_finds_mistakes(path, value) -> None:
    document = compose()
    place = document
    for step in path[:-1]:
        place = place[step]
    place[path[-1]] = value
    assert problems("compose-spec", document)


def test_the_ports_are_the_known_ones_and_open_to_this_machine_alone_unless_said_otherwise() -> None:
    services = compose()["services"]
    for name, port in {"prometheus": 9090, "alertmanager": 9093, "grafana": 3000, "gateway": 8080}.items():
        assert [filled(one, {}) for one in services[name]["ports"]] == [f"127.0.0.1:{port}:{port}"]


def test_images_are_pinned_and_services_that_run_are_looked_after() -> None:
    for name, service in compose()["services"].items():
        assert service["restart"] == "unless-stopped"
        if name != "gateway":
            assert re.fullmatch(r"[a-z]+/[a-z]+:v?\d+\.\d+\.\d+", service["image"]), service["image"]
            assert service["healthcheck"]["test"][0] == "CMD"


def test_every_file_that_is_mounted_is_there() -> None:
    for name in compose()["services"]:
        for mount in mounts(name):
            assert mount.source.exists(), mount


def test_secrets_are_files_that_are_never_committed_and_no_service_wants_another() -> None:
    document = compose()
    assert {one["file"] for one in document["secrets"].values()} == {f"./secrets/{name}" for name in document["secrets"]}
    wanted = {name for service in document["services"].values() for name in service.get("secrets", ())}
    assert wanted == set(document["secrets"]) == set(SECRETS)
    ignored = [line for line in (STACK / "secrets/.gitignore").read_text().splitlines() if not line.startswith("#")]
    assert ignored == ["*", "!.gitignore"]
    for name, texts in {"prometheus": "prometheus.yml", "alertmanager": "alertmanager.yml", "gateway": "gateway.toml"}.items():
        named = set(re.findall(r"^[^#\n]*/run/secrets/(\w+)", (STACK / texts).read_text(), re.MULTILINE))
        assert named == set(document["services"][name]["secrets"]), name


def test_the_commands_that_are_written_down_make_every_secret_for_its_owner_alone_and_for_the_containers(tmp_path) -> None:
    block = (STACK / "README.md").read_text().split("## The stack\n", 1)[1].split("```sh\n", 1)[1].split("```", 1)[0]
    lines = [line for line in block.splitlines() if not line.startswith(("cd ", "docker "))]
    assert len(lines) == 3
    subprocess.run(["bash", "-euc", "umask 077\n" + "\n".join(lines)], cwd=tmp_path, check=True, timeout=20)
    kept = tmp_path / "secrets"
    assert kept.stat().st_mode & 0o777 == 0o700
    assert {path.name for path in kept.iterdir()} == set(SECRETS)
    assert all(path.stat().st_mode & 0o777 == 0o644 for path in kept.iterdir())
    assert len((kept / "gateway_token").read_text().strip()) > 40


def test_the_configuration_that_a_gateway_on_the_host_is_told_to_have_is_sound(tmp_path) -> None:
    chapter = (STACK / "README.md").read_text().split("## A gateway on the host\n", 1)[1]
    written = chapter.split("```toml\n", 1)[1].split("```", 1)[0]
    token = tmp_path / "metrics_token"
    token.write_text("a-token\n")
    config = tmp_path / "config.toml"
    backend = '[backends.a]\nprovider = "openai"\napi_key = "sk-none"\n'
    config.write_text(written.replace("/etc/appliance/metrics_token", str(token)) + backend)
    done = subprocess.run([sys.executable, "-m", "appliance", "check", "-c", str(config)], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert "172.17.0.1:8080" in done.stdout


def test_no_token_and_no_password_is_in_a_file() -> None:
    secret = r"^[^#\n]*\b(bearer_token|credentials|\w*password|\w*api_url|\w*_key)\s*:"
    for path in ("prometheus.yml", "alertmanager.yml", "railway/prometheus/prom.yml"):
        assert not re.findall(secret, (STACK / path).read_text(), re.MULTILINE), path


def test_grafanas_login_comes_from_the_environment_and_is_admin_admin_otherwise() -> None:
    environment = compose()["services"]["grafana"]["environment"]
    login = ("GF_SECURITY_ADMIN_USER", "GF_SECURITY_ADMIN_PASSWORD")
    assert [filled(environment[name], {}) for name in login] == ["admin", "admin"]
    assert [filled(environment[name], {"GRAFANA_USER": "ops", "GRAFANA_PASSWORD": "s3cret"}) for name in login] == ["ops", "s3cret"]


def test_prometheus_finds_the_gateway_of_the_host_or_the_one_of_the_stack_under_one_name() -> None:
    (target,) = [one for job in PROMETHEUS["scrape_configs"] if job["job_name"] == "aigateway" for one in job["static_configs"]]
    assert target["targets"] == ["host.docker.internal:8080"]
    assert target["labels"] == {"cluster": "local"}
    services = compose()["services"]
    (host,) = services["prometheus"]["extra_hosts"]
    assert filled(host, {}) == "host.docker.internal:host-gateway"
    assert not filled(host, {"COMPOSE_PROFILES": "gateway"}).startswith("host.docker.internal:")
    assert services["gateway"]["networks"]["default"]["aliases"] == ["host.docker.internal"]


def test_exemplars_are_kept() -> None:
    assert "--enable-feature=exemplar-storage" in compose()["services"]["prometheus"]["command"]


def test_prometheus_takes_its_configuration_as_its_container_sees_it(tmp_path) -> None:
    root = lay_out("prometheus", tmp_path, SECRETS, {})
    said = checked("promtool", "check", "config", str(root / "etc/prometheus/prometheus.yml"))
    assert "1 rule files found" in said
    assert f"{sum(len(group['rules']) for group in yaml.safe_load(RULES.read_text())['groups'])} rules found" in said


def test_the_gateway_elsewhere_needs_only_its_comment_signs_taken_away(tmp_path) -> None:
    root = lay_out("prometheus", tmp_path, SECRETS, {})
    place = root / "etc/prometheus/prometheus.yml"
    place.write_text(re.sub(r"^  # (?=-|  )", "  ", place.read_text(), flags=re.MULTILINE))
    (root / "run/secrets/staging_token").write_text("a-token")
    checked("promtool", "check", "config", str(place))
    (job,) = [one for one in yaml.safe_load(place.read_text())["scrape_configs"] if one["job_name"] == "gatewayz_staging"]
    assert job["scheme"] == "https"
    assert job["static_configs"][0]["labels"] == {"cluster": "staging"}


def test_alertmanager_takes_its_configuration(tmp_path) -> None:
    root = lay_out("alertmanager", tmp_path, SECRETS, {})
    assert "SUCCESS" in checked("amtool", "check-config", str(root / "etc/alertmanager/alertmanager.yml"))


@pytest.mark.parametrize("alert", alerts(), ids=lambda alert: alert["alert"])
def test_each_alert_reaches_who_should_hear_of_it(alert) -> None:
    severity, promised = alert["labels"]["severity"], "sla" in alert["labels"]
    labels = [f"{name}={value}" for name, value in alert["labels"].items()]
    heard = checked("amtool", "config", "routes", "test", f"--config.file={STACK / 'alertmanager.yml'}", *labels).strip().split(",")
    who = {"critical": "on-call", "warning": "team", "info": "nobody"}[severity]
    assert sorted(heard) == sorted(["sla", who] if promised else [who])


def labels_of_alerts() -> dict[str, set[str]]:
    """Alert → the labels that it has in every case that fires; `cluster` is the target's, if any."""
    found: dict[str, set[str]] = {}
    for _, group in cases():
        for one in group["alert_rule_test"]:
            for fired in one["exp_alerts"]:
                labels = {*fired["exp_labels"], "cluster"}
                found[one["alertname"]] = found.get(one["alertname"], labels) & labels
    return found


@pytest.mark.parametrize("rule", ALERTMANAGER["inhibit_rules"], ids=lambda rule: rule["source_matchers"][0])
def test_an_alert_silences_only_alerts_that_are_there_and_about_the_same_thing(rule) -> None:
    """Labels that one of the two has not would be equal, both empty, and silence what is about something else."""
    known = labels_of_alerts()
    matchers = " ".join([*rule["source_matchers"], *rule["target_matchers"]])
    names = {name for words in re.findall(r'"([^"]+)"', matchers) for name in words.split("|")}
    assert names <= known.keys()
    for name in names:
        assert set(rule["equal"]) <= known[name], name


def test_grafanas_data_source_has_the_uid_that_dashboards_ask_for_and_only_documented_keys() -> None:
    assert DATASOURCE["apiVersion"] == 1
    (source,) = DATASOURCE["datasources"]
    assert source["uid"] == "prometheus"
    assert source["type"] == "prometheus"
    assert source.keys() <= {
        "name", "uid", "type", "access", "orgId", "url", "isDefault", "editable", "jsonData", "secureJsonData", "version",
    }  # fmt: skip
    assert source["jsonData"].keys() <= {
        "httpMethod", "timeInterval", "queryTimeout", "manageAlerts", "prometheusType", "prometheusVersion", "cacheLevel",
        "exemplarTraceIdDestinations", "incrementalQuerying", "disableMetricsLookup", "customQueryParameters",
    }  # fmt: skip
    assert source["jsonData"]["timeInterval"] == PROMETHEUS["global"]["scrape_interval"]


def test_grafana_has_what_its_data_source_takes_from_the_environment_and_leads_to_traces() -> None:
    environment = {name: filled(value, {}) for name, value in compose()["services"]["grafana"]["environment"].items()}

    def expanded(words: str) -> str:
        once = re.sub(r"(?<!\$)\$\{(\w+)\}", lambda match: environment[match[1]], words)
        return once.replace("$$", "$")

    (source,) = DATASOURCE["datasources"]
    assert expanded(source["url"]) == "http://prometheus:9090"
    (trace,) = source["jsonData"]["exemplarTraceIdDestinations"]
    assert trace["name"] == "trace_id"
    assert expanded(trace["url"]) == "http://localhost:16686/trace/${__value.raw}"


def test_grafana_finds_every_dashboard_and_runbook_where_it_looks_for_them() -> None:
    (provider,) = PROVIDER["providers"]
    assert provider.keys() <= {
        "name", "orgId", "folder", "folderUid", "type", "disableDeletion", "allowUiUpdates", "updateIntervalSeconds", "options",
    }  # fmt: skip
    mounted = {mount.target: mount.source for mount in mounts("grafana")}
    dashboards = mounted[provider["options"]["path"]]
    titles = [json.loads(path.read_text())["title"] for path in dashboards.glob("*.json")]
    assert len(titles) == len(set(titles)) == 6
    assert mounted["/usr/share/grafana/public/runbooks"] == STACK / "runbooks"
    for kind in ("datasources", "dashboards"):
        assert mounted[f"/etc/grafana/provisioning/{kind}"] == STACK / "grafana/provisioning" / kind


def test_the_compose_file_says_every_variable_that_it_reads() -> None:
    words = COMPOSE.read_text()
    head, body = words.split("services:", 1)
    read = {match[1] for match in INTERPOLATED.finditer(body)}
    assert all(name in head for name in read), read

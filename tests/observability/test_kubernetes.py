"""The Kubernetes manifests are what the code makes, are taken by a cluster, and carry the dashboards and rules as they are."""

import json

import pytest
import yaml
from alert_rules import RULES
from dashboard_queries import FOLDER
from stack_files import STACK, problems

from observability.kubernetes import CONFIG_MAPS, manifests

FILES = sorted((STACK / "kubernetes").glob("*.yaml"))
APPLIED_MAX_BYTES = 262_144  # all annotations of an object, of which `kubectl apply` writes one with the object in it


def manifest(name: str):
    return yaml.safe_load((STACK / "kubernetes" / name).read_text())


def test_the_committed_manifests_are_what_the_code_makes_byte_for_byte():
    made = manifests()
    assert {*made, "servicemonitor.yaml"} == {path.name for path in FILES}
    for name, text in made.items():
        assert (STACK / "kubernetes" / name).read_bytes() == text.encode(), f"{name} is not what the code makes: run `make dashboards`"


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_manifest_is_one_by_its_kinds_schema_and_can_be_applied(path):
    document = yaml.safe_load(path.read_text())
    assert problems(f"kubernetes-{document['kind'].lower()}", document) == []
    assert len(json.dumps(document, separators=(",", ":")).encode()) < APPLIED_MAX_BYTES
    assert document["metadata"]["namespace"] == "monitoring"


@pytest.mark.parametrize(
    ("name", "spoil"),
    [
        ("inference-gateway-dashboard.yaml", lambda it: it["data"].update({"x.json": {"title": "x"}})),
        ("servicemonitor.yaml", lambda it: it["spec"]["endpoints"][0].update(bearer_token="x")),
        ("servicemonitor.yaml", lambda it: it["spec"]["endpoints"][0].update(interval="15 s")),
        ("servicemonitor.yaml", lambda it: it["spec"].pop("selector")),
        ("prometheusrule.yaml", lambda it: it["spec"]["groups"][0]["rules"][0].pop("expr")),
    ],
)
def test_the_schemas_find_mistakes(name, spoil):
    document = manifest(name)
    spoil(document)
    assert problems(f"kubernetes-{document['kind'].lower()}", document)


def test_every_dashboard_is_in_one_config_map_that_grafanas_sidecar_finds():
    carried = {}
    for name in CONFIG_MAPS:
        document = manifest(f"{name}.yaml")
        assert document["metadata"]["name"] == name
        assert document["metadata"]["labels"] == {"grafana_dashboard": "1"}
        assert not carried.keys() & document["data"].keys()
        carried |= document["data"]
    assert carried == {path.name: path.read_text() for path in FOLDER.glob("*.json")}
    assert "inference-gateway.json" in manifest("inference-gateway-dashboard.yaml")["data"]


def test_the_rule_manifest_has_the_rules_of_the_rule_file():
    assert manifest("prometheusrule.yaml")["spec"] == yaml.safe_load(RULES.read_text())


def test_the_service_monitor_reads_metrics_with_a_token_from_a_secret_and_says_the_cluster():
    (endpoint,) = manifest("servicemonitor.yaml")["spec"]["endpoints"]
    assert endpoint["path"] == "/metrics"
    assert endpoint["authorization"] == {"type": "Bearer", "credentials": {"name": "inference-gateway-metrics", "key": "token"}}
    assert [one["targetLabel"] for one in endpoint["relabelings"]] == ["cluster"]

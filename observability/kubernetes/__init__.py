"""Kubernetes manifests that carry what is written elsewhere: the dashboards as ConfigMaps, alerts.yaml as a PrometheusRule.

The rule: the text is carried as it is, comments too, so that what a cluster has can be compared with the file it came from.
"""

from collections.abc import Mapping
from pathlib import Path
from textwrap import indent
from typing import Final

OBSERVABILITY: Final = Path(__file__).resolve().parent.parent
NAMESPACE: Final = "monitoring"
MADE: Final = "# Made by `make dashboards`; edits here are lost.\n"

# ConfigMap → its files. Not all in one: `kubectl apply` keeps a copy in an annotation, and annotations have 256 KiB at most.
CONFIG_MAPS: Final[Mapping[str, tuple[str, ...]]] = {
    "inference-gateway-dashboard": ("inference-gateway.json",),
    "grafana-dashboards": ("llm-gateway-overview.json", "llm-gateway-providers.json"),
    "aigateway-dashboard": ("aigateway.json",),
    "models-monitoring-dashboard": ("models-monitoring.json",),
    "appliance-dashboard": ("appliance.json",),
}


def manifests(observability: Path = OBSERVABILITY) -> dict[str, str]:
    """File name → YAML of every manifest that is made, from the dashboards and rules in that folder."""
    dashboards = observability / "grafana" / "dashboards"
    made = {
        f"{name}.yaml": _config_map(name, {file: (dashboards / file).read_text() for file in files}) for name, files in CONFIG_MAPS.items()
    }
    return {**made, "prometheusrule.yaml": _prometheus_rule((observability / "alerts.yaml").read_text())}


def _config_map(name: str, files: Mapping[str, str]) -> str:
    # `grafana_dashboard` is what the sidecar of Grafana's Helm chart looks for, and the annotation its folder.
    head = _head("v1", "ConfigMap", name, '  labels:\n    grafana_dashboard: "1"\n  annotations:\n    grafana_folder: LLM Gateway\n')
    return head + "data:\n" + "".join(f"  {file}: |\n{indent(text, '    ')}" for file, text in files.items())


def _prometheus_rule(rules: str) -> str:
    return _head("monitoring.coreos.com/v1", "PrometheusRule", "inference-gateway-alerts", "") + "spec:\n" + indent(rules, "  ")


def _head(version: str, kind: str, name: str, more: str) -> str:
    return f"{MADE}apiVersion: {version}\nkind: {kind}\nmetadata:\n  name: {name}\n  namespace: {NAMESPACE}\n{more}"

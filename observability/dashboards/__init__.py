"""The Grafana dashboards, as code: `make dashboards` writes observability/grafana/dashboards/ from here, and a test holds both equal.

A dashboard is one module with one `BOARD`; adding one is writing it and naming it here.
"""

import json
from typing import Final

from observability.dashboards import aigateway, appliance, inference_gateway, llm_gateway_overview, llm_gateway_providers, models_monitoring
from observability.dashboards.board import Board, board_json

BOARDS: Final[tuple[Board, ...]] = (
    inference_gateway.BOARD,
    llm_gateway_overview.BOARD,
    llm_gateway_providers.BOARD,
    aigateway.BOARD,
    models_monitoring.BOARD,
    appliance.BOARD,
)

# Grafana serves its own public/ folder under this path, and the stack puts the runbooks there: a link that works with no other server.
RUNBOOKS: Final = "/public/runbooks"


def files(runbooks: str = RUNBOOKS) -> dict[str, str]:
    """File name → its whole text. runbooks: what a panel's runbook link begins with, such as where the repository can be browsed."""
    return {f"{board.uid}.json": json.dumps(board_json(board, runbooks), indent=2, ensure_ascii=False) + "\n" for board in BOARDS}

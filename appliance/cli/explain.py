"""`appliance explain`."""

import json
from typing import Any

import click

from appliance.cli.ask import admin_option, ask, quoted
from appliance.cli.source import config_option


@click.command("explain")
@click.argument("request_id")
@config_option
@admin_option
@click.option("--json", "as_json", is_flag=True, help="The record itself.")
def command(request_id: str, path: str | None, admin: str | None, as_json: bool) -> None:
    """Why a recent request went where it went: its attempts, faults, waits and times. REQUEST_ID is the answer's X-Request-Id."""
    record = ask(admin, path, f"/admin/requests/{quoted(request_id)}")
    click.echo(json.dumps(record, indent=2) if as_json else story(record))


def story(record: dict[str, Any]) -> str:
    """The record in words, one line a step."""
    usage = record["usage"]
    lines = [
        f"request   {record['request_id']}  (id {record['id']})",
        f"caller    tenant {record['tenant']}, key {record['key']}",
        f"asked     {record['requested_model'] or '-'}{' (streamed)' if record['stream'] else ''}",
        f"route     {record['route']}",
    ]
    for number, one in enumerate(record["attempts"], 1):
        fault = f": {one['error_type']}, {one['detail']}" if one["error_type"] else ""
        waited = f", waited {one['waited_ms']:g} ms for a slot" if one["waited_ms"] >= 1 else ""
        lines.append(
            f"attempt {number} {one['backend']} ({one['model']}) at +{one['started_ms']:g} ms for {one['duration_ms']:g} ms"
            f" → {one['outcome']} {one['status'] or ''}{fault}{waited}"
        )
    if not record["attempts"]:
        lines.append("attempts  none: it was answered by the gateway itself")
    error = f" {record['error_type']}: {record['error']}" if record["error_type"] else ""
    lines.append(f"answer    {record['status']}{error}")
    if usage:
        lines.append(f"tokens    {usage['input_tokens']} in, {usage['output_tokens']} out ({usage['source']})")
    if record["dropped_fields"]:
        lines.append(f"dropped   {', '.join(record['dropped_fields'])}")
    first = f", first token after {record['ttft_ms']:g} ms" if record["ttft_ms"] else ""
    lines.append(f"time      {record['duration_ms']:g} ms, of which the gateway's own {record['overhead_ms']:g} ms{first}")
    return "\n".join(lines)

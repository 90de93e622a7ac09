"""A request's record in words, in the order of time, for somebody who was woken up by it.

The rule: it reads what /admin/requests/{id} gives and nothing else, also what an earlier version of the gateway kept; a text that a caller
or a backend chose cannot move the terminal's cursor.
"""

from collections.abc import Iterator
from datetime import UTC, datetime
from textwrap import wrap
from typing import Any

from appliance.store.usage import plain_usd
from appliance.telemetry.access import printable

DETAIL_MAX_CHARS = 300
WORDS_MIN_CHARS = 40
"""Of a line on a terminal that is too narrow for anything."""

_MATCHED = {
    "prefix": "no route: the name says which backend (backend/model)",
    "vendor": "no route: this backend's vendor is the only one that has a model of that name",
    "pin": "no route: X-Provider names the backend",
}
_PRICES = {
    "own": "by your [prices]", "table": "by the price table", "estimate": "guessed: the model has no price",
    "zero": "the model has no price",
}  # fmt: skip
_SOURCES = {
    "provider": "as the provider counts", "drained": "as the provider counts, read after the caller left", "estimated": "estimated here",
}  # fmt: skip

Line = tuple[str, str]
"""A title, empty where the line belongs to the one above, and what is said."""


def story(record: dict[str, Any], columns: int = 0) -> str:
    """The whole of it. columns: where lines end on a terminal; 0 for lines of any length."""
    lines = [*_who(record), *_route(record), ("", ""), *_events(record), ("", ""), *_result(record)]
    width = max(len(title) for title, _ in lines)
    told = []
    for title, words in lines:
        plain = printable(words)
        parts = wrap(plain, max(columns - width - 2, WORDS_MIN_CHARS)) if columns and plain else [plain]
        told += [f"{title:<{width}}  {parts[0]}".rstrip(), *(f"{'':<{width}}  {part}" for part in parts[1:])]
    return "\n".join(told)


def _who(record: dict[str, Any]) -> Iterator[Line]:
    own, given = record["id"], record["request_id"]
    yield "request", own if own == given else f"{given}  (id {own})"
    if record.get("time"):
        yield "time", f"{datetime.fromtimestamp(record['time'], UTC).isoformat(sep=' ', timespec='milliseconds')[:-6]} UTC"
    if record.get("kept_in") == "ledger":
        yield "known", "only what the ledger has: the whole record was not kept (store.explain keeps a sample, and what went wrong)"
    elif record.get("kept_in") == "store":
        yield "known", "from the store"
    yield "caller", f"tenant {record['tenant']}, key {record['key']}"
    if record.get("trace_id"):
        yield "trace", record["trace_id"]
    streamed = ", streamed" if record["stream"] else ""
    asked = record["requested_model"] or ("a model" if record.get("kept_in") == "ledger" else "no model")
    yield "asked for", f"{asked} ({record.get('operation', 'chat')}, {record['dialect']}{streamed})"


def _route(record: dict[str, Any]) -> Iterator[Line]:
    """Where it could go, and why there."""
    plan = record.get("plan")
    if plan is None:
        yield "route", record["route"] if record["route"] != "none" else "none: it was refused before it was routed"
        return
    asked, meant = record["requested_model"], plan["asked_for"]
    alias = asked != meant and not (plan["matched"] == "prefix" and asked.endswith(f"/{meant}"))
    words = _MATCHED.get(plan["matched"]) or f"{record['route']}: the first whose models ({plan['pattern']}) and conditions fit"
    yield "route", f"{words}; the alias stands for {meant}" if alias else words
    for name, value in plan["conditions"].items():
        yield "", f"condition {name} = {_value(value)}"
    if plan.get("prompt_tokens"):
        yield "", f"the prompt was estimated at {plan['prompt_tokens']} tokens"
    for words in plan["narrowed"]:
        yield "", words
    if record["experiment"]:
        yield "experiment", f"{record['experiment']}: {record['variant']}"
    if plan["strategy"]:
        yield "strategy", plan["strategy"]
    if plan["seen"]:
        figures = ", ".join(f"{one['backend']} {_number(one['value'])}" for one in plan["seen"]["figures"])
        yield "", f"{plan['seen']['what']}: {figures}"
    for number, one in enumerate(plan["candidates"], 1):
        role = "fallback" if one["role"] == "fallback" else f"weight {one['weight']}"
        yield "" if number > 1 else "order", f"{number} {one['backend']} ({one['model']}), {role}"
    for one in plan["passed_over"]:
        yield "passed over", f"{one['backend']}: {one['why']}"


def _events(record: dict[str, Any]) -> Iterator[Line]:
    """What happened, with the milliseconds since the request was whole, where they are known."""
    found = [*_attempts(record), *_steps(record)]
    found.append((record["duration_ms"], 9, _end(record)))
    width = max(len(f"{at:.1f}") for at, _, _ in found) + 1
    for at, _, words in sorted(found, key=lambda one: one[:2]):
        yield f"{f'+{at:.1f}':>{width}} ms" if at >= 0 else "", words


def _attempts(record: dict[str, Any]) -> Iterator[tuple[float, int, str]]:
    """Each with its place among events of the same instant."""
    if not record["attempts"] and record["cache"] != "hit":
        yield 0.0, 0, "no backend was asked"
    running_until = -1.0
    for number, one in enumerate(record["attempts"], 1):
        if one["started_ms"] is None:
            yield -1.0, number, f"attempt {number} {one['backend']} ({one['model']}) {_outcome(one)}"
            continue
        name, begun, ended = f"attempt {number} {one['backend']}", one["started_ms"], one["started_ms"] + one["duration_ms"]
        beside = ", beside the one before (hedge)" if number > 1 and begun < running_until else ""
        trial = ", as a trial of its half-open breaker" if one.get("half_open") else ""
        key = f", with key {one['key']} of several" if one.get("key") else ""
        yield begun, 3, f"{name} ({one['model']}) asked{key}{beside}{trial}"
        running_until = max(running_until, ended)
        if one["waited_ms"] >= 1:
            yield begun + one["waited_ms"], 1, f"{name} waited {one['waited_ms']:g} ms for a slot (max_concurrency) or a connection"
        if one.get("first_token_ms") is not None and record["stream"]:
            yield begun + one["first_token_ms"], 1, f"{name} gave the first token"
        yield ended, 1, f"{name} {_outcome(one)}"


def _outcome(one: dict[str, Any]) -> str:
    status = f" {one['status']}" if one["status"] else ""
    if one["outcome"] == "success":
        finish = f", finish reason {one['finish_reason']}" if one.get("finish_reason") else ""
        return f"answered{status}{finish}"
    said = (one.get("detail") or "").removeprefix(f"status {one['status']}").removeprefix(", ").removeprefix(": ")
    detail = f": {_short(said)}" if said else ""
    if one["outcome"] == "cancelled":
        return f"was cancelled{status}{detail}" + (": another answered first" if one.get("lost") else "")
    return f"failed{status} {one['error_type']}{detail}"


def _steps(record: dict[str, Any]) -> Iterator[tuple[float, int, str]]:
    for step in (record.get("plan") or {}).get("steps", ()):
        if step["do"] == "pause":
            yield step["at_ms"], 2, f"pause of {step['pause_ms']:g} ms, then {step['backend']} again: {step['why']}"
        elif step["do"] == "try":
            yield step["at_ms"], 2, f"next is {step['backend']}: {step['why']}"
        else:
            yield step["at_ms"], 2, f"no further attempt: {step['why']}"


def _end(record: dict[str, Any]) -> str:
    if not record["error_type"]:
        return f"answered {record['status']}" + (" from the cache" if record["cache"] == "hit" else "")
    if record["status"] == 499:
        return "the caller had left (499)"
    said = f": {_short(record['error'])}" if record["error"] else ""
    return f"answered {record['status']} {record['error_type']}{said}"


def _result(record: dict[str, Any]) -> Iterator[Line]:
    """What it used, cost and took."""
    yield from _verdict(record.get("verdict"))
    usage = record["usage"]
    if usage:
        source = _SOURCES.get(usage["source"], usage["source"])
        cached = f", {usage['cached_input_tokens']} of them cached" if usage.get("cached_input_tokens") else ""
        yield "tokens", f"{usage['input_tokens']} in{cached}, {usage['output_tokens']} out ({source})"
    charged = [one for one in record["attempts"] if one.get("price")]
    known = charged or record["cost_usd"] or record.get("kept_in") == "ledger"
    yield "cost", usd(record["cost_usd"]) + ("" if known else " (nothing was billed)")
    for one in charged:
        yield "", f"{one['backend']}: {usd(one['cost_usd'])} {_PRICES.get(one['price'], one['price'])}{_rates(one.get('price_usd'))}"
    if record["dropped_fields"]:
        yield "dropped", f"{', '.join(record['dropped_fields'])}  (the backend has nothing for them)"
    if record["cache"]:
        kept = (record.get("plan") or {}).get("cached")
        words = f": an answer of {kept['age_s']:g} s ago, which had cost {usd(kept['had_cost_usd'])}" if kept else ""
        yield "cache", record["cache"] + words
    if record.get("cache_waited_ms"):
        yield "waited", f"{record['cache_waited_ms']:g} ms of it for the answer to the same request, which another had asked"
    if record.get("lookup"):
        asked = record["lookup"]
        ended = f"{asked['outcome']} {asked['error_type']}".strip()
        yield "compared", f"by an embedding of {asked['backend']}: {ended} in {asked['duration_ms']:g} ms, {usd(asked['cost_usd'])}"
    first = f", first token after {record['ttft_ms']:g} ms" if record["ttft_ms"] is not None else ""
    own = f", of which the gateway's own {record['overhead_ms']:g} ms" if record["overhead_ms"] is not None else ""
    yield "took", f"{record['duration_ms']:g} ms{own}{first}"
    others = record.get("others") or []
    if others:
        yield "others", f"{len(others)} more carry this X-Request-Id; `appliance explain` with their own id:"
    for one in others:
        at = datetime.fromtimestamp(one["time"], UTC).isoformat(sep=" ", timespec="seconds")[:-6]
        yield "", f"{one['id']}  {at}  {one['status']}  {one['model']}"


def _verdict(verdict: dict[str, Any] | None) -> Iterator[Line]:
    """What limits and budgets said."""
    if verdict is None:
        return
    if verdict.get("limit_type") == "budget":
        figures = f"{usd(verdict['spent_usd'])} spent, {usd(verdict['reserved_usd'])} reserved, {usd(verdict['needed_usd'])} needed"
        yield "budget", f"{verdict['scope']} has {usd(verdict['budget_usd'])}: {figures}"
    elif verdict.get("limit_type"):
        needed = f", {verdict['needed_tokens']} needed" if verdict.get("needed_tokens") else ""
        again = f"; free again in {verdict['retry_after_s']} s" if verdict.get("retry_after_s") else "; it can never pass"
        yield "limit", f"{verdict['scope']} {verdict['holder']} has {verdict['limit']} {verdict['per']}{needed}{again}"
    else:
        yield "budget", f"{usd(verdict['reserved_usd'])} were reserved: {verdict['input_tokens']} tokens in, {verdict['output_tokens']} out"


def _rates(rates: dict[str, str] | None) -> str:
    """`: input 0.15, output 0.6 USD per million tokens`; what counts apiece says so by its name."""
    return f": {', '.join(f'{kind} {value}' for kind, value in rates.items())} USD per million tokens" if rates else ""


def usd(amount: float) -> str:
    """`$0.00012345`: exact to nano-USD, without an exponent."""
    return f"${plain_usd(amount)}"


def _number(value: object) -> str:
    return f"{value:g}" if isinstance(value, int | float) else "unknown" if value is None else str(value)


def _value(value: object) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name}: {inner}" for name, inner in value.items())
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def _short(text: str) -> str:
    return text if len(text) <= DETAIL_MAX_CHARS else text[: DETAIL_MAX_CHARS - 1] + "…"

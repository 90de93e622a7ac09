"""However many small things a request is made of, each costs the same: a long one must not stop the other callers."""

import time
from collections.abc import Callable
from typing import Any

from appliance.core.message import Message, Text
from appliance.dialects.chat import CHAT
from appliance.dialects.chat_order import one_turn_each

FEW, MANY = 1_000, 40_000
SLOWER_MAX = 160
"""What grows evenly takes 40 times as long for MANY as for FEW; what grew with the square took 600 times."""


def _seconds(work: Callable[[], object]) -> float:
    """The least of three: what else the machine does only adds to it."""
    taken = []
    for _ in range(3):
        begun = time.process_time()
        work()
        taken.append(time.process_time() - begun)
    return min(taken)


def _calls(many: int) -> dict[str, Any]:
    calls = [{"id": f"c{i}", "type": "function", "function": {"name": "f", "arguments": "{}"}} for i in range(many)]
    results = [{"role": "tool", "tool_call_id": f"c{i}", "content": "x"} for i in range(many)]
    return {"model": "m", "messages": [{"role": "user", "content": "x"}, {"role": "assistant", "tool_calls": calls}, *results]}


def test_a_result_among_many_costs_no_more_to_read() -> None:
    few, many = _calls(FEW), _calls(MANY)
    assert _seconds(lambda: CHAT.read_request(many)) < SLOWER_MAX * _seconds(lambda: CHAT.read_request(few))


def test_a_message_among_many_of_one_side_costs_no_more_to_put_together() -> None:
    few, many = ([(i, Message("user", (Text("x"),))) for i in range(size)] for size in (FEW, MANY))
    assert _seconds(lambda: one_turn_each(many)) < SLOWER_MAX * _seconds(lambda: one_turn_each(few))

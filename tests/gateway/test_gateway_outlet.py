"""The answer's way out: a keep-alive never comes after the last word, nor between two pieces."""

from appliance.core.record import RequestRecord
from appliance.gateway.call import Outlet


def outlet(sent: list[dict[str, object]]) -> Outlet:
    async def send(message: dict[str, object]) -> None:
        sent.append(message)

    return Outlet(send, RequestRecord("1", "1", 0.0, 0.0), 0.0)


async def test_no_keep_alive_once_the_last_word_is_being_said():
    sent: list[dict[str, object]] = []
    one = outlet(sent)
    one.closing = True
    await one.keep_alive(lambda: b": keep-alive\n\n", list)
    assert sent == []
    assert not one.started


async def test_a_keep_alive_starts_the_answer_once():
    sent: list[dict[str, object]] = []
    one = outlet(sent)
    await one.keep_alive(lambda: b": a\n\n", list)
    await one.keep_alive(lambda: b": b\n\n", list)
    assert [message["type"] for message in sent] == ["http.response.start", "http.response.body", "http.response.body"]
    await one.write(b"data: x\n\n", more=False)
    await one.keep_alive(lambda: b": c\n\n", list)
    assert len(sent) == 4

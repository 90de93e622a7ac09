"""Carries out a planned answer: waits until each piece is due, sends it, and ends as planned.

The rule: pieces are due at absolute times, so a late piece never makes the next one later and the pace does not drift. It needs our own
HTTP engine, whose `abort` is how connections are cut and reset.
"""

from collections.abc import Callable

import trio

from appliance.http1.asgi import Send
from appliance.http1.turn import Turn
from appliance.simulator.answer import Answer, Ending
from appliance.simulator.settings import Settings

# The reader shall see the pieces before the reset: a receiver may drop what it has not read yet when RST arrives.
RESET_GRACE_S = 0.03

Sent = Callable[[int, int, int], None]


async def play(answer: Answer, send: Send, turn: Turn, settings: Settings, sent: Sent) -> None:
    """`sent(bytes, prompt tokens, completion tokens)` hears of the head and of each piece once it is out. Raises what `send` raises."""
    start = trio.current_time() + answer.delay_s
    await trio.sleep_until(start)
    if answer.head:
        await send({"type": "http.response.start", "status": answer.status, "headers": answer.headers})
        if answer.head_s is not None:
            await trio.sleep_until(start + answer.head_s)
            await send({"type": "http.response.body", "body": b"", "more_body": True})
        await play_pieces(answer, send, start, settings, sent)
    await finish(answer, send, turn, settings)


async def play_pieces(answer: Answer, send: Send, start: float, settings: Settings, sent: Sent) -> None:
    billed = answer.prompt_tokens
    endless = all(name != b"content-length" for name, _ in answer.headers)  # perhaps; what was announced comes whole, however late
    for number, piece in enumerate(answer.pieces):
        if endless and (number >= settings.stream_events_max or piece.due_s > settings.stream_max_s):
            return
        await trio.sleep_until(start + piece.due_s)
        await send({"type": "http.response.body", "body": piece.data, "more_body": True})
        sent(len(piece.data), billed, piece.tokens)
        billed = 0


async def finish(answer: Answer, send: Send, turn: Turn, settings: Settings) -> None:
    if answer.head and answer.ending not in (Ending.COMPLETE, Ending.DROP):
        await send({"type": "http.response.body", "body": b"", "more_body": True})  # the head goes out even if no piece did
    match answer.ending:
        case Ending.COMPLETE | Ending.DROP:
            await send({"type": "http.response.body", "body": b"", "more_body": False})
            if answer.ending is Ending.DROP:
                await trio.sleep(answer.drop_s)
                turn.abort(reset=False)
        case Ending.CUT:
            turn.abort(reset=False)
        case Ending.RESET:
            await trio.sleep(RESET_GRACE_S)
            turn.abort(reset=True)
        case Ending.HANG:
            await trio.sleep(settings.hang_max_s)
            turn.abort(reset=True)

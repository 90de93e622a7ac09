"""The wire languages that the simulator speaks. What an answer says is `chat_answer.py`'s, the same for all; here is only how it looks.

The rule: written from the vendors' documentation and SDK types, never by way of appliance.dialects, so that a mistake in a codec there is
not mirrored here.

To add a language:
1. `NAME_request.py` checks a request as strictly as the service and reads it into a `chat_request.ChatRequest`; `ApiError` otherwise.
2. `NAME_wire.py` shows the `ChatAnswer` of `answer_chat` as one document (`answer.whole`) and as a stream (`answer.streamed`) of `Piece`s:
   each is one event, made by a `framing.Framing`; `due_s` from the speed, `tokens` of its delta (so that they sum to the completion), and
   `end=True` on what tells a client that the stream is whole.
3. `NAME.py` has one frozen class that fulfils `language.Language`: envelope, usual errors, key, headers, and what the faults change.
4. `NAME_endpoints.py` has `ENDPOINTS`, a tuple of `language.Endpoint`: method, path pattern (named group `model` with `model=in_path` where
   the path names it), language, and a function from `language.Call` to the planned answer; add it to `table.py`.
5. Tests: the official SDK as judge, whole and streamed, a tool loop, and the fault table (`tests/simulator/test_simulator_LANGUAGE.py`).
"""

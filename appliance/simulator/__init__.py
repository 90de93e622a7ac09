"""A provider that needs no key: paced streams, recorded answers, and faults on demand.

The rule: everything that decides what an answer says, when each piece of it is due and how it goes wrong is pure and deterministic (the
same request gets the same bytes, but for the responses that OpenAI's Responses keep); one player and one ASGI application do the waiting.
`languages/` has the wires. README.md beside this file is the user's manual.
"""

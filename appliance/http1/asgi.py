"""The shapes of ASGI 3 as types, so that the engine and the applications it runs name them alike.

https://asgi.readthedocs.io/en/stable/specs/www.html is the source; messages are plain dicts by that specification.
"""

from collections.abc import Awaitable, Callable
from typing import Any

Scope = dict[str, Any]
Message = dict[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

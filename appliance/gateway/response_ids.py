"""Who made which response, for requests that go on from one (`previous_response_id`): only the backend that keeps it can.

The rule: what one tenant was given is not told to another. Ids pass as their backends wrote them, so this process has to remember them: the
latest `server.responses_max`, and none after a restart.
"""

from collections import OrderedDict

import attrs

from appliance.core.fault import Fault, FaultKind

FIELD = "previous_response_id"

ID_MAX_CHARS = 512
"""Longer ids are not remembered. OpenAI's have 53 characters; gateways that encode where a response is write some 250."""


@attrs.define(eq=False)
class ResponseIds:
    """The latest responses that can be followed, by id.

    Attributes:
        most: how many are remembered; about 300 bytes each.
    """

    most: int
    _made: OrderedDict[str, tuple[str, str]] = attrs.field(factory=OrderedDict, repr=False)

    def note(self, identity: str, tenant: str, backend: str) -> None:
        """`backend` gave `tenant` this response."""
        if not 0 < len(identity) <= ID_MAX_CHARS:
            return
        self._made[identity] = tenant, backend
        self._made.move_to_end(identity)
        self._shrink()

    def maker(self, identity: str, tenant: str) -> str | Fault | None:
        """The backend that made it, None where that is not known; a fault for what another tenant was given, which is told like an id that
        no backend knows.
        """
        made = self._made.get(identity)
        if made is None:
            return None
        if made[0] != tenant:
            shown = repr(identity[:80])
            return Fault(FaultKind.BAD_REQUEST, f"Previous response with id {shown} not found.", FIELD, "previous_response_not_found")
        self._made.move_to_end(identity)
        return made[1]

    def bound(self, most: int) -> None:
        """A new bound, after a reload."""
        self.most = most
        self._shrink()

    def _shrink(self) -> None:
        while len(self._made) > self.most:
            self._made.popitem(last=False)

"""What a request's headers alone say about the one who sent it.

The rule: nothing here depends on the body or its length, so that on one connection a repeat of the same head (http1/head_memory.py) shares
it. What depends on the configuration, too, holds for the very plan it was found in; whether a key has expired is asked each time.
"""

from collections.abc import Callable, Iterable

import attrs

from appliance.core.fault import Fault
from appliance.core.trace_context import Trace, read_trace
from appliance.core.user_name import user_of_header
from appliance.dialects.language import Language
from appliance.gateway.admission import given_request_id, look_up, unexpired
from appliance.gateway.plan import KeyPlan, Plan, Resolved
from appliance.http1.asgi import Scope
from appliance.http1.turn import Turn
from appliance.server.body import wrong_type
from appliance.server.paths import operation_of
from appliance.server.reply import HeaderList, header_map

NO = (b"", b"false", b"0", b"no")
"""Values of a header that asks for nothing; whoever writes anything else gets a fresh answer."""

REMEMBERED_AS = "caller"


@attrs.define(eq=False)
class Caller:
    """The one who sent a head.

    Attributes:
        request_id: theirs, where they gave one that can be shown; else empty.
        unsuitable: why no body of such a type is taken, None when it is.
        pin: the X-Provider header. skip_cache: X-Skip-Cache says so. user: X-User-ID, empty without one.
        trace: the one that they are in, None without a valid traceparent.
        asks: for which operation, in which language; None where the path has none.
    """

    request_id: str
    unsuitable: Fault | None
    pin: bytes
    skip_cache: bool
    user: str
    _headers: dict[bytes, bytes] = attrs.field(repr=False)
    _length_place: int | None
    trace: Trace | None = None
    asks: tuple[str, Language] | None = None
    _plan: Plan | None = attrs.field(default=None, repr=False)
    _anonymous: bool = False
    _expires: bool = False
    _key: KeyPlan | Fault | None = attrs.field(default=None, repr=False)
    _forwarder: Callable[[Iterable[tuple[bytes, bytes]]], bytes] | None = attrs.field(default=None, repr=False)
    _forwarded: bytes = attrs.field(default=b"", repr=False)
    _routed_model: str = ""
    _routed: Resolved | None = attrs.field(default=None, repr=False)

    def key(self, plan: Plan, query: bytes, wall_time: float, *, anonymous: bool) -> KeyPlan | Fault:
        """As `admission.authenticate`; looked up once for each plan."""
        key = self._key
        if key is None or plan is not self._plan or anonymous is not self._anonymous:
            key = self._key = look_up(plan, self._headers, query, anonymous=anonymous)
            self._plan, self._anonymous, self._routed = plan, anonymous, None
            self._expires = isinstance(key, KeyPlan) and key.expires_at is not None
        return unexpired(key, wall_time) if self._expires else key

    @property
    def known(self) -> KeyPlan | None:
        """The key that the last `key` gave; None where there was none, or none that is known."""
        return self._key if isinstance(self._key, KeyPlan) else None

    def forwarded(self, forwarder: Callable[[Iterable[tuple[bytes, bytes]]], bytes], headers: HeaderList) -> bytes:
        """The block of header lines that may go upstream; made once for each forwarder, and a new plan has a new one."""
        if forwarder is not self._forwarder:
            self._forwarded = forwarder(headers)
            self._forwarder = forwarder
        return self._forwarded

    def known_route(self, plan: Plan, key: KeyPlan, model: str) -> Resolved | None:
        """Where this caller's last request went, if it came with the same key for the same model under the same plan."""
        return self._routed if model == self._routed_model and plan is self._plan and key is self._key else None

    def keep_route(self, plan: Plan, key: KeyPlan, model: str, resolved: Resolved) -> None:
        """For `known_route`. Only of a plan whose routes look at nothing but the name of the model, the tenant and the path: a repeat of
        this head has the same path."""
        if plan is self._plan and key is self._key:
            self._routed_model, self._routed = model, resolved

    def announced_bytes(self, headers: HeaderList) -> int:
        """The Content-Length of this request; 0 without one, or where it is no number."""
        if self._length_place is None:
            return 0
        try:
            return int(headers[self._length_place][1])
        except ValueError:
            return 0


def caller_of(scope: Scope, engine: Turn | None) -> Caller:
    """Who sent this request; an engine that remembers heads gives the same one for each repeat."""
    remembered: dict[str, Caller] = {} if engine is None else engine.remembered
    caller = remembered.get(REMEMBERED_AS)
    if caller is None:
        caller = remembered[REMEMBERED_AS] = read_caller(scope)
        caller.asks = operation_of(scope)
    return caller


def read_caller(scope: Scope) -> Caller:
    headers = header_map(scope)
    place = next((place for place, (name, _) in enumerate(scope["headers"]) if name == b"content-length"), None)
    return Caller(
        given_request_id(headers.get(b"x-request-id")),
        wrong_type(headers),
        headers.get(b"x-provider", b""),
        headers.get(b"x-skip-cache", b"").strip().lower() not in NO,
        user_of_header(headers.get(b"x-user-id", b"")),
        headers,
        place,
        read_trace(scope["headers"]) if b"traceparent" in headers else None,
    )

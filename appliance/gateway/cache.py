"""Answers kept to be given again: the protocol, and the embedded engine, which keeps them in this process's memory.

The rule: a tenant's answers lie on a shelf of its own, so that no key, however it was made, leads to another tenant's. All shelves together
have one bound in bytes; what has not been used for longest goes first, whosever it is.
"""

from array import array
from collections import OrderedDict
from collections.abc import Collection, Mapping
from typing import Protocol

import attrs

from appliance.gateway.nearness import Question, nearest

RECORDING_SHARE = 4
"""One part in so many of the bound is for answers that are being recorded; the rest for those that are kept."""

ENTRY_OVERHEAD_BYTES = 1_600
"""Of an entry beside its body and vector: objects, keys and places in tables. Measured: 550, with a question in a frame of its own 1,200,
and all of this for the only entry of its tenant 1,570.
"""

VECTOR_ITEM_BYTES = 8


@attrs.frozen(eq=False)
class Entry:
    """An answer as it was sent.

    Attributes:
        body: of a stream its events, from the first to the last. content_type: empty where it had none.
        model: as served, bare. dropped: the header that lists what the backend could not be told, empty without one.
        made_at, expires_at: monotonic seconds. cost_nusd: what it cost.
        question: what it answers in meaning; None where only the same request may have it.
    """

    body: bytes = attrs.field(repr=False)
    content_type: bytes
    stream: bool
    model: str
    made_at: float
    expires_at: float
    dropped: bytes = b""
    cost_nusd: int = 0
    question: Question | None = None

    @property
    def size_bytes(self) -> int:
        vector = 0 if self.question is None else len(self.question.vector) * VECTOR_ITEM_BYTES
        return len(self.body) + vector + ENTRY_OVERHEAD_BYTES


@attrs.frozen
class CacheStatus:
    """entries, size_bytes: kept now, expired ones included until they are met; evictions: entries that gave way to newer ones."""

    entries: int = 0
    size_bytes: int = 0
    evictions: int = 0
    expired: int = 0
    flushed: int = 0


class ResponseCache(Protocol):
    """Who keeps answers. `now` is monotonic seconds."""

    async def get(self, tenant: str, key: bytes, now: float) -> Entry | None:
        """The answer of this tenant under this key, unless its time is over."""
        ...

    async def near(self, tenant: str, frame: bytes, vector: "array[float]", threshold: float, now: float) -> Entry | None:
        """The answer of this tenant whose question, in the same frame, is nearest in meaning; None where none is near enough."""
        ...

    async def put(self, tenant: str, key: bytes, entry: Entry) -> None:
        """Keep an answer; one under the same key gives way. Nothing is kept that has no room."""
        ...

    async def flush(self, tenant: str | None) -> int:
        """Forget what a tenant has, or all (None). How many entries that were."""
        ...

    def forget_tenants(self, known: Collection[str]) -> None:
        """Forget what tenants have that are none any more."""
        ...

    def fit(self, size_max_bytes: int, compared_max: int) -> None:
        """Other bounds hold from now on."""
        ...

    def status(self) -> CacheStatus: ...

    def by_tenant(self) -> Mapping[str, tuple[int, int]]:
        """Entries and bytes of each tenant that has any."""
        ...


@attrs.define(eq=False)
class _Kept:
    """One entry in its places."""

    tenant: str
    key: bytes
    entry: Entry


@attrs.define(eq=False)
class _Shelf:
    """One tenant's. frames: those entries that have a question, by what else their requests say; the oldest first."""

    entries: dict[bytes, _Kept] = attrs.field(factory=dict)
    frames: dict[bytes, dict[bytes, _Kept]] = attrs.field(factory=dict)
    size_bytes: int = 0


@attrs.define(eq=False)
class EmbeddedCache:
    """In memory, and gone with the process.

    Attributes:
        size_max_bytes: of all entries, recordings not among them. compared_max: entries of one frame.
        size_bytes: kept now.
    """

    size_max_bytes: int
    compared_max: int
    size_bytes: int = 0
    evictions: int = 0
    expired: int = 0
    flushed: int = 0
    _shelves: dict[str, _Shelf] = attrs.field(factory=dict, repr=False)
    _order: OrderedDict[_Kept, None] = attrs.field(factory=OrderedDict, repr=False)

    async def get(self, tenant: str, key: bytes, now: float) -> Entry | None:
        shelf = self._shelves.get(tenant)
        kept = None if shelf is None else shelf.entries.get(key)
        return None if kept is None else self._fresh(kept, now)

    async def near(self, tenant: str, frame: bytes, vector: "array[float]", threshold: float, now: float) -> Entry | None:
        shelf = self._shelves.get(tenant)
        group = None if shelf is None else shelf.frames.get(frame)
        if not group:
            return None
        kept = list(group.values())
        found = await nearest([one.entry.question for one in kept], vector, threshold)
        return None if found is None else self._fresh(kept[found], now)

    async def put(self, tenant: str, key: bytes, entry: Entry) -> None:
        shelf = self._shelves.get(tenant)
        before = None if shelf is None else shelf.entries.get(key)
        if before is not None:
            self._drop(before)
        if entry.size_bytes > self.size_max_bytes:
            return
        while self.size_bytes + entry.size_bytes > self.size_max_bytes:
            self._drop(next(iter(self._order)))
            self.evictions += 1
        shelf = self._shelves.setdefault(tenant, _Shelf())
        kept = shelf.entries[key] = _Kept(tenant, key, entry)
        self._order[kept] = None
        self.size_bytes += entry.size_bytes
        shelf.size_bytes += entry.size_bytes
        if entry.question is not None:
            group = shelf.frames.setdefault(entry.question.frame, {})
            group[key] = kept
            while len(group) > self.compared_max:
                self._drop(next(iter(group.values())))
                self.evictions += 1

    async def flush(self, tenant: str | None) -> int:
        gone = [kept for kept in self._order if tenant is None or kept.tenant == tenant]
        for kept in gone:
            self._drop(kept)
        self.flushed += len(gone)
        return len(gone)

    def forget_tenants(self, known: Collection[str]) -> None:
        for name in [name for name in self._shelves if name not in known]:
            for kept in list(self._shelves[name].entries.values()):
                self._drop(kept)
                self.flushed += 1

    def fit(self, size_max_bytes: int, compared_max: int) -> None:
        self.size_max_bytes, self.compared_max = size_max_bytes, compared_max
        while self.size_bytes > self.size_max_bytes:
            self._drop(next(iter(self._order)))
            self.evictions += 1

    def status(self) -> CacheStatus:
        return CacheStatus(len(self._order), self.size_bytes, self.evictions, self.expired, self.flushed)

    def by_tenant(self) -> dict[str, tuple[int, int]]:
        return {name: (len(shelf.entries), shelf.size_bytes) for name, shelf in self._shelves.items()}

    def _fresh(self, kept: _Kept, now: float) -> Entry | None:
        if kept not in self._order:  # it went while others were compared
            return None
        if now >= kept.entry.expires_at:
            self._drop(kept)
            self.expired += 1
            return None
        self._order.move_to_end(kept)
        return kept.entry

    def _drop(self, kept: _Kept) -> None:
        del self._order[kept]
        shelf, entry = self._shelves[kept.tenant], kept.entry
        del shelf.entries[kept.key]
        self.size_bytes -= entry.size_bytes
        shelf.size_bytes -= entry.size_bytes
        if entry.question is not None:
            group = shelf.frames[entry.question.frame]
            del group[kept.key]
            if not group:
                del shelf.frames[entry.question.frame]
        if not shelf.entries:
            del self._shelves[kept.tenant]

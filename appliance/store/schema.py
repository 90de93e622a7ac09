"""The tables, and how an older file becomes this version's.

The rule: a migration that was released is never changed; what is new is a further one. They only go forward, each in one transaction with
the version number, so that a file is never between two versions. A file of a later version is refused, not guessed at.

Money is whole nano-USD (1e-9 USD), `day` whole days since 1970-01-01 in UTC, other times whole seconds since the epoch unless they end in
another unit. Texts that repeat in every row are numbers of the dictionary `names`.
"""

import re
from typing import Final

APPLICATION_ID: Final = 0x41504C47
"""`APLG` in the file's head: what `file` and we know it by."""

_FIRST: Final = """
CREATE TABLE names (
    id INTEGER PRIMARY KEY,
    kind TEXT NOT NULL,
    text TEXT NOT NULL,
    UNIQUE (kind, text)
);
CREATE TABLE daily (
    day INTEGER NOT NULL,
    tenant INTEGER NOT NULL,
    key INTEGER NOT NULL,
    route INTEGER NOT NULL,
    backend INTEGER NOT NULL,
    model INTEGER NOT NULL,
    requests INTEGER NOT NULL,
    errors INTEGER NOT NULL,
    estimated_requests INTEGER NOT NULL,
    input_tokens INTEGER NOT NULL,
    output_tokens INTEGER NOT NULL,
    cached_input_tokens INTEGER NOT NULL,
    cache_write_tokens INTEGER NOT NULL,
    reasoning_tokens INTEGER NOT NULL,
    cost_nusd INTEGER NOT NULL,
    PRIMARY KEY (day, tenant, key, route, backend, model)
) WITHOUT ROWID;
CREATE TABLE spend (
    scope TEXT NOT NULL,
    period_start INTEGER NOT NULL,
    spent_nusd INTEGER NOT NULL,
    PRIMARY KEY (scope, period_start)
) WITHOUT ROWID;
CREATE TABLE budgets (
    scope TEXT PRIMARY KEY,
    period TEXT NOT NULL,
    timezone TEXT NOT NULL
) WITHOUT ROWID;
CREATE TABLE budget_warnings (
    scope TEXT NOT NULL,
    period_start INTEGER NOT NULL,
    percent INTEGER NOT NULL,
    ceiling_nusd INTEGER NOT NULL,
    spent_nusd INTEGER NOT NULL,
    at INTEGER NOT NULL,
    delivered_at INTEGER,
    PRIMARY KEY (scope, period_start, percent, ceiling_nusd)
) WITHOUT ROWID;
CREATE TABLE tenants (
    name TEXT PRIMARY KEY,
    settings TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL
) WITHOUT ROWID;
CREATE TABLE keys (
    id TEXT PRIMARY KEY,
    tenant TEXT NOT NULL,
    sha256 BLOB NOT NULL UNIQUE,
    prefix TEXT NOT NULL,
    settings TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    expires_at INTEGER,
    revoked_at INTEGER,
    last_used_at INTEGER,
    previous_sha256 BLOB UNIQUE,
    previous_prefix TEXT,
    previous_until INTEGER
) WITHOUT ROWID;
CREATE TABLE audit (
    id INTEGER PRIMARY KEY,
    at_ms INTEGER NOT NULL,
    actor TEXT NOT NULL,
    action TEXT NOT NULL,
    target TEXT NOT NULL,
    detail TEXT NOT NULL
);
"""

_EXPERIMENTS: Final = """
CREATE TABLE experiment_days (
    experiment TEXT NOT NULL,
    day INTEGER NOT NULL,
    variant TEXT NOT NULL,
    figures TEXT NOT NULL,
    PRIMARY KEY (experiment, day, variant)
) WITHOUT ROWID;
CREATE TABLE row_experiments (
    id INTEGER PRIMARY KEY,
    experiment TEXT NOT NULL,
    variant TEXT NOT NULL
);
"""
"""`figures` is JSON, see `core.outcome.Outcome.figures`; `row_experiments` has what its row in the tables of rows took part in: a column
there would be empty in nearly all of them."""

_EXPLANATIONS: Final = """
CREATE TABLE explanations (
    id INTEGER PRIMARY KEY,
    request_id TEXT,
    record BLOB NOT NULL
);
CREATE INDEX explanations_request_id ON explanations (request_id);
"""
"""`record` is a request's record as JSON, compressed by zlib; `id` and `request_id` are as in the tables of rows."""

MIGRATIONS: Final = (_FIRST, _EXPERIMENTS, _EXPLANATIONS)
VERSION: Final = len(MIGRATIONS)

ROWS_NAME: Final = re.compile(r"rows_(\d{4})_(\d{2})")

ROWS_COLUMNS: Final = (
    "id", "tenant", "key", "route", "backend", "model", "dialect", "operation", "stream", "status", "error_type", "usage_source",
    "input_tokens", "output_tokens", "cached_input_tokens", "cache_write_tokens", "reasoning_tokens", "input_audio_tokens",
    "output_audio_tokens", "search_units", "cost_nusd", "duration_ms", "ttft_ms", "shift_ms", "request_id", "user", "attempts",
)  # fmt: skip
"""Of every table of rows. `id` is microseconds since the epoch, made unique: rows lie in the order of their time, and a stretch of time is
a stretch of ids. `shift_ms` is what to add to it where the clock had been set back (NULL nearly always); `request_id` is NULL where it
is the id itself, in hex; `attempts` is JSON where there was more than one."""


def rows_table(year: int, month: int) -> str:
    """The name of the table that has the rows of a month (UTC)."""
    return f"rows_{year:04d}_{month:02d}"


def create_rows(table: str) -> str:
    """The statement that makes a table of rows where there is none."""
    texts = {"request_id", "user", "attempts"}
    columns = ", ".join(f"{name} TEXT" if name in texts else f"{name} INTEGER" for name in ROWS_COLUMNS[1:])
    return f"CREATE TABLE IF NOT EXISTS {table} (id INTEGER PRIMARY KEY, {columns})"

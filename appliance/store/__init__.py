"""Durable things: the usage ledger and its journal, what was spent, keys and tenants made at run time. SQLite, embedded.

Words used here:

    journal     append-only files beside the database: what a request reserved and what became of it, written without waiting
    row         one request that reached a backend, whole; a month's rows are a table of their own
    daily sums  rows added up by day, tenant, key, route, backend and model; they stay when the rows' retention is over
    spend       what each budget's running period has cost so far
"""

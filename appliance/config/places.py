"""Relative file names in the configuration, made absolute: they are relative to the config file's folder, wherever the process runs.

One rule: this is done once, here, so that every other package takes a path from the configuration as it is. The store's is freed of
symbolic links, too: what lies beside it (the lock, the journal) must be the same for everybody who means the same file.
"""

import os
from pathlib import Path
from types import MappingProxyType

import attrs

from appliance.config.doors import Listener
from appliance.config.schema import Config, Telemetry
from appliance.config.upstreams import Backend

AUTHORITIES = ("certifi", "system")
"""Values of `ca` that are no file names."""


def placed(config: Config, folder: Path) -> Config:
    return attrs.evolve(
        config,
        server=attrs.evolve(config.server, listen=tuple(_listener(listener, folder) for listener in config.server.listen)),
        store=attrs.evolve(config.store, path=_without_links(_file(config.store.path, folder))),
        telemetry=_telemetry(config.telemetry, folder),
        backends=MappingProxyType({name: _backend(backend, folder) for name, backend in config.backends.items()}),
    )


def _listener(listener: Listener, folder: Path) -> Listener:
    return attrs.evolve(listener, tls_cert=_file(listener.tls_cert, folder), tls_key=_file(listener.tls_key, folder))


def _telemetry(telemetry: Telemetry, folder: Path) -> Telemetry:
    traces = telemetry.traces
    if traces is None or traces.ca in AUTHORITIES:
        return telemetry
    return attrs.evolve(telemetry, traces=attrs.evolve(traces, ca=_file(traces.ca, folder)))


def _backend(backend: Backend, folder: Path) -> Backend:
    return backend if backend.ca in AUTHORITIES else attrs.evolve(backend, ca=_file(backend.ca, folder))


def _file(name: str, folder: Path) -> str:
    return str(folder / name) if name else name


def _without_links(name: str) -> str:
    return os.path.realpath(name) if name else name

"""The wire languages: one file each, pure bytes in and out. A dialect imports core and orjson, never another dialect's internals."""

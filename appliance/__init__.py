"""A self-hosted LLM inference gateway: one file, one TOML, one systemd unit."""

__version__ = "0.1.0"

"""TOML to frozen attrs objects, or every problem at once."""

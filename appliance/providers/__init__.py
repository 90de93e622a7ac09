"""The vendors: one frozen row each; a file of its own only where a row is not enough."""

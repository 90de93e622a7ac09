"""The proxy: admission, plan, attempts, pump; live state; health checkers."""

"""The law: pure values and decisions. No trio, clock, random, os, socket, logging and no `async def` in this package."""

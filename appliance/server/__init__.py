"""The doors: the ASGI applications, their routes, and what listens."""

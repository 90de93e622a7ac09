"""The wire: our own HTTP/1.1 on trio and llhttp, in both directions.

The server engine runs an ASGI 3 application over client connections; the client transport reaches upstream servers. The one rule of this
package: it knows HTTP/1.1 (RFC 9110, RFC 9112) and sockets, and nothing of language models, tenants or configuration.
"""

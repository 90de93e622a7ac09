"""The HTTP server below the doubles that answer from threads."""

from http.server import ThreadingHTTPServer


class ThreadedServer(ThreadingHTTPServer):
    """Its threads keep no test from ending, and it lets in as many callers at once as come: of the library's own queue of five, a sixth
    that meets a busy machine waits a second until it knocks again."""

    daemon_threads = True
    request_queue_size = 128

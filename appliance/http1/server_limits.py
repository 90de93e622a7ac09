"""Every bound of the server engine, by name, with its default and the reason for it. Nothing in the engine grows without one of these."""

import attrs


@attrs.frozen
class ServerLimits:
    """What one server accepts and how long it waits.

    Attributes:
        head_max_bytes: request line and headers together; past it 431. 64 KiB holds the longest bearer tokens and trace headers seen in
            practice (nginx allows 4 × 8 KiB, Node 16 KiB).
        headers_max: header lines in one head; past it 431. Browsers send about 20, proxies in front add a dozen.
        target_max_bytes: the request target; past it 414.
        body_max_bytes: a request body after decoding; past it 413. 32 MiB holds a prompt with several inline images.
        header_read_s: from the first byte of a head (or from accepting the connection) to its end; past it 408.
        body_read_s: the longest silence inside a request body; past it 408.
        idle_s: how long a kept-alive connection may stay silent between requests. 75 s is above the 60 s that most balancers keep their
        side.
        write_stall_s: the longest time in which a reader acknowledges nothing of a waiting answer; past it the connection is reset.
        min_rate_bytes_s: the least average rate at which a body must arrive and a waiting answer must drain, over windows of rate_grace_s.
            512 bytes/s is a quarter of the slowest mobile link; one byte a second is not progress.
        rate_grace_s: the length of one window; also the grace, since nothing is judged before a window is full.
        connections_max: open client connections; one more is answered 503 and closed.
        refusing_max: how many connections above connections_max may be waiting for their 503 to be read; past it they are closed
        unanswered.
        requests_per_connection_max: after so many answers a connection closes, so that a balancer can spread long-lived clients again.
        recv_bytes: asked of the kernel at a time.
        discard_max_bytes: of a request body which the application did not read, at most this much is read and dropped to keep the
        connection.
        linger_max_bytes, linger_s: how much and how long is still read after the last answer of a connection, so that the client reads that
            answer and not a reset (RFC 9112 §9.6). Many clients send their whole body before they look for an answer, so the bound is
            a whole body; nginx waits 5 s between reads and 30 s in all.
        drain_fresh_s: during a drain, how long a connection that was accepted but has not asked anything yet may still do so.
        backlog: connections the kernel completes ahead of us (cut to net.core.somaxconn by the kernel).
        sweep_s: how often connections are compared with their time limits; every time limit is late by at most twice this.
    """

    head_max_bytes: int = 65_536
    headers_max: int = 200
    target_max_bytes: int = 16_384
    body_max_bytes: int = 33_554_432
    header_read_s: float = 15.0
    body_read_s: float = 30.0
    idle_s: float = 75.0
    write_stall_s: float = 30.0
    min_rate_bytes_s: int = 512
    rate_grace_s: float = 15.0
    connections_max: int = 4096
    refusing_max: int = 128
    requests_per_connection_max: int = 100_000
    recv_bytes: int = 65_536
    discard_max_bytes: int = 65_536
    linger_max_bytes: int = 33_554_432
    linger_s: float = 5.0
    drain_fresh_s: float = 0.5
    backlog: int = 4096
    sweep_s: float = 0.25

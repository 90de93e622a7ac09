"""When to try reading before waiting for a socket to become readable.

The rule: a try costs one turn of the other tasks and one system call (5 µs when it finds nothing), a wait costs trio's and epoll's
bookkeeping (12 µs). Under load the bytes are mostly there once everybody else had a turn; an idle client, a thinking model and a paced
stream are never that quick. So each connection keeps a score for the first
read of a message: from zero on it tries, below zero it waits and counts up by one. What is
tried yields first and reads then, so a cancellation finds no byte taken.
"""

# So few misses in a row end the trying, however long it went well.
SCORE_MAX = 8
MISS_COST = 4
# After that every sixteenth read is tried, which costs the others 0.3 µs each.
SCORE_AFTER_LOSS = -15


def after_miss(score: int) -> int:
    """The score after a try that found nothing."""
    return score - MISS_COST if score > MISS_COST else SCORE_AFTER_LOSS

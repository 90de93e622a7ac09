"""One watched run for all tests of a file: it takes half a minute."""

from collections.abc import Iterator

import pytest
from alert_rules import tool
from watched_run import Watched, watched


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watched]:
    tool("prometheus")
    with watched(tmp_path_factory.mktemp("watched")) as one:
        yield one

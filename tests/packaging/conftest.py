"""One build for all tests of a run, whichever workers they are on."""

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from zipapp_rig import ROOT, as_version, build, checkout, once, run, said


def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    base = tmp_path_factory.getbasetemp()
    return base.parent if base.name.startswith("popen-") else base


@pytest.fixture(scope="session")
def dist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return once(shared(tmp_path_factory) / "zipapp", lambda folder: build(ROOT, folder))


@pytest.fixture(scope="session")
def pyz(dist: Path) -> Path:
    return dist / "appliance.pyz"


@pytest.fixture(scope="session")
def elsewhere(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Another checkout of the same tree."""
    return once(shared(tmp_path_factory) / "elsewhere" / "and" / "deeper", checkout)


@pytest.fixture(scope="session")
def other_version(tmp_path_factory: pytest.TempPathFactory, pyz: Path) -> Path:
    """The same program as 99.0.0."""
    return once(shared(tmp_path_factory) / "other.pyz", lambda made: as_version(pyz, "99.0.0", made))


@pytest.fixture(scope="session")
def unpacked(tmp_path_factory: pytest.TempPathFactory, pyz: Path) -> Path:
    """A root that the build was unpacked to, for tests that are not about that."""
    return once(shared(tmp_path_factory) / "unpacked", lambda root: said(run(pyz, "--version", APPLIANCE_ROOT=str(root))))


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """One that other users may pass through, which pytest's own are not."""
    folder = Path(tempfile.mkdtemp(prefix="zipapp-test-"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder, ignore_errors=True)

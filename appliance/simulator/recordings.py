"""Recorded traffic of real providers, served as it was recorded.

The rule: a name is two plain path parts and the file must really lie inside the folder, so no name reaches anything else.

`rec/PROVIDER/NAME` is `PROVIDER/NAME.json` (a whole body), `PROVIDER/NAME.chunks.txt` (one event's JSON a line) or `PROVIDER/NAME.sse` (the
stream as it was), in the folder's `wire/` or, without one, in the folder itself.
"""

import re
from collections.abc import Iterator
from pathlib import Path

import attrs
import trio

from appliance.simulator.api_error import ApiError, unknown_model

PREFIX = "rec/"
NAME = re.compile(r"rec/([A-Za-z0-9][A-Za-z0-9_-]*)/([A-Za-z0-9][A-Za-z0-9_.-]*)")
WHOLE, CHUNKS, STREAM = ".json", ".chunks.txt", ".sse"
LISTED_MAX = 10_000


@attrs.frozen
class Recording:
    """One recorded answer: a whole body, the JSON of each event, or a stream's bytes."""

    whole: bytes | None = attrs.field(default=None, repr=False)
    events: tuple[bytes, ...] | None = attrs.field(default=None, repr=False)
    stream: bytes | None = attrs.field(default=None, repr=False)


@attrs.frozen
class Recordings:
    """One folder. `files` says which suffixes each model name has; read once, when the simulator starts."""

    root: Path
    files: dict[str, tuple[str, ...]]
    recording_max_bytes: int

    async def read(self, model: str, *, stream: bool) -> Recording | ApiError:
        """A stream where one is asked for. 404 for what there is not in that form."""
        suffixes = self.files.get(model, ())
        wanted = (CHUNKS, STREAM) if stream else (WHOLE,)
        suffix = next((s for s in wanted if s in suffixes), None)
        if suffix is None:
            return self._absent(model, suffixes, stream)
        path = trio.Path(self.root / (model.removeprefix(PREFIX) + suffix))
        if (await path.stat()).st_size > self.recording_max_bytes:
            return ApiError(404, f"The recording of `{model}` is larger than {self.recording_max_bytes} bytes.", code="model_not_found")
        data = await path.read_bytes()
        if suffix == WHOLE:
            return Recording(whole=data)
        if suffix == STREAM:
            return Recording(stream=data)
        return Recording(events=tuple(line for line in data.splitlines() if line.strip()))

    @staticmethod
    def _absent(model: str, suffixes: tuple[str, ...], stream: bool) -> ApiError:
        if not suffixes:
            return unknown_model(model)
        form, other = ("streamed", "whole") if stream else ("whole", "streamed")
        return ApiError(404, f"There is no {form} recording of `{model}`, only a {other} one.", code="model_not_found")


def open_recordings(folder: Path, recording_max_bytes: int) -> Recordings:
    """Raises OSError when the folder cannot be read."""
    root = folder / "wire" if (folder / "wire").is_dir() else folder
    files: dict[str, tuple[str, ...]] = {}
    for model, suffix in found(root.resolve(strict=True)):
        if len(files) < LISTED_MAX or model in files:
            files[model] = (*files.get(model, ()), suffix)
    return Recordings(root.resolve(), files, recording_max_bytes)


def found(root: Path) -> Iterator[tuple[str, str]]:
    """(model, suffix) of every recording whose name is plain and whose file lies inside the folder, in order."""
    for provider in sorted(p for p in root.iterdir() if p.is_dir()):
        for path in sorted(provider.iterdir()):
            suffix = next((s for s in (CHUNKS, WHOLE, STREAM) if path.name.endswith(s)), None)
            if suffix is None or not path.is_file() or not path.resolve().is_relative_to(root):
                continue
            model = f"{PREFIX}{provider.name}/{path.name.removesuffix(suffix)}"
            if NAME.fullmatch(model):
                yield model, suffix

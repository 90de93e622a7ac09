"""Every recording of a real provider, served upstream and asked for in every language that the gateway accepts, tells its caller what it
says: text, tool calls, reasoning, the reason to end and usage. `make matrix` prints the table.

What a recording says and what a caller was told are read by the plain readers in tests/recorded, which know nothing of the product. A file
in the caller's own language must come through verbatim; a recorded error must be told in the caller's envelope.
"""

from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import attrs
import httpx
import pytest
from recorded.callers import CALLERS, Caller
from recorded.files import FAULTS, OTHER_OPERATIONS, READERS, WHY_NOT, WIRE, Fault, Recording, recordings
from recorded.said import Json
from rig import KEY, Gateway, Simulator, running

pytestmark = pytest.mark.skipif(not WIRE.is_dir(), reason=WHY_NOT)

BACKEND = """
[backends.{name}]
provider = "{provider}"
base_url = "{url}"
api_key = "test-key"
breaker = {{ consecutive_failures = 1000, min_requests = 10000 }}
{more}
[[routes]]
name = "{name}"
models = [{models}]
retry = {{ attempts = 1 }}
targets = [ {{ backend = "{name}" }} ]
"""
"""The breaker is kept from noticing that some recordings are of faults."""

VENDORS = {
    "anthropic": "anthropic", "gemini": "gemini", "cohere": "cohere", "bedrock": "bedrock", "responses": "openai", "chat": "custom",
}  # fmt: skip
FILES = recordings() if WIRE.is_dir() else []
AT_ONCE = 6
VERBATIM, TRANSLATED, TOLD, NONE = "=", "ok", "error", "-"
LEGEND = f"{VERBATIM} verbatim, {TRANSLATED} translated and equal, {TOLD} told in the caller's envelope, {NONE} does not apply"


def config(url: str) -> str:
    out = ""
    for family, provider in VENDORS.items():
        out += BACKEND.format(
            name=family, provider=provider, url=url + "/v1" if family in ("chat", "responses") else url,
            more='dialect = "openai_responses"' if family == "responses" else "",
            models=", ".join(f'"{model_of(one)}"' for one in FILES if one.backend == family),
        )  # fmt: skip
    return out


def model_of(recording: Recording) -> str:
    return f"rec/{recording.name}@ttft=0s,tps=0"


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    folder = tmp_path_factory.mktemp("matrix")
    sim = Simulator(folder, extra=("--recordings", str(WIRE.parent)))
    with running(sim):
        one = Gateway(folder, config(sim.url))
        with running(one):
            yield one


@attrs.frozen
class Cell:
    """mark: one of the four. wrong: what was told otherwise than it should be."""

    mark: str
    wrong: str = ""


def cell(client: httpx.Client, recording: Recording, caller: Caller) -> Cell:
    if recording.family not in READERS or (caller.name == "array" and not recording.streamed):
        return Cell(NONE)
    model, stream = model_of(recording), recording.streamed
    answer = client.post(caller.path(model, stream), json=caller.body(model, stream))
    try:
        if recording.label in FAULTS:
            return Cell(TOLD, wrong_error(FAULTS[recording.label], recording, caller, answer))
        if recording.family == caller.family:
            return Cell(VERBATIM, wrong_bytes(recording, caller.name, answer))
        return Cell(TRANSLATED, wrong_words(recording, caller, answer))
    except (AssertionError, KeyError, ValueError) as e:
        return Cell("!", f"{e!r} in {answer.status_code} {answer.text[:500]}")


def wrong_words(recording: Recording, caller: Caller, answer: httpx.Response) -> str:
    if answer.status_code != 200:
        return f"{answer.status_code}: {answer.text[:300]}"
    said = caller.streamed(caller.events(answer.text)) if recording.streamed else caller.whole(answer.json())
    truth = recording.said()
    found, wanted = caller.claim(said, truth), caller.shown(truth)
    fields = [field.name for field in attrs.fields(type(found))]
    pairs = [(name, getattr(found, name), getattr(wanted, name)) for name in fields]
    return "; ".join(f"{name} is {one!r:.300} and not {other!r:.300}" for name, one, other in pairs if one != other)


def wrong_bytes(recording: Recording, caller: str, answer: httpx.Response) -> str:
    """Whole answers to the byte, streams event by event; an array holds the very objects of the events."""
    if not recording.streamed:
        return "" if answer.content == recording.path.read_bytes() else "other bytes than the recorded ones"
    if caller == "array":
        return "" if answer.json() == recording.events() else "other objects than the recorded ones"
    blocks = [block for block in answer.text.replace("\r\n", "\n").split("\n\n") if block.strip()]
    found = [block.split("\n")[-1].removeprefix("data: ") for block in blocks]
    wanted = recording.lines()[: len(recording.events())]
    same = [one for one in found if one != "[DONE]"] == wanted
    return "" if same else f"{len(found)} events that are not the {len(wanted)} recorded ones"


def wrong_error(fault: Fault, recording: Recording, caller: Caller, answer: httpx.Response) -> str:
    """A stream may have begun when it is told of: then it is its last event, and the status was 200."""
    if answer.status_code == 200 and recording.streamed:
        body: Json = caller.events(answer.text)[-1]
    else:
        assert answer.status_code == fault.status
        assert answer.headers.get("retry-after", "") == fault.retry_after
        if recording.family == caller.family and fault.status == 400:
            return wrong_bytes(recording, caller.name, answer)
        body = answer.json()
    word, message = caller.error(body)
    assert word == caller.errors[fault.status]
    return "" if fault.words in message else f"the message says {message!r}"


@pytest.fixture(scope="module")
def cells(gateway: Gateway) -> dict[tuple[str, str], Cell]:
    pairs = [(one, caller) for one in FILES for caller in CALLERS]
    with httpx.Client(base_url=gateway.url, headers={"x-api-key": KEY}, timeout=60) as client, ThreadPoolExecutor(AT_ONCE) as pool:
        found = pool.map(lambda pair: cell(client, *pair), pairs)
        return {(one.label, caller.name): result for (one, caller), result in zip(pairs, found, strict=True)}


@pytest.mark.parametrize("recording", FILES, ids=lambda one: one.label)
def test_every_caller_is_told_what_a_recording_says(cells: dict[tuple[str, str], Cell], recording: Recording) -> None:
    assert [f"{caller.name}: {wrong}" for caller in CALLERS if (wrong := cells[recording.label, caller.name].wrong)] == []


def test_the_table_has_every_file_in_it(cells: dict[tuple[str, str], Cell]) -> None:
    print(f"\n\n{'recording':84}" + "".join(f"{caller.name:>11}" for caller in CALLERS))
    for one in FILES:
        marks = [cells[one.label, caller.name] for caller in CALLERS]
        reason = "  " + OTHER_OPERATIONS[one.family] if one.family in OTHER_OPERATIONS else ""
        print(f"{one.label:84}" + "".join(f"{'WRONG' if mark.wrong else mark.mark:>11}" for mark in marks) + reason)
    counts = Counter("wrong" if one.wrong else one.mark for one in cells.values())
    print(f"\n{LEGEND}\n{len(FILES)} recordings × {len(CALLERS)} callers: {dict(counts)}")
    on_disk = [path for path in WIRE.rglob("*") if path.is_file() and path.name != "LICENSE"]
    assert sorted(one.path for one in FILES) == sorted(on_disk)
    assert {one.family for one in FILES} == {*READERS, *OTHER_OPERATIONS}
    apart = {one.label for one in FILES if one.family in OTHER_OPERATIONS}
    assert all(mark.mark != NONE for (label, caller), mark in cells.items() if label not in apart and caller != "array")


OPERATIONS = {"completion": ("/v1/completions", {"prompt": "Hi"}), "embedding": ("/v1/embeddings", {"input": "Hi"})}


@pytest.mark.parametrize("recording", [one for one in FILES if one.family in OPERATIONS and one.label.startswith("openai/")],
                         ids=lambda one: one.label)  # fmt: skip
def test_other_operations_answers_come_through_verbatim(gateway: Gateway, recording: Recording) -> None:
    path, body = OPERATIONS[recording.family]
    asked = {"model": model_of(recording), "stream": recording.streamed, **body}
    if recording.streamed:
        asked["stream_options"] = {"include_usage": True}
    answer = httpx.post(gateway.url + path, json=asked, headers={"x-api-key": KEY})
    assert answer.status_code == 200
    assert wrong_bytes(recording, "", answer) == ""

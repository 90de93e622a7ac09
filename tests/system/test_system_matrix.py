"""Every recording of a real provider, served upstream and asked for in every language that the gateway accepts, tells its caller what it
says: text, tool calls, reasoning, the reason to end and usage. `make matrix` prints the table.

What a recording says and what a caller was told are read by the plain readers in tests/recorded, which know nothing of the product. A file
in the caller's own language must come through verbatim; a recorded error must be told in the caller's envelope.
"""

from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import quote

import attrs
import httpx
import pytest
from recorded import vectors
from recorded.callers import CALLERS, Caller
from recorded.files import FAULTS, OTHERS, READERS, UNSERVED, WHY_NOT, WIRE, Fault, Recording, recordings
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
COLUMNS = (*(one.name for one in CALLERS), "embeddings", "rerank")
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


def cell(client: httpx.Client, recording: Recording, column: str) -> Cell:
    if not applies(recording, column):
        return Cell(NONE)
    if recording.family in ("embedding", "reranking"):
        return other_cell(client, recording, column)
    caller = next(one for one in CALLERS if one.name == column)
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


def applies(recording: Recording, column: str) -> bool:
    """NOTES says the same in words."""
    if recording.label in UNSERVED:
        return False
    if recording.family == "embedding":
        return column in ("embeddings", "gemini")
    if recording.family == "reranking":
        return column == "rerank"
    if recording.family == "completion":
        return column == "completions"
    if column == "completions":
        return recording.family not in ("chat", "responses")
    return column not in ("embeddings", "rerank") and (column != "array" or recording.streamed)


NOTES = """array: a form of streams only. completions: backends of OpenAI's languages have a path of their own for them, so that only text
completions come from there; to the others they are chats. embeddings, rerank: no conversations; Gemini's callers have embeddings, too."""


def other_cell(client: httpx.Client, recording: Recording, column: str) -> Cell:
    model, texts = model_of(recording), ["sunny day at the beach", "rainy day in the city"]
    if column == "rerank":
        answer = client.post("/v2/rerank", json={"model": model, "query": "sun", "documents": texts})
        return Cell(VERBATIM, wrong_bytes(recording, column, answer))
    if column == "embeddings":
        answer = client.post("/v1/embeddings", json={"model": model, "input": texts})
        if recording.backend == "chat":
            return Cell(VERBATIM, wrong_bytes(recording, column, answer))
    else:
        asked = [{"model": f"models/{model}", "content": {"parts": [{"text": text}]}} for text in texts]
        answer = client.post(f"/v1beta/models/{quote(model, safe='')}:batchEmbedContents", json={"requests": asked})
    if answer.status_code != 200:
        return Cell("!", f"{answer.status_code}: {answer.text[:300]}")
    truth, tokens = (vectors.cohere if recording.backend == "cohere" else vectors.openai)(recording.body())
    found, told = (vectors.openai if column == "embeddings" else vectors.gemini)(answer.json())
    return Cell(TRANSLATED, "" if found == truth and told in (tokens, None) else f"{found}, {told} and not {truth}, {tokens}")


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
    pairs = [(one, column) for one in FILES for column in COLUMNS]
    with httpx.Client(base_url=gateway.url, headers={"x-api-key": KEY}, timeout=60) as client, ThreadPoolExecutor(AT_ONCE) as pool:
        found = pool.map(lambda pair: cell(client, *pair), pairs)
        return {(one.label, column): result for (one, column), result in zip(pairs, found, strict=True)}


@pytest.mark.parametrize("recording", FILES, ids=lambda one: one.label)
def test_every_caller_is_told_what_a_recording_says(cells: dict[tuple[str, str], Cell], recording: Recording) -> None:
    row = {column: cells[recording.label, column] for column in COLUMNS}
    assert [f"{column}: {one.wrong}" for column, one in row.items() if one.wrong] == []
    if recording.label not in UNSERVED:
        assert any(one.mark != NONE for one in row.values())


def test_the_table_has_every_file_in_it(cells: dict[tuple[str, str], Cell]) -> None:
    print(f"\n\n{'recording':84}" + "".join(f"{column:>12}" for column in COLUMNS))
    for one in FILES:
        marks = [cells[one.label, column] for column in COLUMNS]
        print(f"{one.label:84}" + "".join(f"{'WRONG' if mark.wrong else mark.mark:>12}" for mark in marks))
    counts = Counter("wrong" if one.wrong else one.mark for one in cells.values())
    print(f"\n{LEGEND}\n{NOTES}")
    for label, reason in UNSERVED.items():
        print(f"{label}: {reason}")
    print(f"{len(FILES)} recordings × {len(COLUMNS)} callers: {dict(counts)}")
    on_disk = [path for path in WIRE.rglob("*") if path.is_file() and path.name != "LICENSE"]
    assert sorted(one.path for one in FILES) == sorted(on_disk)
    assert {one.family for one in FILES} == {*READERS, *OTHERS}
    for one in FILES:
        if one.family in READERS:
            assert all(cells[one.label, column].mark != NONE for column in ("chat", "responses", "messages", "gemini"))

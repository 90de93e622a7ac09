"""The pure parts by table: tokens, fault grammar, schema instances, and that the manual knows every fault."""

import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from appliance.simulator import fault_table
from appliance.simulator.answer import Answer, Ending, Piece, whole
from appliance.simulator.fault_context import FaultContext
from appliance.simulator.fault_grammar import Clause, parse_faults
from appliance.simulator.fault_table import KINDS, SHAPES, apply_faults
from appliance.simulator.framing import DATA
from appliance.simulator.languages.openai import OPENAI
from appliance.simulator.prose import draws, prose, seed_of
from appliance.simulator.schema_instance import instance, schema_problem
from appliance.simulator.settings import Settings
from appliance.simulator.tokens import count_tokens, split_tokens

CONTEXT = FaultContext(OPENAI, 0.0)
MANUAL = (Path(fault_table.__file__).parent / "README.md").read_text()


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("", []),
        ("Hello, world!", ["Hello", ",", " world", "!"]),
        ("  a\n b  ", ["  a", "\n b", "  "]),
        ("x" * 40, ["x" * 16, "x" * 16, "x" * 8]),
        ('{"a":1}', ['{"', "a", '":', "1", "}"]),
        ("héé 日本", ["héé", " 日本"]),
    ],
)
def test_the_token_rule(text, tokens):
    assert split_tokens(text) == tokens
    assert count_tokens(text) == len(tokens)


@given(st.text(max_size=300))
@settings(max_examples=100, deadline=None)
def test_tokens_join_to_the_text_again(text):
    assert "".join(split_tokens(text)) == text


@given(st.integers(0, 200), st.binary(min_size=1, max_size=8))
@settings(max_examples=60, deadline=None)
def test_prose_has_exactly_so_many_tokens(length, seed):
    assert count_tokens(prose(draws(seed_of(seed.hex())), length)) == length


def test_the_words_of_a_seed_never_change():
    """Tests elsewhere may hold on to these words."""
    assert prose(draws(seed_of("fixed")), 6) == "Flame forest dawn saddle moon."


@pytest.mark.parametrize(
    ("text", "clauses"),
    [
        ("500", [Clause("status", None, {"status": 500}, "500")]),
        ("429=3s;retry_as=ms", [Clause("status", 3.0, {"status": 429, "retry_as": "ms"}, "429=3s;retry_as=ms")]),
        ("cut=3;p=0.3", [Clause("cut", 3, {}, "cut=3;p=0.3", p=0.3)]),
        ("reset;first=2;after=1", [Clause("reset", None, {}, "reset;first=2;after=1", first=2, after=1)]),
        ("gzip + latency=20ms", [Clause("gzip", None, {}, "gzip"), Clause("latency", 0.02, {}, "latency=20ms")]),
        ("huge_line=2m", [Clause("huge_line", 2_097_152, {}, "huge_line=2m")]),
        ("comments", [Clause("comments", 3, {}, "comments")]),
    ],
)
def test_faults_are_read(text, clauses):
    assert parse_faults(text, SHAPES) == tuple(clauses)


MISTAKES = ["", "+", "500+", "99", "600", "status", "reset=-1", "reset=1.5", "huge_line=65m", "p=1", "gzip=1", "finish"]


@pytest.mark.parametrize("text", MISTAKES)
def test_mistakes_are_named(text):
    assert isinstance(parse_faults(text, SHAPES), str)


@given(st.text(alphabet="abcdefgzip=;+.0123459ms_", max_size=40))
@settings(max_examples=200, deadline=None)
def test_no_text_breaks_the_grammar(text):
    assert isinstance(parse_faults(text, SHAPES), tuple | str)


@pytest.mark.parametrize(
    ("clause", "applied"),
    [
        (Clause("gzip", None, {}, ""), [True] * 6),
        (Clause("gzip", None, {}, "", first=2), [True, True, False, False, False, False]),
        (Clause("gzip", None, {}, "", after=4), [False] * 4 + [True] * 2),
        (Clause("gzip", None, {}, "", after=2, first=1), [False, False, True, False, False, False]),
        (Clause("gzip", None, {}, "", p=0.0), [False] * 6),
    ],
)
def test_a_clause_knows_its_calls(clause, applied):
    assert [clause.applies(call, 0.0) for call in range(6)] == applied


def test_chance_is_compared_with_the_draw():
    clause = Clause("gzip", None, {}, "", p=0.3)
    assert clause.applies(0, 0.29)
    assert not clause.applies(0, 0.3)


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_every_kind_of_fault_changes_whole_and_streamed_answers_without_failing(kind):
    """Alone and after a refusal, whose body is another."""
    clauses = parse_faults(WRITTEN.get(kind, kind), SHAPES)
    assert isinstance(clauses, tuple)
    for stream in (True, False):
        answer = an_answer(stream)
        before = (answer.headers, answer.ending, list(an_answer(stream).pieces))
        changed = apply_faults(answer, clauses, CONTEXT)
        pieces = [p for p, _ in zip(changed.pieces, range(3000), strict=False)]
        same = (changed.headers, changed.ending, pieces) == before and (changed.delay_s, changed.head_s, changed.status) == (0.0, None, 200)
        assert not same or (kind, stream) in {("no_done", False), ("crlf", False), ("burst", False), ("stall", False)}
    for refusal in (whole({"error": {}}, 500), whole(b"<html>", 502)):
        assert list(zip(apply_faults(refusal, clauses, CONTEXT).pieces, range(9), strict=False)) is not None


WRITTEN = {
    "status": "503",
    "finish": "finish=length",
    "content_type": "content_type=a/b",
    "latency": "latency=1s",
    "huge_line": "huge_line=1k",
}


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_any_two_faults_leave_a_length_that_the_engine_can_keep(kind):
    """A complete whole answer has as many bytes as it announces; any other never more, since the engine would refuse to send them."""
    for other in KINDS:
        clauses = parse_faults(f"{WRITTEN.get(kind, kind)}+{WRITTEN.get(other, other)}", SHAPES)
        assert isinstance(clauses, tuple)
        changed = apply_faults(an_answer(False), clauses, CONTEXT)
        announced = dict(changed.headers).get(b"content-length")
        if announced is not None:
            sent = sum(len(p.data) for p in changed.pieces)
            assert sent <= int(announced)
            assert sent == int(announced) or changed.ending not in (Ending.COMPLETE, Ending.DROP), (kind, other)


def an_answer(stream: bool) -> Answer:
    if not stream:
        return whole({"choices": [{"finish_reason": "stop"}], "usage": {"total_tokens": 3}}, due_s=0.5, tokens=3)
    chunk = b'data: {"id":"a","object":"chat.completion.chunk","choices":[{"index":0,"delta":{"content":"x"},"finish_reason":%b}]}\n\n'
    pieces = [Piece(0.1 * i, chunk % b"null", 1) for i in range(4)]
    end = [chunk % b'"stop"', b'data: {"choices":[],"usage":{"total_tokens":3}}\n\n', b"data: [DONE]\n\n"]
    pieces += [Piece(0.4, data, end=data is end[-1]) for data in end]
    return Answer(200, ((b"content-type", b"text/event-stream"),), pieces, stream=True)


def test_the_order_of_writing_does_not_matter():
    answers = [apply_faults(an_answer(True), parse_faults(text, SHAPES), CONTEXT) for text in ("gzip+cut=2", "cut=2+gzip")]
    assert [list(a.pieces) for a in answers[:1]] == [list(a.pieces) for a in answers[1:]]
    assert answers[0].ending is Ending.CUT


def test_the_manual_lists_every_fault_option_and_setting():
    for kind, entry in KINDS.items():
        if kind != "status":
            assert re.search(rf"`{kind}\b", MANUAL), kind
        for option in entry.shape.options:
            assert re.search(rf"`[^`]*\b{option}\b", MANUAL), option
    for name in Settings.__annotations__:
        assert f"`{name}`" in MANUAL, name


KEYS = st.sampled_from(
    (
        "type", "properties", "required", "items", "anyOf", "allOf", "enum", "const",
        "$ref", "minItems", "minimum", "maximum", "exclusiveMinimum", "multipleOf", "minLength",
        "maxLength", "format", "uniqueItems", "prefixItems", "$defs", "a",
    )
)
SCHEMAS = [
    ({"type": "integer", "minimum": 5, "maximum": 7}, lambda v: isinstance(v, int) and 5 <= v <= 7),
    ({"type": "integer", "exclusiveMinimum": 5, "exclusiveMaximum": 7}, lambda v: v == 6),
    ({"type": "integer", "maximum": -3}, lambda v: v <= -3),
    ({"type": "integer", "multipleOf": 7, "minimum": 8, "maximum": 20}, lambda v: v == 14),
    ({"type": "number", "exclusiveMinimum": 0, "maximum": 0.1}, lambda v: 0 < v <= 0.1),
    ({"type": "string", "minLength": 30, "maxLength": 32}, lambda v: 30 <= len(v) <= 32),
    ({"type": "string", "maxLength": 2}, lambda v: len(v) <= 2),
    ({"type": "string", "format": "date"}, lambda v: re.fullmatch(r"\d{4}-\d\d-\d\d", v)),
    ({"enum": ["red", "green"]}, lambda v: v == "red"),
    ({"const": 3}, lambda v: v == 3),
    ({"type": ["null", "string"]}, lambda v: isinstance(v, str)),
    ({"type": "null"}, lambda v: v is None),
    ({"type": "boolean"}, lambda v: v is True),
    ({"type": "array", "items": {"type": "integer"}, "minItems": 2}, lambda v: len(v) == 2 and all(isinstance(i, int) for i in v)),
    ({"type": "array", "items": {"const": 1}, "minItems": 3, "uniqueItems": True}, lambda v: len(set(v)) == 3),
    ({"type": "array"}, lambda v: v == []),
    ({"anyOf": [{"type": "integer"}, {"type": "string"}]}, lambda v: isinstance(v, int)),
    ({"allOf": [{"required": ["a"]}, {"properties": {"a": {"const": 1}}, "required": ["b"]}]}, lambda v: v["a"] == 1 and "b" in v),
    ({"$defs": {"p": {"type": "object", "required": ["x"]}}, "$ref": "#/$defs/p"}, lambda v: "x" in v),
    ({"properties": {"a": {"type": "integer"}, "b": {}}, "required": ["a"]}, lambda v: list(v) == ["a"]),
    ({"type": "object", "properties": {"n": {"$ref": "#"}}, "required": ["n"]}, lambda v: isinstance(v, dict)),
    (True, lambda v: isinstance(v, str)),
]


@pytest.mark.parametrize(("schema", "fits"), SCHEMAS)
def test_an_instance_fits_its_schema_and_repeats(schema, fits):
    made = instance(schema, draws(b"seed"))
    assert fits(made)
    assert made == instance(schema, draws(b"seed"))


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "object", "properties": {"l": {"$ref": "#"}, "r": {"$ref": "#"}}, "required": ["l", "r"]},
        {"type": "array", "items": {"$ref": "#"}, "minItems": 900},
        {"allOf": [{"$ref": "#"}, {"$ref": "#"}]},
        {"anyOf": [{"$ref": "#"}]},
        {"$ref": "#"},
    ],
)
def test_a_schema_that_contains_itself_ends(schema):
    made = repr(instance(schema, draws(b"seed")))
    assert len(made) < 1_000_000


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=4),
    max_leaves=12,
)


@given(JSON)
@settings(max_examples=300, deadline=None)
def test_any_json_is_either_refused_as_a_schema_or_has_an_instance(schema):
    if schema_problem(schema) is None:
        instance(schema, draws(b"seed"))


def test_event_json_reads_what_is_there():
    assert DATA.json(b"event: x\ndata: {\"a\":1}\n\n") == {"a": 1}
    assert DATA.json(b": comment\n\n") == {}
    assert DATA.json(b"data: [DONE]\n\n") == {}

"""JSON Schema as Gemini takes it: references replaced, what refers to itself kept, bounded."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from appliance.dialects.gemini_json_schema import NODES_MAX, Preparer


def prepared(schema: Any) -> Any:
    return Preparer().schema(schema)


def parameters(schema: Any) -> Any:
    return Preparer().parameters(schema)


CITY = {"type": "string", "description": "A city"}


def size(schema: Any) -> int:
    inner = schema.values() if isinstance(schema, dict) else schema if isinstance(schema, list) else ()
    return 1 + sum(size(one) for one in inner)


def test_references_are_replaced_by_what_they_refer_to():
    schema = {
        "$schema": "http://json-schema.org/draft-07/schema#", "type": "object", "$defs": {"City": CITY, "Way": {
            "type": "object", "properties": {"to": {"$ref": "#/$defs/City"}, "via": {"type": "array", "items": {"$ref": "#/$defs/City"}}}}},
        "properties": {"from": {"$ref": "#/$defs/City", "description": "Start", "title": "From"},
                       "way": {"anyOf": [{"$ref": "#/$defs/Way"}, {"type": "null"}]}},
        "additionalProperties": False,
    }  # fmt: skip
    way = {"type": "object", "properties": {"to": CITY, "via": {"type": "array", "items": CITY}}}
    assert prepared(schema) == {
        "type": "object", "additionalProperties": False,
        "properties": {"from": {"type": "string", "description": "Start", "title": "From"}, "way": {"anyOf": [way, {"type": "null"}]}},
    }  # fmt: skip


def test_draft_7s_definitions_and_escaped_names_are_found():
    schema = {"type": "object", "definitions": {"a/b": CITY}, "properties": {"x": {"$ref": "#/definitions/a~1b"}}}
    assert prepared(schema) == {"type": "object", "properties": {"x": CITY}}


def test_what_refers_to_itself_stays_a_reference_with_nothing_refused_beside_it():
    node = {"type": "object", "properties": {"next": {"$ref": "#/$defs/Node", "title": "Next", "description": "more"}}}
    found = prepared({"type": "object", "$defs": {"Node": node}, "properties": {"list": {"$ref": "#/$defs/Node"}}})
    assert found["$defs"] == {"Node": node}
    assert found["properties"]["list"]["properties"]["next"] == {"$ref": "#/$defs/Node", "description": "more"}


def test_a_reference_to_nowhere_stays_and_so_do_names_and_values_that_look_like_one():
    schema = {"type": "object", "properties": {"$ref": CITY, "x": {"$ref": "https://x.test/s"}, "y": {"enum": [{"$ref": "#/z"}]}}}
    assert prepared(schema) == schema


def test_definitions_that_double_each_other_do_not_grow_without_bound():
    defs: dict[str, Any] = {}
    for number in range(40):
        defs[f"d{number}"] = {"type": "object", "properties": {side: {"$ref": f"#/$defs/d{number + 1}"} for side in "ab"}}
    defs["d40"] = CITY
    schema = {"type": "object", "$defs": defs, "properties": {"x": {"$ref": "#/$defs/d0"}}}
    assert prepared(schema) == schema
    assert size(prepared(schema)) < NODES_MAX


def test_arguments_are_an_object():
    assert parameters({}) == {"type": "object"}
    assert parameters({"properties": {"a": CITY}}) == {"type": "object", "properties": {"a": CITY}}
    assert parameters({"anyOf": [CITY]}) == {"anyOf": [CITY]}


anything = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 3) | st.sampled_from(["#/$defs/a", "#", "object", "#/properties/a", ""]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(
        st.sampled_from(["$ref", "$defs", "properties", "items", "anyOf", "a", "type", "not"]), inner, max_size=4
    ),
    max_leaves=20,
)  # fmt: skip


@given(st.dictionaries(st.sampled_from(["$ref", "$defs", "properties", "items", "anyOf", "a", "type", "not"]), anything, max_size=5))
def test_no_schema_raises(schema: dict[str, Any]):
    assert isinstance(parameters(schema), dict)


def test_what_google_has_another_word_for_is_said_in_it():
    schema = {
        "type": "object", "$defs": {"City": CITY}, "properties": {
            "kind": {"type": "string", "const": "a", "title": "K"}, "n": {"const": 3}, "yes": {"const": True},
            "city": {"allOf": [{"$ref": "#/$defs/City"}], "description": "Start"}, "both": {"allOf": [CITY, {"minLength": 1}]},
            "const": {"type": "string"},
        },
    }  # fmt: skip
    assert prepared(schema)["properties"] == {
        "kind": {"type": "string", "enum": ["a"], "title": "K"}, "n": {"enum": [3]}, "yes": {"const": True},
        "city": {"type": "string", "description": "Start"}, "both": {"allOf": [CITY, {"minLength": 1}]}, "const": {"type": "string"},
    }  # fmt: skip


def test_one_bound_holds_for_all_schemas_of_a_request():
    schema = {"type": "object", "$defs": {"City": CITY}, "properties": {str(n): {"$ref": "#/$defs/City"} for n in range(1000)}}
    preparer = Preparer()
    found = [preparer.parameters(schema) for _ in range(NODES_MAX // 1000)]
    assert "$defs" not in found[0]
    assert found[-1] == schema
    assert preparer.left == 0

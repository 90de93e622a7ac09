"""Whatever is in the file, the answer is a configuration or problems, and either can be shown."""

import datetime
import json
from collections.abc import Iterator
from typing import Any, get_args, get_origin

import attrs
import tomlkit
from hypothesis import given, settings
from hypothesis import strategies as st

from appliance.config.edit import get_value
from appliance.config.loader import Loaded, Problems, load_text
from appliance.config.masked import diff, masked_dict
from appliance.config.report import check_text
from appliance.config.schema import Config
from appliance.config.structure import without_none

PROVIDERS = {"openai": "https://api.openai.com/v1"}


def names(kind: Any = Config) -> Iterator[str]:
    """Every key name of the schema, so that random documents reach deep into it."""
    for field in attrs.fields(kind):
        yield field.name
        inner = without_none(field.type)
        inner = get_args(inner)[-1 if get_origin(inner) is not tuple else 0] if get_args(inner) else inner
        if attrs.has(inner):
            yield from names(inner)


leaf = (
    st.text(max_size=12)
    | st.sampled_from(["openai", "a", "r", "127.0.0.1:80", "*", "weighted", "keys", "none", "ab" * 32, "https://x"])
    | st.integers()
    | st.booleans()
    | st.floats()
    | st.dates()
    | st.times()
    | st.datetimes(timezones=st.just(datetime.UTC) | st.none())
)
key = st.sampled_from(sorted(set(names()))) | st.text(max_size=6)
value = st.recursive(leaf, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(key, inner, max_size=4), max_leaves=12)


@st.composite
def shaped(draw: st.DrawFn, kind: Any = Config) -> Any:
    """A document in the shape of the schema, with a wrong value here and there."""
    if draw(st.integers(0, 9)) == 0:
        return draw(value)
    kind = without_none(kind)
    if attrs.has(kind):
        fields = [field for field in attrs.fields(kind) if field.default is attrs.NOTHING or draw(st.integers(0, 5)) == 0]
        return {field.name: draw(shaped(field.type)) for field in fields}
    if get_origin(kind) is tuple:
        return [draw(shaped(get_args(kind)[0])) for _ in range(draw(st.integers(0, 2)))]
    if get_args(kind) and not all(isinstance(each, str) for each in get_args(kind)):
        return {name: draw(shaped(get_args(kind)[1])) for name in draw(st.lists(key, max_size=2, unique=True))}
    if get_args(kind):
        return draw(st.sampled_from(get_args(kind)))
    return draw(leaf)


def hold(text: str) -> None:
    found = load_text(text, env={"A": "b"}, providers=PROVIDERS)
    shown, status = check_text(found, verbose=True)
    shown.encode()
    if isinstance(found, Loaded):
        assert status == 0
        json.dumps(masked_dict(found.config), allow_nan=False)
        assert diff(found.config, found.config) == []
        get_value(found, "server.listen[0].address")
    else:
        assert isinstance(found, Problems)
        assert status == 78
        assert found.problems


@settings(max_examples=80, deadline=None)
@given(shaped())
def test_documents_in_the_schemas_shape_load_or_are_refused(document: Any) -> None:
    if isinstance(document, dict):
        hold(tomlkit.dumps(document))


@settings(max_examples=80, deadline=None)
@given(st.dictionaries(key, value, max_size=6))
def test_any_document_loads_or_is_refused(document: dict[str, Any]) -> None:
    hold(tomlkit.dumps(document))


@settings(max_examples=150, deadline=None)
@given(st.text(max_size=60) | st.text(alphabet="[]{}=.,'\"#\n\\ ab0-", max_size=60))
def test_any_text_loads_or_is_refused(text: str) -> None:
    hold(text)

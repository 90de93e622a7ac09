"""A tool's error is told in words where a language has no mark for it."""

import pytest

from appliance.core.message import Media, Text, ToolResult
from appliance.core.tool_forms import error_in_words

PICTURE = Media("image", "image/png", "aGk=")


@pytest.mark.parametrize(("parts", "told"), [
    ((Text("bad"),), (Text("Error: bad"),)),
    ((Text("error: bad"),), (Text("error: bad"),)),
    ((PICTURE, Text("bad"), Text("b")), (PICTURE, Text("Error: bad"), Text("b"))),
    ((PICTURE,), (Text("Error:"), PICTURE)),
    ((), (Text("Error:"),)),
])  # fmt: skip
def test_an_error_says_that_it_is_one(parts, told):
    assert error_in_words(ToolResult("c", parts, "f", is_error=True)) == ToolResult("c", told, "f")
    assert error_in_words(ToolResult("c", parts, "f")) == ToolResult("c", parts, "f")

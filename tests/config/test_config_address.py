"""Listener addresses."""

import pytest

from appliance.config.address import Address, is_loopback, is_private, parse_address


@pytest.mark.parametrize(
    ("text", "address", "local"),
    [
        ("127.0.0.1:8080", Address("tcp", host="127.0.0.1", port=8080), True),
        ("0.0.0.0:0", Address("tcp", host="0.0.0.0", port=0), False),
        ("[::]:8080", Address("tcp", host="::", port=8080), False),
        ("[::1]:8080", Address("tcp", host="::1", port=8080), True),
        ("localhost:80", Address("tcp", host="localhost", port=80), True),
        ("gateway_1.internal:80", Address("tcp", host="gateway_1.internal", port=80), False),
        ("unix:/run/a b.sock", Address("unix", name="/run/a b.sock"), True),
        ("fd:3", Address("fd", name="3"), False),
        ("fd:public", Address("fd", name="public"), False),
    ],
)
def test_an_address_is_read(text: str, address: Address, local: bool) -> None:
    assert parse_address(text) == address
    assert address.is_local == local


@pytest.mark.parametrize(
    "text",
    [
        *("", ":", "8080", "host", ":80", "::1:80", "[::1]", "[1.2.3.4]:80", "[::1:80", "1.2.3:80", "256.1.1.1:80", "h:-1", "h:65536"),
        *("h:٣", "h:", "a..b:80", "a b:80", "http://x:80", "*:80", "unix:", "unix:" + "x" * 108, "unix:a\0", "fd:", "fd:a:b", "fd:é"),
        "fd:99999999",
    ],
)
def test_what_is_no_address_is_refused(text: str) -> None:
    assert isinstance(parse_address(text), str)


def test_hosts_of_ones_own_network_are_told_from_others() -> None:
    assert all(map(is_loopback, ["127.0.0.9", "::1", "LOCALHOST", "a.localhost"]))
    assert not any(map(is_loopback, ["128.0.0.1", "::", "localhost.example.com"]))
    assert all(map(is_private, ["10.1.2.3", "192.168.0.1", "fd00::1", "vllm", "llm.internal", "x.default.svc"]))
    assert not any(map(is_private, ["8.8.8.8", "api.openai.com", "2606:4700::1"]))

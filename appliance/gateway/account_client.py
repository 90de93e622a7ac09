"""Asks the sources of temporary credentials: metadata services, token endpoints, Amazon's STS. Control traffic, so through httpx.

The rule: whatever happens is a `Grant` or a `Trouble`; no text of a source or of an exception leaves this module.
"""

import json
import ssl
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from types import ModuleType
from typing import Any

import attrs
import trio

from appliance.gateway.trust import BadTrust, upstream_tls
from appliance.providers import aws_account, google_account
from appliance.providers.account import VISIBLE, Grant, Trouble
from appliance.providers.rs256 import signed_token

FETCH_S = 10.0
"""One attempt, all its steps together. Metadata services answer within milliseconds, token endpoints within a second."""

ANSWER_MAX_BYTES = 65_536
"""Of a source's answer; the longest are tokens of some kilobytes."""

FILE_MAX_BYTES = 65_536
"""Of a file that holds a token."""

Source = aws_account.WebIdentity | aws_account.Container | aws_account.Instance | google_account.GoogleSource
Headers = list[tuple[bytes, bytes]]


@attrs.frozen
class Reach:
    """How sources beyond this machine's own network are reached: as the backend itself is. Metadata services never go through a proxy."""

    ca: str = "certifi"
    proxy: str | None = attrs.field(default=None, repr=False)


@attrs.frozen
class Said:
    """An answer, read whole."""

    status: int
    body: bytes = attrs.field(repr=False)

    @property
    def fields(self) -> Mapping[str, Any] | None:
        try:
            found = json.loads(self.body)
        except (ValueError, RecursionError):
            return None
        return found if isinstance(found, dict) else None


async def fetch(source: Source, reach: Reach, wall_clock: Callable[[], float]) -> Grant | Trouble:
    """One attempt, within FETCH_S."""
    found: Grant | Trouble = Trouble(f"{_named(source)} gave no answer within {FETCH_S:g} s")
    with trio.move_on_after(FETCH_S):
        found = await _ASK[type(source)](source, reach, wall_clock)
    return found


async def _web_identity(source: aws_account.WebIdentity, reach: Reach, wall_clock: Callable[[], float]) -> Grant | Trouble:
    token = await _token_in(source.token_file)
    if isinstance(token, Trouble):
        return token
    body = aws_account.web_identity_form(source, token)
    said = await _ask("POST", source.url, [], body, _named(source), reach)
    return said if isinstance(said, Trouble) else aws_account.read_sts(said.status, said.body, wall_clock())


async def _container(source: aws_account.Container, reach: Reach, wall_clock: Callable[[], float]) -> Grant | Trouble:
    token = source.token
    if source.token_file:
        found = await _token_in(source.token_file)
        if isinstance(found, Trouble):
            return found
        token = found
    if token and not VISIBLE.fullmatch(token.replace(" ", "_")):
        return Trouble("the authorization token for the container's credentials holds what no header can carry", refused=True)
    headers = [(b"authorization", token.encode())] if token else []
    said = await _ask("GET", source.url, headers, b"", _named(source), attrs.evolve(reach, proxy=None))
    if isinstance(said, Trouble):
        return said
    return aws_account.read_document(said.status, said.fields, wall_clock(), _named(source))


async def _instance(source: aws_account.Instance, reach: Reach, wall_clock: Callable[[], float]) -> Grant | Trouble:
    """Version 2 of the protocol: a token, the role's name, the role's credentials."""
    reach, what = attrs.evolve(reach, proxy=None), _named(source)
    ttl = [(b"x-aws-ec2-metadata-token-ttl-seconds", b"%d" % aws_account.INSTANCE_TOKEN_TTL_S)]
    said = await _ask("PUT", source.url + aws_account.INSTANCE_TOKEN_PATH, ttl, b"", what, reach)
    if isinstance(said, Trouble):
        return said
    token = said.body.decode("latin-1").strip()
    if said.status != 200 or not VISIBLE.fullmatch(token):
        return Trouble(f"{what} answered {said.status} when asked for a token")
    headers = [(b"x-aws-ec2-metadata-token", token.encode())]
    said = await _ask("GET", source.url + aws_account.INSTANCE_PATH, headers, b"", what, reach)
    if isinstance(said, Trouble):
        return said
    role = aws_account.read_role(said.status, said.body)
    if isinstance(role, Trouble):
        return role
    said = await _ask("GET", source.url + aws_account.INSTANCE_PATH + role, headers, b"", what, reach)
    return said if isinstance(said, Trouble) else aws_account.read_document(said.status, said.fields, wall_clock(), what)


async def _service_account(source: google_account.ServiceAccount, reach: Reach, wall_clock: Callable[[], float]) -> Grant | Trouble:
    claims = google_account.claims_of(source, wall_clock())
    assertion = await trio.to_thread.run_sync(signed_token, claims, source.private_key, source.private_key_id)
    if isinstance(assertion, Trouble):
        return assertion
    return await _token_at(source.token_url, google_account.assertion_form(assertion), reach)


async def _authorized_user(source: google_account.AuthorizedUser, reach: Reach, wall_clock: Callable[[], float]) -> Grant | Trouble:
    del wall_clock
    return await _token_at(source.token_url, google_account.refresh_form(source), reach)


async def _token_at(url: str, body: bytes, reach: Reach) -> Grant | Trouble:
    what = "the token endpoint of the account's key file"
    said = await _ask("POST", url, [], body, what, reach)
    return said if isinstance(said, Trouble) else google_account.read_token(said.status, said.fields, what)


async def _metadata(source: google_account.Metadata, reach: Reach, wall_clock: Callable[[], float]) -> Grant | Trouble:
    del wall_clock
    url, what = source.url + google_account.METADATA_PATH, _named(source)
    said = await _ask("GET", url, [google_account.METADATA_HEADER], b"", what, attrs.evolve(reach, proxy=None))
    return said if isinstance(said, Trouble) else google_account.read_token(said.status, said.fields, what)


_ASK: Mapping[type, Callable[[Any, Reach, Callable[[], float]], Awaitable[Grant | Trouble]]] = {
    aws_account.WebIdentity: _web_identity,
    aws_account.Container: _container,
    aws_account.Instance: _instance,
    google_account.ServiceAccount: _service_account,
    google_account.AuthorizedUser: _authorized_user,
    google_account.Metadata: _metadata,
}

_NAMES: Mapping[type, str] = {
    aws_account.WebIdentity: "Amazon's STS",
    aws_account.Container: "the container's credentials service",
    aws_account.Instance: "the instance metadata service",
    google_account.ServiceAccount: "the token endpoint of the account's key file",
    google_account.AuthorizedUser: "the token endpoint of the account's key file",
    google_account.Metadata: "Google's metadata server",
}


def _named(source: Source) -> str:
    return _NAMES[type(source)]


async def _token_in(name: str) -> str | Trouble:
    """A token that the platform keeps fresh in a file, so it is read anew each time."""

    def read() -> bytes:
        with open(name, "rb") as stream:
            return stream.read(FILE_MAX_BYTES + 1)

    try:
        data = await trio.to_thread.run_sync(read)
        token = data.decode().strip()
    except (OSError, ValueError):
        return Trouble("the file that holds the token for the account's credentials cannot be read", refused=True)
    if not token or len(data) > FILE_MAX_BYTES:
        return Trouble("the file that holds the token for the account's credentials holds none", refused=True)
    return token


async def _ask(method: str, url: str, headers: Headers, body: bytes, what: str, reach: Reach) -> Said | Trouble:
    """One exchange; redirects are not followed, and the environment's proxies do not count."""
    module = await trio.to_thread.run_sync(_httpx)
    verify: ssl.SSLContext | bool = False
    if url.startswith("https:"):
        context = await trio.to_thread.run_sync(upstream_tls, reach.ca)
        if isinstance(context, BadTrust):
            return Trouble(f"{what} cannot be reached: the backend's ca {context.reason}")
        verify = context
    if body:
        headers = [*headers, (b"content-type", b"application/x-www-form-urlencoded")]
    client = partial(module.AsyncClient, verify=verify, timeout=FETCH_S, trust_env=False, proxy=reach.proxy)
    try:
        async with client() as asking, asking.stream(method, url, headers=headers, content=body or None) as answer:
            data = b""
            async for piece in answer.aiter_bytes():
                data += piece
                if len(data) > ANSWER_MAX_BYTES:
                    return Trouble(f"{what} answered with more than {ANSWER_MAX_BYTES} bytes")
            return Said(answer.status_code, data)
    except (module.HTTPError, module.InvalidURL, ssl.SSLError, OSError, ValueError) as error:  # the last: a host that no name can be
        return Trouble(f"{what} cannot be reached ({type(error).__name__})")


def _httpx() -> ModuleType:
    """Imported in a thread at the first attempt: it takes a tenth of a second, and a gateway without such accounts never needs it."""
    import httpx

    return httpx

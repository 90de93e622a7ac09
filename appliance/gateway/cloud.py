"""Where a backend stands and how its requests are proven: for most, its base_url and a key; for a cloud's, an account behind them.

The rule: everything that is missing is told when the configuration is read, by the setting's name, and never at the first request.
"""

import random
import time
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

import attrs

from appliance.config.document import read_bounded
from appliance.config.secret import Secret
from appliance.config.upstreams import Backend
from appliance.gateway.account import Account
from appliance.gateway.account_client import Reach, Source, fetch
from appliance.gateway.proven import Prover
from appliance.providers import Provider, aws_account, google_account
from appliance.providers.account import VISIBLE, BadAccount, Grant

_DRAW = random.Random()


@attrs.frozen
class Standing:
    """base_url: what requests are made below. prover: None where a key stands in every request's head, or none is needed."""

    base_url: str
    prover: Prover | None = None


def standing(
    name: str, settings: Backend, provider: Provider, env: Mapping[str, str], known: Prover | None = None
) -> Standing | BadAccount:
    """known: of the backend of that name that is in force: where the account's source is the same, its credentials go on being used."""
    if not provider.cloud:
        return Standing(settings.base_url or provider.base_url)
    has_key = bool(settings.keys) or "authorization" in {header.lower() for header in settings.headers}
    if settings.keys and (settings.access_key_id is not None or settings.service_account is not None):
        other = "access_key_id" if settings.access_key_id is not None else "service_account"
        return BadAccount(f"api_key is set beside {other}: leave one of them out, a backend proves who asks in one way")
    if provider.cloud == "aws":
        return _at_amazon(name, settings, provider, env, known, has_key)
    return _at_google(name, settings, env, known, has_key)


def _at_amazon(
    name: str, settings: Backend, provider: Provider, env: Mapping[str, str], known: Prover | None, has_key: bool
) -> Standing | BadAccount:
    if has_key and settings.base_url:
        return Standing(settings.base_url)
    region = aws_account.region_of(settings.region, settings.base_url, env)
    if isinstance(region, BadAccount):
        return region
    service = urlsplit(provider.base_url).netloc.partition(".")[0]
    base_url = settings.base_url or f"https://{aws_account.host_of(service, region)}"
    if has_key:
        return Standing(base_url)
    bearer = env.get(aws_account.BEARER_VARIABLE, "")
    if bearer and settings.access_key_id is None:
        if not VISIBLE.fullmatch(bearer):
            return BadAccount(f"api_key is not set, and the environment's {aws_account.BEARER_VARIABLE} holds what no header can carry")
        return Standing(base_url, Prover(name, None, Grant(bearer, float("inf")), "", settings.timeouts.connect_s))
    keys = aws_account.Keys(*map(_revealed, (settings.access_key_id, settings.secret_access_key, settings.session_token)))
    source = aws_account.source_of(keys, region, env)
    if isinstance(source, BadAccount):
        return source
    if isinstance(source, aws_account.Fixed):
        fixed = Grant(source.credentials, float("inf"))
        return Standing(base_url, Prover(name, None, fixed, region, settings.timeouts.connect_s))
    account = _account(source, settings, known)
    return Standing(base_url, Prover(name, account, None, region, settings.timeouts.connect_s))


def _at_google(
    name: str, settings: Backend, env: Mapping[str, str], known: Prover | None, has_key: bool
) -> Standing | BadAccount:
    source: google_account.GoogleSource | None = None
    if not has_key:
        found = google_account.source_of(_revealed(settings.service_account), env, lambda path: read_bounded(Path(path)))
        if isinstance(found, BadAccount):
            return found
        source = found
    project: str | BadAccount = settings.project
    if not settings.keys or settings.project:  # a key of Express mode has a project of its own, whatever a variable says
        project = google_account.project_of(settings.project, source, env)
    if isinstance(project, BadAccount):
        return project
    base_url = google_account.base_url_of(settings.base_url, project, settings.location)
    if isinstance(base_url, BadAccount):
        return base_url
    if source is None:
        return Standing(base_url)
    return Standing(base_url, Prover(name, _account(source, settings, known), None, "", settings.timeouts.connect_s))


def _account(source: Source, settings: Backend, known: Prover | None) -> Account:
    reach = Reach(settings.ca, None if settings.proxy is None else settings.proxy.reveal())
    before = None if known is None else known.account
    if before is not None and before.source == source and before.reach == reach:
        return before
    return Account(source, reach, partial(fetch, source, reach, time.time), _DRAW.random)


def _revealed(secret: Secret | None) -> str:
    return "" if secret is None else secret.reveal()

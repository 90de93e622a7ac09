"""Rules about listeners and the store: addresses, TLS, and who may be let in from where."""

from collections.abc import Iterator

from appliance.config.address import EXPECTED, Address, parse_address
from appliance.config.problem import Finding, Steps, quoted
from appliance.config.rules.scene import CREDENTIAL_HEADERS, FRAMING_HEADERS, HEADER_NAME, Rule, Scene, ill_pem, ill_value
from appliance.config.secret import Secret

_ADMIN: Steps = ("admin", "listen")


def addresses(scene: Scene) -> Iterator[Finding]:
    seen: dict[Address, Steps] = {}
    for steps, text in _texts(scene):
        address = parse_address(text)
        if isinstance(address, str):
            hint = f'did you mean "0.0.0.0{text}"?' if text.startswith(":") and not isinstance(parse_address("0.0.0.0" + text), str) else ""
            yield Finding(steps, f"{quoted(text)} {address}", EXPECTED, hint)
        elif address in seen and not (address.kind == "tcp" and address.port == 0):
            yield Finding(steps, f"{quoted(text)} is taken already", "an address of its own")
        else:
            seen[address] = steps
    if not scene.config.server.listen:
        yield Finding(("server", "listen"), "is empty", "at least one address")


def tls(scene: Scene) -> Iterator[Finding]:
    for index, listener in enumerate(scene.config.server.listen):
        steps: Steps = ("server", "listen", index)
        if listener.tls_cert and not listener.tls_key:
            yield Finding((*steps, "tls_key"), "is missing beside tls_cert", "a PEM file with the private key")
        if listener.tls_key and not listener.tls_cert:
            yield Finding((*steps, "tls_cert"), "is missing beside tls_key", "a PEM file with the certificate chain")
        if listener.tls_cert:
            yield from ill_pem(scene, listener.tls_cert, (*steps, "tls_cert"), b"-----BEGIN CERTIFICATE-----", "a PEM certificate chain")
        if listener.tls_key:
            yield from ill_pem(scene, listener.tls_key, (*steps, "tls_key"), b"PRIVATE KEY-----", "a PEM private key")
        if listener.engine == "builtin" and (listener.tls_cert or listener.tls_key):
            yield Finding((*steps, "engine"), "the builtin engine does not speak TLS", '"auto" or "hypercorn"')


def anonymous_callers(scene: Scene) -> Iterator[Finding]:
    """Without any key or tenant the gateway lets anybody in, so only from this machine, unless `auth = "none"` says it is meant."""
    config = scene.config
    if config.server.auth == "none" or config.tenants or scene.incomplete("tenants") or scene.incomplete("server", "auth"):
        return
    for index, listener in enumerate(config.server.listen):
        address = parse_address(listener.address)
        if isinstance(address, Address) and not address.is_local and not scene.stored_tenants(config.store.path):
            where = "may be reached" if address.kind == "fd" else "can be reached"
            message = f"{quoted(listener.address)} {where} from other machines, and there is neither a tenant nor a key"
            expected = 'a tenant with a key, a loopback address, or auth = "none" to let anybody in'
            hint = "'appliance tenant create' and 'appliance key create' make one in the store"
            yield Finding(("server", "listen", index), message, expected, hint)


def keyless_tenants(scene: Scene) -> Iterator[Finding]:
    tenants = scene.config.tenants
    if scene.config.server.auth == "keys" and tenants and not any(tenant.keys for tenant in tenants.values()):
        message = "no tenant has a key in the file, so nobody can call but with one from the store"
        yield Finding(("tenants",), message, "keys = [{ id, sha256 }], or keys made with 'appliance key create'", grave=False)


def admin(scene: Scene) -> Iterator[Finding]:
    config = scene.config
    address = parse_address(config.admin.listen)
    if isinstance(address, Address) and not address.is_local and config.admin.token is None and not scene.incomplete("admin", "token"):
        message = f"{quoted(config.admin.listen)} can be reached from other machines, and admin.token is not set"
        yield Finding(_ADMIN, message, "a loopback address, or a token")
    for key, token in (("token", config.admin.token), ("metrics_token", config.admin.metrics_token)):
        yield from unsendable(token, ("admin", key))


def forwarded(scene: Scene) -> Iterator[Finding]:
    """Which of the caller's headers may go on. A prefix never carries a credential: the gateway holds those back whatever it says."""
    yield from ill_value(scene.config.server.user_agent, ("server", "user_agent"))
    for index, name in enumerate(scene.config.server.forward_headers):
        steps: Steps = ("server", "forward_headers", index)
        if not HEADER_NAME.fullmatch(name.removesuffix("*")) or "*" in name[:-1]:
            yield Finding(steps, f"{quoted(name)} is no header name", 'a name, or a prefix like "x-team-*"')
        elif name.lower() in FRAMING_HEADERS | CREDENTIAL_HEADERS:
            yield Finding(steps, f"{quoted(name)} is never forwarded", "a header that is neither a credential nor the transport's own")


def store(scene: Scene) -> Iterator[Finding]:
    if not scene.config.store.path or "\0" in scene.config.store.path:
        yield Finding(("store", "path"), "is no file name", "a file that the gateway may write")


def unsendable(secret: Secret | None, steps: Steps) -> Iterator[Finding]:
    """A token that no header can carry (RFC 9110 §5.5) would fail at the first request; mostly a line feed or a curly quote."""
    if secret is not None and not all("!" <= letter <= "~" for letter in secret.reveal()):
        yield Finding(steps, "holds white space, control or non-ASCII characters", "visible ASCII characters alone")


def _texts(scene: Scene) -> Iterator[tuple[Steps, str]]:
    for index, listener in enumerate(scene.config.server.listen):
        yield ("server", "listen", index), listener.address
    yield _ADMIN, scene.config.admin.listen


RULES: tuple[Rule, ...] = (addresses, tls, anonymous_callers, keyless_tenants, admin, forwarded, store)

"""Sending a request that its account's temporary credentials prove: signed for Amazon, with a bearer token for Google.

The rule: what is signed is what goes out, and nothing is signed that a proxy on the way may change: the host, the content type and every
`x-amz-` line are signed, the rest of what is forwarded of the caller's is not. A request that was refused because its credentials had
ended is sent once more, with others.
"""

import time
from collections.abc import Callable
from email.utils import parsedate_to_datetime

import attrs

from appliance.core.fault import Fault, FaultKind
from appliance.gateway.account import Account
from appliance.http1.transport import Exchange, Failure, Hold, Transport, UpstreamRequest
from appliance.providers.account import Grant
from appliance.providers.sigv4 import Credentials, sign

SIGNING_NAME = "bedrock"
"""Of bedrock-runtime, too (botocore: data/bedrock-runtime, signingName)."""

_SIGNED = frozenset({b"host", b"content-type"})
_SIGNED_PREFIX = b"x-amz-"

ENDED = frozenset({"expiredtokenexception", "expiredtoken", "unrecognizedclientexception", "invalidclienttokenid"})
"""Amazon's errors that other credentials mend (docs.aws.amazon.com/IAM/latest/APIReference/CommonErrors.html), in lower case."""

MISTIMED = frozenset({"invalidsignatureexception", "signaturedoesnotmatch", "requestexpired", "requesttimetooskewed"})
"""Errors that a clock which is wrong causes, among other things."""

SKEW_MIN_S = 240.0
"""Amazon bears five minutes; an answer's date tells the second it was made in, and the way takes some."""


@attrs.frozen
class Prover:
    """How requests to one backend are proven.

    Attributes:
        account: where temporary credentials come from, None where `fixed` is all there is.
        fixed: credentials that do not change.
        region: to sign for, empty where nothing is signed.
        wait_s: how long a request waits for credentials.
        wall_clock: seconds since the epoch.
    """

    backend: str
    account: Account | None
    fixed: Grant | None
    region: str
    wait_s: float
    wall_clock: Callable[[], float] = time.time

    @property
    def secrets(self) -> tuple[bytes, ...]:
        if self.account is not None:
            return self.account.secrets
        return () if self.fixed is None else self.fixed.secrets

    async def send(self, transport: Transport, request: UpstreamRequest, hold: Hold | None) -> Exchange | Failure | Fault:
        """As Transport.send; a Fault where there are no credentials, or where the answer tells that the clocks differ."""
        grant = self.fixed if self.account is None else await self.account.get(self.backend, self.wait_s)
        assert grant is not None  # an account or fixed credentials
        if isinstance(grant, Fault):
            return grant
        answer = await transport.send(self.proven(request, grant), hold)
        if isinstance(answer, Failure) or answer.status not in (401, 403):
            return answer
        try:
            return await self._again(transport, request, hold, grant, answer)
        except BaseException:
            answer.close()
            raise

    async def _again(
        self, transport: Transport, request: UpstreamRequest, hold: Hold | None, grant: Grant, answer: Exchange
    ) -> Exchange | Failure | Fault:
        """What becomes of a request that was refused."""
        if self._has_ended(answer) and self.account is not None:
            other = await self.account.another(grant, self.wait_s)
            if other is not None:
                answer.close()
                return await transport.send(self.proven(request, other), hold)
        fault = self._clock_fault(answer) if self.region else None
        if fault is not None:
            answer.close()
        return fault or answer

    def proven(self, request: UpstreamRequest, grant: Grant) -> UpstreamRequest:
        """The request with the lines that prove who asks."""
        key = grant.key
        if isinstance(key, Credentials):
            target = request.target.decode("ascii")
            lines = sign(
                request.method.decode("ascii"), target, signable(request.headers), request.body, credentials=key, region=self.region,
                service=SIGNING_NAME, now=self.wall_clock(),
            )  # fmt: skip
        else:
            lines = [(b"authorization", b"Bearer " + key.encode("ascii"))]
        return attrs.evolve(request, headers=request.headers + b"".join(b"%b: %b\r\n" % line for line in lines))

    def _has_ended(self, answer: Exchange) -> bool:
        """Google answers 401 to a token that it does not take, and 403 to one that may not do this."""
        return _error(answer) in ENDED if self.region else answer.status == 401

    def _clock_fault(self, answer: Exchange) -> Fault | None:
        if _error(answer) not in MISTIMED:
            return None
        skew_s = clock_skew_s(answer, self.wall_clock())
        if skew_s is None or abs(skew_s) < SKEW_MIN_S:
            return None
        differs = f"this machine's clock is {abs(skew_s):.0f} s {'ahead of' if skew_s > 0 else 'behind'} the backend's"
        words = f"the backend {self.backend} refused the gateway's signature, and {differs}: its operator has to set the clock"
        return Fault(FaultKind.AUTHENTICATION, words, upstream_status=answer.status, detail=differs)


def signable(headers: bytes) -> list[tuple[bytes, bytes]]:
    """Of a block of header lines those that are signed."""
    lines = (line.partition(b":") for line in headers.split(b"\r\n") if line)
    pairs = ((name.lower(), value.strip()) for name, _, value in lines)
    return [(name, value) for name, value in pairs if name in _SIGNED or name.startswith(_SIGNED_PREFIX)]


def clock_skew_s(answer: Exchange, now: float) -> float | None:
    """By how much our clock is ahead of what the answer's Date says; None without a readable one."""
    date = next((value for name, value in answer.headers if name == b"date"), b"")
    try:
        return now - parsedate_to_datetime(date.decode("latin-1")).timestamp()
    except (ValueError, TypeError, IndexError, OverflowError):
        return None


def _error(answer: Exchange) -> str:
    """The name of Amazon's error, in lower case: a namespace may stand before it and an address behind it (smithy.io/2.0/aws/protocols)."""
    name = next((value for header, value in answer.headers if header == b"x-amzn-errortype"), b"").decode("latin-1")
    return name.partition(":")[0].rpartition("#")[2].strip().lower()

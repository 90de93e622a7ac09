"""What one simulator is told before it starts, and every bound it keeps."""

from collections.abc import Callable, Mapping
from fnmatch import fnmatchcase
from pathlib import Path

import attrs

MODELS = ("sim", "sim-reasoner", "sim-embed")


@attrs.frozen
class Speed:
    """How fast a model answers.

    Attributes:
        first_token_s: from the end of the request to the first token.
        tokens_per_s: after that; 0 means all at once.
    """

    first_token_s: float = 0.01
    tokens_per_s: float = 500.0

    def due_s(self, token: int) -> float:
        """When the token with this index is due, from the end of the request."""
        return self.first_token_s + (token / self.tokens_per_s if self.tokens_per_s > 0 else 0.0)


@attrs.frozen
class Settings:
    """Everything has a default that suits a test on one machine.

    Attributes:
        models: the ids that /v1/models lists first, before the recordings.
        only_listed: answer 404 `model_not_found` to any other model, as a real provider does. Off, every name is accepted.
        speed: of a model that neither its name, a header nor `speeds` says otherwise of.
        speeds: glob over the model's bare name → speed; the first match wins.
        recordings: folder of recorded traffic, `wire/PROVIDER/NAME.json` and `NAME.chunks.txt` inside (or PROVIDER at its top).
        require_key: the one accepted key; empty accepts anybody.
        seed: of the chance that `p=` faults draw from.
        clock: Unix time for `created`; None derives it from the request, so that answers repeat to the byte.
        body_max_bytes: a longer request body is refused with 413.
        answer_tokens_max: no answer is longer, whatever was asked.
        stream_events_max, stream_max_s: where an endless stream ends after all.
        hang_max_s: after so long a hanging answer is reset.
        recording_max_bytes: a larger recording is not served.
        log_requests_max, log_body_max_bytes, log_bytes_max: how many requests are remembered, how much of one body, how much of all.
        responses_max, responses_max_bytes: how many responses /v1/responses keeps for `previous_response_id`, and how much of them.
        standing_faults_max, counters_max: standing faults at a time; distinct (model, fault) pairs and models that are counted apart.
    """

    models: tuple[str, ...] = MODELS
    only_listed: bool = False
    speed: Speed = Speed()
    speeds: Mapping[str, Speed] = attrs.field(factory=dict)
    recordings: Path | None = None
    require_key: str = attrs.field(default="", repr=False)
    seed: int = 0
    clock: Callable[[], float] | None = None
    body_max_bytes: int = 33_554_432
    answer_tokens_max: int = 100_000
    stream_events_max: int = 1_000_000
    stream_max_s: float = 600.0
    hang_max_s: float = 600.0
    recording_max_bytes: int = 8_388_608
    log_requests_max: int = 1000
    log_body_max_bytes: int = 1_048_576
    log_bytes_max: int = 33_554_432
    responses_max: int = 1000
    responses_max_bytes: int = 33_554_432
    standing_faults_max: int = 256
    counters_max: int = 1024

    def speed_of(self, bare_model: str) -> Speed:
        for glob, speed in self.speeds.items():
            if fnmatchcase(bare_model, glob):
                return speed
        return self.speed

"""What a request may cost at most, as far as can be known before it is sent. Pure.

The rule: the dearest of the backends that may come to be asked counts, with a prompt of estimated length and an answer as long as the
caller, the target and `budgets.answer_tokens_max` let it become; where two may be asked at once, the dearest two. What it really cost
counts at the end; where that is more, the difference is what a budget may be passed by.
"""

from appliance.core.budget import Reservation
from appliance.core.price import estimate_nusd
from appliance.dialects.protocol import COUNT, UPLOADS, ParsedRequest
from appliance.gateway.allowance import UNUSUAL, choices
from appliance.gateway.billed import ANSWERING
from appliance.gateway.call import Call
from appliance.gateway.hedgeable import hedgeable
from appliance.gateway.plan import Resolved

IMAGE_TOKENS = 6_240
"""Of one picture that is drawn: the largest at high quality (OpenAI's guide to image generation)."""

IMAGES_MAX = 10
"""OpenAI's bound on `n` of pictures."""

SPEECH_TOKENS = 8
"""Of sound, for one token of text to be spoken: some 20 tokens a second, in which three words are said."""

UPLOAD_BYTES_PER_TOKEN = 400
"""Of a file: speech, compressed to 32 kbit/s, has 4,000 bytes and ten tokens a second; pictures have more bytes a token."""

DRAWING = frozenset({"image_generation", "image_edit", "image_variation"})
HEARING = frozenset({"transcription", "translation"})
SPEAKING = "speech"


def foreseen(call: Call, resolved: Resolved, answer_tokens_max: int) -> Reservation:
    """For every target and fallback of the route."""
    parsed, record, pricing = call.parsed, call.record, call.pricing
    route, model = resolved.route, resolved.model
    operation = parsed.operation
    if operation == "chat" and UNUSUAL.isdisjoint(parsed.fields):
        spoken, several, every_kind = True, 1, False
    elif operation == COUNT:
        return Reservation(0, 0, 0)
    else:
        spoken = operation in ANSWERING
        several, every_kind = choices(parsed) if spoken else 1, not spoken or modal(parsed)
    prompt = prompt_of(call)
    bound = parsed.max_tokens
    if bound is None or bound > answer_tokens_max:
        bound = answer_tokens_max
    elif bound < 0:
        bound = 0
    most = longest = 0
    dearest: dict[str, int] | None = {} if route.hedge is not None and hedgeable(call) else None
    for target in (*route.targets, *route.fallback) if route.fallback else route.targets:
        if spoken:
            cap = target.max_tokens
            answer = (bound if cap is None or cap > bound else cap) * several
        else:
            answer = made_of(parsed, prompt, answer_tokens_max)
        price = pricing.quote(target, target.model or model, record.requested_model, record.wall_time).price
        nusd = estimate_nusd(price, prompt, answer, every_kind=every_kind)
        if nusd > most:
            most = nusd
        if dearest is not None:
            dearest[target.upstream.name] = max(nusd, dearest.get(target.upstream.name, 0))
        if answer > longest:
            longest = answer
    if dearest:
        most = sum(sorted(dearest.values())[-2:])
    return Reservation(prompt, longest, most)


def prompt_of(call: Call) -> int:
    """Of a form nothing but its size is known, and that not always."""
    if call.upload is not None and call.parsed.operation in UPLOADS:
        return max(1, (call.upload.incoming.length or 0) // UPLOAD_BYTES_PER_TOKEN)
    return call.parsed.prompt_tokens_estimate or 1


def made_of(parsed: ParsedRequest, prompt: int, answer_tokens_max: int) -> int:
    """Of an operation that answers with something else than a chat."""
    operation = parsed.operation
    if operation in DRAWING:
        wanted = parsed.fields.get("n")
        return IMAGE_TOKENS * (max(1, min(wanted, IMAGES_MAX)) if isinstance(wanted, int) else 1)
    if operation == SPEAKING:
        return prompt * SPEECH_TOKENS
    return min(prompt, answer_tokens_max) if operation in HEARING else 0


def modal(parsed: ParsedRequest) -> bool:
    """Whether a chat is to be answered with sound or pictures, which cost more than words."""
    settings = parsed.fields.get("generationConfig") or parsed.fields.get("generation_config")
    return "modalities" in parsed.fields or (isinstance(settings, dict) and "responseModalities" in settings)

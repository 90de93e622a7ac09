"""Which faults meet this call: the header's, else a standing one's, else the model name's; and how often each has been met.

The rule: what changes from call to call (counts, standing faults) is here and nowhere else but in the store of responses; all is bounded.
"""

from fnmatch import fnmatchcase

import attrs

from appliance.simulator.fault_grammar import Clause, parse_faults
from appliance.simulator.fault_table import SHAPES
from appliance.simulator.model_name import ModelName
from appliance.simulator.prose import seed_of
from appliance.simulator.request import Request
from appliance.simulator.settings import Settings

HEADER = b"x-sim-fault"


@attrs.define
class Standing:
    """A fault that stays until it is cleared. With `path` it meets requests of any method to matching paths, else calls of matching models.

    `left` is how many more calls it meets; None for ever.
    """

    model: str
    path: str
    fault: str
    clauses: tuple[Clause, ...]
    left: int | None
    met: int = 0


@attrs.define
class FaultDesk:
    settings: Settings
    standing: list[Standing] = attrs.field(factory=list)
    _calls: dict[tuple[str, str], int] = attrs.field(factory=dict)

    def choose(self, request: Request, model: ModelName | None) -> tuple[Clause, ...] | str:
        """The clauses that apply to this call, or what is wrong with their text. Counts the call."""
        text = request.header(HEADER)
        name = model.bare if model is not None else request.path
        if text:
            return self._decide(text, name)
        for rule in self.standing:
            if fnmatchcase(request.path, rule.path) if rule.path else model is not None and fnmatchcase(model.asked, rule.model):
                return self._meet(rule, name)
        return self._decide(model.fault, name) if model is not None and model.fault else ()

    def _meet(self, rule: Standing, name: str) -> tuple[Clause, ...]:
        applied = tuple(c for c in rule.clauses if self._applies(c, name))
        if applied:
            rule.met += 1
            if rule.left is not None:
                rule.left -= 1
                if rule.left <= 0:
                    self.standing.remove(rule)
        return applied

    def _decide(self, text: str, name: str) -> tuple[Clause, ...] | str:
        clauses = parse_faults(text, SHAPES)
        return clauses if isinstance(clauses, str) else tuple(c for c in clauses if self._applies(c, name))

    def _applies(self, clause: Clause, name: str) -> bool:
        """Calls are counted by model and clause, so that `first=2` of one model is not used up by another."""
        key = (name, clause.text)
        call = self._calls.pop(key, 0)
        while len(self._calls) >= self.settings.counters_max:
            del self._calls[next(iter(self._calls))]  # the one that was met longest ago starts anew
        self._calls[key] = call + 1
        draw = int.from_bytes(seed_of(self.settings.seed, name, clause.text, call)[:8], "big") / 2**64
        return clause.applies(call, draw)

    def stand(self, model: str, path: str, fault: str, count: int | None) -> str | None:
        """Set a standing fault, in place of one with the same model and path; what is wrong with it otherwise."""
        clauses = parse_faults(fault, SHAPES)
        if isinstance(clauses, str):
            return clauses
        self.clear(model, path)
        if len(self.standing) >= self.settings.standing_faults_max:
            return f"at most {self.settings.standing_faults_max} faults may stand at a time"
        self.standing.append(Standing(model, path, fault, clauses, count))
        return None

    def clear(self, model: str, path: str) -> int:
        """Remove the standing fault with exactly this model and path; how many there were."""
        before = len(self.standing)
        self.standing = [s for s in self.standing if (s.model, s.path) != (model, path)]
        return before - len(self.standing)

    def reset(self) -> None:
        self.standing.clear()
        self._calls.clear()

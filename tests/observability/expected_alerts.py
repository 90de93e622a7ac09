"""Which alerts the scripted workload sets off, about whom, and why each of the others keeps quiet.

That an alert which keeps quiet here can fire is shown in its promtool case.
"""

NOBODY: frozenset[str] = frozenset()
FLAKY, BROKEN = frozenset({"flaky"}), frozenset({"broken"})

ABOUT = ("provider", "model", "tenant", "tenant_id", "backend", "service", "route")
"""Labels that say whom an alert is about; the first that a series has."""

FIRING = {
    "ApplianceAvailabilityBurnFast": NOBODY,
    "ApplianceAvailabilityBurnSlow": NOBODY,
    "LLMGatewayProviderUnhealthy": BROKEN,
    "LLMGatewayCircuitBreakerOpen": BROKEN | {"resting"},
    "LLMGatewayHighErrorRate": FLAKY | BROKEN,
    "LLMGatewayCriticalErrorRate": FLAKY | BROKEN,
    "LLMGatewayAuthenticationErrors": FLAKY,
    "LLMGatewayRateLimitHits": frozenset({"limited"}),
    "HighErrorRate": NOBODY,
    "ModelHighErrorRate": frozenset({"mistral-small"}),
    "ModelCriticalErrorRate": frozenset({"mistral-small"}),
    "ModelLowAvailability": frozenset({"mistral-small"}),
    "ModelCriticalAvailability": frozenset({"mistral-small"}),
    "ApplianceBudgetNearlyUsed": frozenset({"careful", "poor"}),
    "ApplianceBudgetUsedUp": frozenset({"poor"}),
    "ApplianceUnpricedRequests": frozenset({"house"}),
}
"""Alert → whom it is about. Its expression is true; how long it must stay so is its `for`."""

QUIET = {
    "ApplianceFirstTokenBurnFast": "every stream begins within five seconds",
    "ApplianceFirstTokenBurnSlow": "every stream begins within five seconds",
    "LLMGatewayAllProvidersUnhealthy": "one of six is down",
    "LLMGatewayHighLatencyP95": "nothing takes ten seconds",
    "LLMGatewayHighLatencyP99": "nothing takes thirty seconds",
    "LLMGatewayHighTTFT": "every stream begins within five seconds",
    "LLMGatewayRateLimitErrors": "two in five minutes are fewer than one in ten seconds",
    "LLMGatewayHighActiveRequests": "six at once are not eighty",
    "LLMGatewayHighTokenUsage": "some thousand tokens are no million",
    "LLMGatewayLowTokenThroughput": "the slowest answer comes at fifty tokens a second",
    "LLMGatewayLowCacheHitRate": "three of four look-ups hit",
    "ModelAvailabilitySLAViolated": "no model that fails was asked a hundred times",
    "ModelLatencySLAViolated": "no model was asked a hundred times",
    "ApplianceBudgetWebhookFailing": "the webhook takes every warning",
    "ApplianceDown": "the gateway answers every scrape",
    "ApplianceRestartLoop": "it was started once",
    "ApplianceServiceRestarting": "no service failed",
    "ApplianceDrainStuck": "it does not drain",
    "ApplianceLedgerFailing": "the ledger is written",
    "ApplianceLedgerBacklog": "the ledger keeps up",
    "ApplianceUpstreamQueued": "every backend has slots left",
    "ApplianceConnectionsRefused": "a few connections are open",
    "ApplianceSeriesDropped": "few label values are in use",
    "ApplianceLogLinesDropped": "the log goes to a file",
    "ApplianceTraceSpansLost": "the collector takes every span",
}
"""Alert → why its condition does not hold. Without its bound the expression has data all the same."""

BY_THE_MACHINE = {
    "ApplianceEventLoopBlocked": "on a machine that does its work nothing holds the event loop for a tenth of a second",
    "ApplianceOverheadHigh": "on a machine that does its work the gateway adds less than a tenth of a second",
}
"""Alert → why it keeps quiet mostly. Where other work takes the processor for so long, it is right to be true."""

NOT_THERE = {
    "ApplianceKeyBudgetReached": "no key has a budget of its own, and a warning is a series from the first one on",
    "ApplianceConfigReloadFailed": "the file was mended within the minute that it waits",
    "ApplianceInternalErrors": "an error type is a series from its first error on, and this one is a bug of the gateway",
    "ApplianceUpstreamSaturated": "an error type is a series from its first error on, and every backend has slots left",
}
"""Alert → why its expression has no data at all while all is well, whatever the bound."""

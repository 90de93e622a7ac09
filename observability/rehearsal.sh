# A gateway to try the alerts on: two simulated backends, tenants with tight limits and budgets, nothing that costs or leaves the machine.
#
#   . observability/rehearsal.sh      starts it in the background and defines what the runbooks use:
#   ask MODEL [FIELDS] [KEY]          one chat of $TEXT (Hello); prints the status. FIELDS: more members, such as '"max_tokens": 10'
#   many N COMMAND...                 the same N times at once
#   look REGEX                        matching metrics of the gateway, once there are some; fails after ten seconds without
#   calm                              no standing faults, breakers closed
#   restart_gateway, stop_rehearsal
#
# `sim+FAULT` is a model of backend alpha, `beta/sim+FAULT` of beta: appliance/simulator/README.md lists the faults. Scrape $ADMIN/metrics
# with a Prometheus that has loaded alerts.yaml to see the alerts themselves; most have a `for` of minutes, so keep it up that long.

export REHEARSAL="${REHEARSAL:-/tmp/rehearsal}" APPLIANCE="${APPLIANCE:-.venv/bin/appliance}"
export GATEWAY_PORT="${GATEWAY_PORT:-8080}" ADMIN_PORT="${ADMIN_PORT:-9464}" SIM_PORT="${SIM_PORT:-9001}"
export GATEWAY="http://127.0.0.1:$GATEWAY_PORT" ADMIN="http://127.0.0.1:$ADMIN_PORT" SIM="http://127.0.0.1:$SIM_PORT"
export APPLIANCE_CONFIG="$REHEARSAL/gateway.toml"

key_of() { printf '{ id = "%s", sha256 = "%s"%s }' "$1" "$(printf %s "$1" | sha256sum | cut -d' ' -f1)" "${2:-}"; }

write_config() {
    cat >"$APPLIANCE_CONFIG" <<TOML
[server]
listen = ["127.0.0.1:$GATEWAY_PORT"]
limits = { connections_max = 20 }
[admin]
listen = "127.0.0.1:$ADMIN_PORT"
[store]
path = "appliance.db"
[telemetry]
users_max = 3
traces = { endpoint = "$SIM/nowhere", sample = 1 }
[alerts]
webhook = { url = "$SIM/nowhere" }
[prices.models.sim]
output_usd_per_mtok = 1000
[backends.alpha]
provider = "custom"
base_url = "$SIM/v1"
max_concurrency = 2
limits = { queue_max = 3, queue_s = 5 }
breaker = { consecutive_failures = 5, failure_ratio = 0, open_s = 5 }
[backends.beta]
provider = "custom"
base_url = "$SIM/v1"
[[routes]]
name = "cached"
models = ["cached"]
targets = [{ backend = "beta", model = "sim" }]
cache = { ttl_s = 60, when = "always" }
[[routes]]
name = "chat"
models = ["sim*"]
targets = [{ backend = "alpha" }]
retry = { attempts = 1 }
[tenants.rehearsal]
keys = [ $(key_of rehearsal) ]
[tenants.limited]
rpm = 1
keys = [ $(key_of limited) ]
[tenants.spender]
budget = { usd = 0.1, period = "day" }
keys = [ $(key_of spender) ]
[tenants.keyed]
keys = [ $(key_of small ', budget = { usd = 0.02, period = "day" }'), $(key_of tiny ', budget = { usd = 0.02, period = "day" }') ]
TOML
}

start_gateway() {
    "$APPLIANCE" serve >>"${GATEWAY_LOG:-$REHEARSAL/gateway.log}" 2>&1 &
    echo $! >"$REHEARSAL/gateway.pid"
    curl -s -o /dev/null --retry 100 --retry-delay 1 --retry-connrefused "$ADMIN/metrics"
}

stop_gateway() {
    kill "$(cat "$REHEARSAL/gateway.pid")" && while kill -0 "$(cat "$REHEARSAL/gateway.pid")" 2>/dev/null; do sleep 0.1; done
}

restart_gateway() { stop_gateway; start_gateway; }

stop_rehearsal() { stop_gateway; kill "$(cat "$REHEARSAL/simulator.pid")"; rm -rf "$REHEARSAL"; }

ask() {
    curl -s -o "$REHEARSAL/answer" -w '%{http_code}\n' "$GATEWAY/v1/chat/completions" -H "authorization: Bearer ${3:-rehearsal}" -H "content-type: application/json" \
        -d "{\"model\": \"$1\", \"messages\": [{\"role\": \"user\", \"content\": \"${TEXT:-Hello}\"}]${2:+, $2}}" || :
}

many() {
    local count=$1 jobs=() one
    shift
    for ((one = 0; one < count; one++)); do "$@" & jobs+=($!); done
    wait "${jobs[@]}"
}

look() {
    local tries
    for ((tries = 0; tries < 100; tries++)); do
        curl -s "$ADMIN/metrics" | grep -v "^#" | grep -E "$1" && return 0
        sleep 0.1
    done
    echo "no metric matches $1" >&2
    return 1
}

calm() {
    curl -s -o /dev/null -X DELETE "$SIM/sim/faults"
    curl -s -o /dev/null -X POST "$ADMIN/admin/backends/alpha/reset-breaker"
    curl -s -o /dev/null -X POST "$ADMIN/admin/backends/beta/reset-breaker"
}

if ! curl -s -o /dev/null "$ADMIN/metrics"; then
    mkdir -p "$REHEARSAL"
    write_config
    "$APPLIANCE" simulate --listen "127.0.0.1:$SIM_PORT" >"$REHEARSAL/simulator.log" 2>&1 &
    echo $! >"$REHEARSAL/simulator.pid"
    start_gateway
fi

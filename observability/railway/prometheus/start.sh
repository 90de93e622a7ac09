#!/bin/sh
# Starts Prometheus with what the service's variables say. The token goes into a file that only this user reads, and out of the environment.
set -eu
: "${GATEWAY_HOST:?is not set: the host of the gateway, such as gateway-production.up.railway.app}"
: "${METRICS_TOKEN:?is not set: admin.metrics_token of the gateway}"

umask 077
mkdir -p /tmp/gateway
printf '%s' "$METRICS_TOKEN" >/tmp/gateway/token
printf '[{"targets": ["%s"], "labels": {"cluster": "%s"}}]\n' "$GATEWAY_HOST" "${CLUSTER:-staging}" >/tmp/gateway/targets.json
unset METRICS_TOKEN

# An address without a host is IPv6, too: that is what the private network has.
exec prometheus \
    --config.file=/etc/prometheus/prom.yml \
    --storage.tsdb.path=/prometheus \
    --storage.tsdb.retention.time="${RETENTION:-30d}" \
    --enable-feature=exemplar-storage \
    --web.listen-address=":${PORT:-9090}"

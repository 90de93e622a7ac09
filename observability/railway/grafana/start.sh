#!/bin/sh
# Starts Grafana on the port that the platform gives. Its address is public: there is no default password here.
set -eu
: "${GF_SECURITY_ADMIN_PASSWORD:?is not set: the password of the first login; this Grafana can be reached from the Internet}"
GF_SERVER_HTTP_PORT="${PORT:-3000}"
export GF_SERVER_HTTP_PORT
exec /run.sh

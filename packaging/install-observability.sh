#!/usr/bin/env bash
# Installs what `make test-observability` needs, Prometheus and Alertmanager with promtool and amtool, from Debian's or Ubuntu's packages.
#
# Does nothing when they are there. Their services are not started and not enabled: the tests start their own, on ports of their own.
set -euo pipefail

missing() { ! { command -v prometheus && command -v promtool && command -v prometheus-alertmanager && command -v amtool; } >/dev/null; }

missing || exit 0
if ! command -v apt-get >/dev/null; then
    echo "install-observability: no apt-get here; put prometheus, promtool, prometheus-alertmanager and amtool on PATH" >&2
    exit 1
fi
if [ "$(id -u)" != 0 ]; then
    echo "install-observability: not root; run: sudo packaging/install-observability.sh" >&2
    exit 1
fi

# Exit status 101 of this file forbids Debian's packages to start their services (invoke-rc.d's interface).
policy=/usr/sbin/policy-rc.d
if [ ! -e "$policy" ]; then
    printf '#!/bin/sh\nexit 101\n' >"$policy"
    chmod +x "$policy"
    trap 'rm -f "$policy"' EXIT
fi

export DEBIAN_FRONTEND=noninteractive
packages=(prometheus prometheus-alertmanager)
apt-get install -y -q --no-install-recommends "${packages[@]}" || { apt-get update -q && apt-get install -y -q --no-install-recommends "${packages[@]}"; }
if command -v systemctl >/dev/null; then
    systemctl disable --quiet "${packages[@]}" || true
fi
if missing; then
    echo "install-observability: the packages are installed, and a program is still missing" >&2
    exit 1
fi

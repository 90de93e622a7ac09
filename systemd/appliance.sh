#!/bin/sh
# The gateway's commands on a machine where it is a service. Those that open the store or the credentials run as the service's user, in its
# folders (a second unit with the same User= shares it); the others run as whoever calls.
set -eu
APPLIANCE_CONFIG="${APPLIANCE_CONFIG:-/etc/appliance/config.toml}"
export APPLIANCE_CONFIG
case "${1:-}" in
check | key | tenant | usage | store | explain | experiments)
	exec systemd-run --quiet --collect --pipe --wait --service-type=exec --setenv=APPLIANCE_CONFIG="$APPLIANCE_CONFIG" \
		--property=User=appliance --property=DynamicUser=yes --property=SupplementaryGroups=appliance-config \
		--property=StateDirectory=appliance --property=StateDirectoryMode=0700 \
		--property=CacheDirectory=appliance --property=CacheDirectoryMode=0700 \
		--property=WorkingDirectory=/var/lib/appliance --property=UMask=0077 \
		--property=LoadCredential=key:/etc/appliance/credentials \
		/usr/bin/python3 -I /opt/appliance/current/appliance.pyz "$@"
	;;
esac
exec /usr/bin/python3 -I /opt/appliance/current/appliance.pyz "$@"

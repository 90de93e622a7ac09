#!/bin/sh
# Installs the gateway as a systemd service, changes its version and takes it away again. Repeating a command changes nothing more.
#
#   install.sh install   [FILE]   put FILE (default: appliance.pyz beside this script) and the units in place
#   install.sh upgrade   [FILE]   the same for a newer FILE, then restart; the version before stays for a rollback
#   install.sh rollback           back to the version before, then restart
#   install.sh uninstall          take away programs and units; configuration, keys and state stay (--purge takes them, too)
#
#   --dry-run     say what would be done
#   --root DIR    work below DIR and leave the running system alone (for images and packages)
#
# FILE must be named in a SHA256SUMS beside it. What an operator wrote is never changed: not config.toml, not credentials, not drop-ins.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
command='' file='' root='' dry='' purge=''
python=/usr/bin/python3
units='appliance.service appliance.socket'
beside="$units README.md install.sh appliance.sh appliance.sysusers config.toml"

main() {
	arguments "$@"
	opt=$root/opt/appliance etc=$root/etc/appliance units_in=$root/etc/systemd/system state=$root/var/lib/appliance
	if [ -z "$root" ] && [ -z "$dry" ] && [ "$(id -u)" -ne 0 ]; then fail "run this as root (or with --dry-run, or with --root DIR)"; fi
	if [ -z "$root" ]; then
		has=$(systemctl --version 2>/dev/null | awk 'NR == 1 { print $2 }')
		[ "${has:-252}" -ge 252 ] || fail "this systemd is $has, and the units need 252"
	fi
	[ -n "$dry" ] || alone
	case $command in
	install) install_it ;;
	upgrade)
		[ -e "$opt/current" ] || fail "nothing is installed in $opt: install.sh install"
		install_it
		;;
	rollback) roll_back ;;
	uninstall) uninstall_it ;;
	esac
}

alone() { # two at once would take away each other's releases
	[ -d "${root:-/etc}" ] || install -d -m 0755 "$root"
	exec 9<"${root:-/etc}"
	flock --nonblock 9 || fail "another install.sh is at work on ${root:-this machine}: try again when it is done"
}

arguments() {
	while [ $# -gt 0 ]; do
		case $1 in
		install | upgrade | rollback | uninstall) [ -z "$command" ] || usage "one command at a time"; command=$1 ;;
		--dry-run) dry=1 ;;
		--purge) purge=1 ;;
		--root)
			[ -n "${2:-}" ] || usage "--root needs a folder"
			root=$(realpath -m -- "$2")
			[ "$root" != / ] || root=''
			shift
			;;
		-*) usage "unknown option $1" ;;
		*)
			[ -z "$file" ] || usage "unexpected $1"
			[ "$command" = install ] || [ "$command" = upgrade ] || usage "unexpected $1"
			file=$1
			;;
		esac
		shift
	done
	[ -n "$command" ] || usage "which command?"
	[ -z "$purge" ] || [ "$command" = uninstall ] || usage "--purge belongs to uninstall"
}

install_it() {
	file=${file:-$here/appliance.pyz}
	[ -f "$file" ] || fail "$file is not there: give the file to install"
	verify_sum
	release=$(release_of "$file")
	look_at_the_store
	before=$(target current) older=$(target previous)
	make_folders
	copy_release
	first_config
	link_the_state
	[ "$before" = "releases/$release" ] || {
		[ -z "$before" ] || point previous "$before"
		point current "releases/$release"
	}
	place_units "$opt/releases/$release"
	start_it
	drop_old_releases
}

roll_back() {
	to=$(target previous) from=$(target current)
	[ -n "$to" ] && [ -d "$opt/$to" ] || fail "there is no version before the one that is installed"
	point current "$to"
	point previous "$from"
	place_units "$opt/$to"
	say "went back from ${from#releases/} to ${to#releases/}"
	restart_it || fail "it does not start: journalctl -u appliance -n 50 says why"
}

uninstall_it() {
	on_system systemctl disable --now appliance.service appliance.socket || true
	for unit in $units; do run rm -f "$units_in/$unit"; done
	run rm -f "$root/usr/local/bin/appliance" "$root/usr/lib/sysusers.d/appliance.conf"
	run rm -rf "$opt" "$root/var/cache/appliance" "$root/var/cache/private/appliance"
	on_system systemctl daemon-reload
	if [ -n "$purge" ]; then
		run rm -rf "$etc" "$state" "$root/var/lib/private/appliance" "$units_in/appliance.service.d" "$units_in/appliance.socket.d"
	else
		say "kept: $etc (configuration, keys) and $state (usage, budgets, keys of tenants); --purge takes them, too"
	fi
}

# What is installed

verify_sum() {
	folder=$(cd "$(dirname "$file")" && pwd) name=$(basename "$file")
	[ -f "$folder/SHA256SUMS" ] || fail "$folder/SHA256SUMS is not there: it comes with $name"
	wanted=$(name=$name awk '{ sub(/\r$/, "") } substr($0, 67) == ENVIRON["name"] { print $1; exit }' "$folder/SHA256SUMS")
	[ -n "$wanted" ] || fail "$folder/SHA256SUMS does not name $name"
	sum=$(sha256sum <"$file" | cut -d ' ' -f 1)
	[ "$wanted" = "$sum" ] || fail "$file is not what SHA256SUMS says: got $sum, expected $wanted"
}

release_of() { # its version, as it says itself: this Python can run it, too
	place=$(runnable_folder) || fail "programs run neither from /tmp nor from /var/cache: set TMPDIR to a folder that is not mounted noexec"
	said=$(APPLIANCE_ROOT="$place" "$python" -I "$1" version 2>&1) || {
		rm -rf "$place"
		fail "$1 does not run with $python: $(printf %s "$said" | tail -n 1)"
	}
	rm -rf "$place"
	version=$(printf '%s\n' "$said" | awk '$1 == "appliance" && $2 ~ /^[0-9A-Za-z.+]+$/ { print $2; exit }')
	[ -n "$version" ] || fail "$1 does not say its version"
	printf '%s-%s\n' "$version" "$(printf %s "$sum" | cut -c 1-12)"
}

runnable_folder() { # a new one that programs may run from: hardened machines mount /tmp noexec
	for above in "${TMPDIR:-/tmp}" /var/cache; do
		made=$(mktemp -d -p "$above" 2>/dev/null) || continue
		printf '#!/bin/sh\n' >"$made/try" && chmod 0700 "$made/try"
		if "$made/try" 2>/dev/null; then
			rm "$made/try"
			printf '%s\n' "$made"
			return 0
		fi
		rm -rf "$made"
	done
	return 1
}

is_whole() { # whether this release is what would be copied: a power cut may have left empty files
	cmp -s "$file" "$1/appliance.pyz" || return 1
	for one in $beside; do cmp -s "$here/$one" "$1/$one" || return 1; done
}

copy_release() {
	to=$opt/releases/$release
	if [ -d "$to" ]; then
		if is_whole "$to"; then say "$release is there already"; return 0; fi
		say "$release is there, but not as it is here: it is copied again; systemctl restart appliance, once it is"
	fi
	run rm -rf "$to.part" "$to.old"
	run install -d -m 0755 "$to.part"
	run install -m 0755 "$file" "$to.part/appliance.pyz"
	for one in $beside; do
		run install -m 0644 "$here/$one" "$to.part/$one"
	done
	[ -n "$dry" ] || sync # else a power cut leaves names without content
	[ ! -d "$to" ] || run mv "$to" "$to.old"
	run mv "$to.part" "$to"
}

make_folders() {
	run install -d -m 0755 "$opt" "$opt/releases" "$units_in" "$root/usr/lib/sysusers.d" "$root/usr/local/bin"
	copy_if_new "$here/appliance.sysusers" "$root/usr/lib/sysusers.d/appliance.conf" 0644
	run systemd-sysusers ${root:+--root="$root"} appliance.conf
	[ -d "$etc" ] || run install -d -m 0750 "$etc"
	[ -d "$etc/conf.d" ] || run install -d -m 0750 "$etc/conf.d"
	[ -d "$etc/credentials" ] || run install -d -m 0700 "$etc/credentials"
}

first_config() {
	group=$(awk -F : '$1 == "appliance-config" { print $3 }' "$root/etc/group" 2>/dev/null || true)
	if [ -e "$etc/config.toml" ]; then
		fresh=''
	else
		fresh=1
		run install -m 0640 "$here/config.toml" "$etc/config.toml"
		[ -z "$group" ] || run chgrp "$group" "$etc" "$etc/conf.d" "$etc/config.toml"
	fi
	case $(stat -c %g:%a "$etc/config.toml" 2>/dev/null || true) in
	'' | "$group":*[4567]? | *[4567]) ;;
	*) say "note: the service cannot read $etc/config.toml: chgrp appliance-config $etc $etc/config.toml; chmod g+rX the same" ;;
	esac
}

# The store of an earlier installation is found again: where its path was relative it lay beside the file, where the service cannot write.

look_at_the_store() {
	[ -f "$etc/config.toml" ] || return 0
	path=$("$python" -I -c '
import glob, os, sys, tomllib
path = "state/appliance.db"
for one in [sys.argv[1] + "/config.toml", *sorted(glob.glob(sys.argv[1] + "/conf.d/*.toml"))]:
    with open(one, "rb") as file:
        path = tomllib.load(file).get("store", {}).get("path", path)
print(os.path.normpath(os.path.join("/etc/appliance", path)))' "$etc" 2>/dev/null) || fail "a file in $etc is no TOML: mend it first"
	leads=$(readlink "$etc/state" || true)
	case $path in
	/etc/appliance/state/*) [ "${leads:-/var/lib/appliance}" = /var/lib/appliance ] || path=$leads/${path#/etc/appliance/state/} ;;
	esac
	case $path in
	/var/lib/appliance/* | /etc/appliance/state/*) ;;
	*)
		grep -rqs "^ReadWritePaths=" "$units_in/appliance.service.d" || fail "store.path is $path, where the service may not write, and it stays \
your choice: either move it to /var/lib/appliance, or see \"A store elsewhere\" in README.md; nothing was changed"
		;;
	esac
	if [ -d "$etc/state" ] && [ ! -L "$etc/state" ] && [ ! -d "$state/.arriving" ] && [ -n "$(ls -A "$state/" 2>/dev/null)" ]; then
		fail "there are two stores, in $etc/state and in $state: take one away; nothing was changed"
	fi
}

link_the_state() {
	[ ! -L "$etc/state" ] || return 0
	if [ -d "$etc/state" ]; then
		in_use "$etc/state" && fail "a gateway runs on $etc/state: stop it first"
		[ -e "$state" ] || run install -d -m 0700 "$state"
		# All of it or nothing: a copy first, and what was stays until the copy is in place. What stops in between can be done again.
		run rm -rf "$state/.arriving"
		run cp -a "$etc/state" "$state/.arriving" || {
			run rm -rf "$state/.arriving"
			fail "the store does not go from $etc/state to $state (is there room?); it is where it was"
		}
		[ -n "$dry" ] || sync
		run find "$state/.arriving" -mindepth 1 -maxdepth 1 -exec mv -f -t "$state/" {} +
		[ -n "$dry" ] || sync
		run rm -rf "$etc/state"
		run chown -R --reference="$state/" "$state/" # else systemd, which looks at the folder alone, leaves the files to root
		say "the store went from /etc/appliance/state to /var/lib/appliance; its old place leads there"
	fi
	run ln -s /var/lib/appliance "$etc/state"
	[ ! -d "$state/.arriving" ] || run rmdir "$state/.arriving"
}

in_use() { # whether a gateway holds the lock of a store in this folder
	for lock in "$1"/*.lock; do
		[ -e "$lock" ] || continue
		flock --nonblock --exclusive "$lock" true || return 0
	done
	return 1
}

# Links, units, and the running system

target() { readlink "$opt/$1" 2>/dev/null || true; }

point() { # a link is replaced in one step
	run ln -sfn "$2" "$opt/.$1"
	run mv -T "$opt/.$1" "$opt/$1"
}

place_units() {
	source=$1
	[ -d "$source" ] || source=$here # of a dry run
	for unit in $units; do copy_if_new "$source/$unit" "$units_in/$unit" 0644; done
	copy_if_new "$source/appliance.sh" "$root/usr/local/bin/appliance" 0755
	on_system systemctl daemon-reload
}

drop_old_releases() { # what runs, and the one before
	for one in "$opt"/releases/*; do
		[ -d "$one" ] || continue
		case releases/$(basename "$one") in
		"$(target current)" | "$(target previous)") ;;
		*) run rm -rf "$one" ;;
		esac
	done
}

start_it() {
	on_system systemctl enable appliance.socket appliance.service
	if [ -n "$fresh" ]; then
		say "installed ${release}. Now, as $opt/current/README.md says: write a provider's key to $etc/credentials/openai,"
		say "make a key of your own (appliance tenant create team; appliance key create --tenant team), and: systemctl start appliance"
	elif [ "$before" = "releases/$release" ]; then
		say "$release is installed; nothing to do"
	elif restart_it; then
		say "runs $release"
	elif [ -n "$before" ]; then
		go_back
		fail "$release does not start: journalctl -u appliance -n 50 says why; ${before#releases/} runs as before"
	else
		fail "it does not start: journalctl -u appliance -n 50 says why"
	fi
}

go_back() { # to what was before an upgrade, as if it had not been tried
	point current "$before"
	if [ -n "$older" ]; then point previous "$older"; else run rm -f "$opt/previous"; fi
	place_units "$opt/$before"
	restart_it || fail "$release does not start, and ${before#releases/} does not any more: journalctl -u appliance -n 50 says why"
	[ "$older" = "releases/$release" ] || run rm -rf "$opt/releases/$release"
}

restart_it() {
	on_system systemctl reset-failed appliance.service appliance.socket || true
	on_system systemctl start appliance.socket && on_system systemctl restart appliance.service
}

copy_if_new() {
	cmp -s "$1" "$2" || run install -m "$3" "$1" "$2"
}

on_system() {
	[ -n "$root" ] || run "$@" 9<&- # what is started does not keep the lock
}

run() {
	if [ -n "$dry" ]; then
		printf 'would: %s\n' "$*"
	else
		"$@"
	fi
}

say() { printf '%s\n' "${dry:+(dry run) }$*"; }

fail() {
	printf 'install.sh: %s\n' "$*" >&2
	exit 1
}

usage() {
	printf 'install.sh: %s\n' "$*" >&2
	sed -n '3,11s/^# \{0,1\}//p' "$0" >&2
	exit 64
}

main "$@"

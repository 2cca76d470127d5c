#!/bin/sh
# SPDX-License-Identifier: MIT OR Apache-2.0
#
# toolroot.sh CACHE: makes CACHE/toolroot-HASH, a Debian root with all tools, and points
# CACHE/toolroot at it. HASH is of what says how it is made. It is filled under another name
# and renamed when it is whole, so an interrupted run leaves nothing that looks done.

set -eu

here=$(cd "$(dirname "$0")" && pwd -P)
cache=$1
. "$here/common.sh"
. "$here/mirror.sh"

# Counts up when the way of unpacking below changes what comes out of it.
recipe=1
key=$( (echo "$release $recipe" && cat "$here/toolroot.list" "$here/finish.sh" "$here/backports-hook.sh") | sha256sum | cut -c1-16)
root=$cache/toolroot-$key

point() {
	[ "$(readlink "$cache/toolroot" 2>/dev/null)" = "toolroot-$key" ] || ln -sfn "toolroot-$key" "$cache/toolroot"
}

if [ -d "$root" ]; then
	point
	exit 0
fi

check_namespace
if ! command -v mmdebstrap >/dev/null; then
	[ "$(id -u)" = 0 ] || die "mmdebstrap is missing: have it installed (apt-get install mmdebstrap) and try again"
	say "installing mmdebstrap with apt-get"
	{ apt-get install -qy --no-install-recommends mmdebstrap || { apt-get update -q && apt-get install -qy --no-install-recommends mmdebstrap; }; } \
		>"$cache/apt.log" 2>&1 || die "apt-get could not install mmdebstrap: $(tail -n 1 "$cache/apt.log") (see $cache/apt.log)"
fi

free=$(df -Pk "$cache" | awk 'NR == 2 { print int($4 / 1048576) }')
[ "$free" -ge 10 ] || die "$cache has $free GiB free and 10 are needed: free some or give another place with ASAHI_CACHE=DIR"

# One maker at a time; whoever waited finds it made.
exec 9>"$cache/toolroot.lock"
flock 9
if [ -d "$root" ]; then
	point
	exit 0
fi

include=$(sed -n "s/#.*//; s,^b:\(.*\)\$,\1/$release-backports,; /./p" "$here/toolroot.list" | tr -s ' \n' ',,')
line=$(source_line "$release")
new=$root.new.$$
log=$cache/toolroot.log
rm -rf "$cache"/toolroot-*.new.*
trap 'rm -rf "$new"' EXIT
trap 'exit 130' INT TERM HUP

set --
for scheme in http https; do
	proxy=$(apt_proxy "$scheme")
	[ -z "$proxy" ] || set -- "$@" --aptopt="Acquire::$scheme::Proxy \"$proxy\""
done

# Programs for the guest link against its libraries, whatever this machine is.
arch=$(dpkg --print-architecture)
[ "$arch" = arm64 ] || set -- "$@" --architectures="$arch,arm64"

say "tool root: unpacking Debian $release and its backports${line:+ from $(echo "$line" | sed 's/^deb \(\[.*\] \)\{0,1\}\([^ ]*\) .*/\2/')} (a minute or two; log in $log)"
# Unpacked and not installed: it needs no second user id and half the time. --no-same-owner makes
# everything the (mapped) root's own. Backports are a second line beside whatever the first one is.
if ! (
	TAR_OPTIONS=--no-same-owner in_namespace \
		mmdebstrap --mode=root --variant=extract --skip=check/qemu,chroot/mount --include="${include%,}" \
		--aptopt='APT::Sandbox::User "root"' "$@" \
		--setup-hook="$here/backports-hook.sh" \
		"$release" "$new" ${line:+"$line"}
) >"$log" 2>&1 9>&-; then
	why=$(grep -aE '^(E:|Err:|W: Failed)|No space left|Permission denied' "$log" | grep -av 'main() received' | head -n 1)
	case $(cat "$log") in
	*"No space left"*) why="the disk is full: free some or give another place with ASAHI_CACHE=DIR" ;;
	*"Could not resolve"* | *"Temporary failure resolving"* | *"Could not connect"* | *"Connection failed"* | *"connection timed out"*)
		why="the package archive cannot be reached: check the network, or give an archive with MIRROR=URL" ;;
	esac
	[ -n "$why" ] || tail -n 15 "$log" >&2
	die "tool root: ${why:-mmdebstrap failed} (log: $log)"
fi

"$here/finish.sh" "$new" >>"$log" 2>&1 9>&- || die "tool root: $(tail -n 1 "$log") (log: $log)"
mv -T "$new" "$root"
trap - EXIT
point
# Those made from other inputs are of no use any more, but one may be in use by another run.
for old in "$cache"/toolroot-*; do
	[ "$old" = "$root" ] || rm -rf "$old"
done

#!/bin/sh
# SPDX-License-Identifier: MIT OR Apache-2.0
#
# bootstrap.sh VERB: makes the tool root if there is none, goes into it, builds the harness there and
# becomes it. This is all that runs with the host's own programs.

set -eu

here=$(cd "$(dirname "$0")" && pwd -P)
src=$(cd "$here/../../../.." && pwd -P)
verb=${1:-help}

. "$here/common.sh"

# A user's own cache may be given; the one in the checkout makes a fresh clone start from nothing.
cache=${ASAHI_CACHE:-$src/.cache}
case $cache in /*) ;; *) cache=$src/$cache ;; esac

case $verb in
help)
	exec cat "$here/help.txt"
	;;
clean)
	rm -rf "$cache/build" || die "cannot remove $cache/build: $(owner_hint "$cache/build")"
	exit 0
	;;
distclean)
	rm -rf "$cache" || die "cannot remove $cache: $(owner_hint "$cache")"
	exit 0
	;;
esac

for place in "$src" "$cache"; do
	case $place/ in
	/usr/* | /etc/*) die "$place is under /usr or /etc, which the tool root covers: move it elsewhere" ;;
	*[[:space:],:]*) die "$place: mmdebstrap and make want a path without blanks, commas and colons" ;;
	esac
done
if ! mkdir -p "$cache" 2>/dev/null || [ ! -w "$cache" ]; then
	die "cannot write to $cache: give a place of your own with ASAHI_CACHE=DIR"
fi
cache=$(cd "$cache" && pwd -P)

"$here/toolroot.sh" "$cache"
exec "$here/enter.sh" "$src" "$cache" "$verb"

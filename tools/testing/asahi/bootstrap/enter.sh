#!/bin/sh
# SPDX-License-Identifier: MIT OR Apache-2.0
#
# enter.sh SRC CACHE VERB: goes into the tool root, builds the harness there and becomes it.
#
# The tool root's /usr and /etc are laid over the host's in a private mount namespace. All other
# paths stay what they are, so that what a person names on the command line needs no translation,
# and nothing stays mounted when the run ends, however it ends.

set -eu

here=$(cd "$(dirname "$0")" && pwd -P)
. "$here/common.sh"

if [ "${1:-}" = --inside ]; then
	src=$2
	cache=$3
	verb=$4
	cd "$src/tools/testing/asahi"
	mkdir -p "$cache/build"
	if ! cargo build --quiet --locked -p harness 2>"$cache/build/cargo-harness.log"; then
		tail -n 15 "$cache/build/cargo-harness.log" >&2
		die "cannot build the harness (log: $cache/build/cargo-harness.log)"
	fi
	object=$cache/build/status.so
	if [ ! -e "$object" ] || [ -n "$(find "$here/status.c" -newer "$object")" ]; then
		clang -shared -fPIC -O2 -nostdlib "-DDIR=\"$cache/build\"" -o "$object.$$" "$here/status.c" ||
			die "cannot build $object"
		mv "$object.$$" "$object"
	fi
	cd "$src"
	exec "$CARGO_TARGET_DIR/debug/harness" "$verb"
fi

if [ "${1:-}" = --mount ]; then
	src=$2
	cache=$3
	verb=$4
	root=$(readlink -f "$cache/toolroot")
	for dir in bin sbin lib; do
		[ -L "/$dir" ] || die "/$dir is a directory of its own here; a host with a merged /usr (Debian 12 or later) is needed"
	done
	mount --bind "$(readlink -f /etc/resolv.conf)" "$root/etc/resolv.conf" 2>/dev/null || :
	if [ -n "$ASAHI_CERTS" ]; then mount --bind "$ASAHI_CERTS" "$root/etc/ssl/certs/ca-certificates.crt"; fi
	mkdir -p "$root/usr/scratch"
	mount -t tmpfs -o mode=700 scratch "$root/usr/scratch"
	mount --rbind "$root/usr" /usr
	mount --rbind "$root/etc" /etc
	hash -r
	cd "$src"
	exec "$here/enter.sh" --inside "$src" "$cache" "$verb"
fi

src=$1
cache=$2
verb=$3

check_namespace

certs=
for file in "${SSL_CERT_FILE:-}" /etc/ssl/certs/ca-certificates.crt /etc/pki/tls/certs/ca-bundle.crt; do
	if [ -r "$file" ]; then
		certs=$(readlink -f "$file")
		break
	fi
done
if [ -f "${CARGO_HOME:-${HOME:-/nonexistent}/.cargo}/config.toml" ]; then
	mkdir -p "$cache/cargo"
	cp "${CARGO_HOME:-$HOME/.cargo}/config.toml" "$cache/cargo/config.toml"
fi

# Nothing of the caller's environment goes in but what is named here: a stray ARCH, MAKEFLAGS or
# RUSTFLAGS would change what is built. What cargo keeps for incremental builds is a gigabyte.
set -- \
	PATH=/usr/lib/llvm-21/bin:/usr/sbin:/usr/bin:/sbin:/bin \
	"HOME=${HOME:-/}" "TERM=${TERM:-dumb}" LANG=C.UTF-8 \
	SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt \
	"CARGO_HOME=$cache/cargo" "CARGO_TARGET_DIR=$cache/build/target" CARGO_INCREMENTAL=0 \
	ASAHI_SCRATCH=/usr/scratch "ASAHI_SRC=$src" "ASAHI_CACHE=$cache" "ASAHI_CERTS=$certs" "ASAHI_RELEASE=$release"
. "$here/mirror.sh"
set -- "$@" "ASAHI_SOURCE=$(source_line "$release")"
for scheme in http https; do
	proxy=$(apt_proxy "$scheme")
	[ -z "$proxy" ] || set -- "$@" "ASAHI_APT_$scheme=$proxy"
done
for name in http_proxy https_proxy no_proxy all_proxy HTTP_PROXY HTTPS_PROXY NO_PROXY ALL_PROXY \
	ASAHI_CMD ASAHI_SHARE ASAHI_TIMEOUT ASAHI_CAPTURE ASAHI_KCONFIG ASAHI_CMDLINE ASAHI_KSRC \
	ASAHI_FAULT ASAHI_DEBUG ASAHI_TRACE ASAHI_WAIT ASAHI_PIGLIT ASAHI_ONLY ASAHI_TEST ASAHI_SEED \
	ASAHI_PROFILE ASAHI_FILTER ASAHI_WHERE ASAHI_SHARD ASAHI_SAMPLE ASAHI_BASELINE ASAHI_SHIM \
	ASAHI_PACKAGES ASAHI_WAYLAND \
	ASAHI_SAVE ASAHI_STATUS ASAHI_KERNEL ASAHI_VAGX ASAHI_VERBOSE; do
	eval "value=\${$name:-}"
	# shellcheck disable=SC2154 # assigned by the eval
	[ -z "$value" ] || set -- "$@" "$name=$value"
done
in_namespace env -i "$@" "$here/enter.sh" --mount "$src" "$cache" "$verb"

# SPDX-License-Identifier: MIT OR Apache-2.0
# shellcheck shell=sh
#
# What the bootstrap's scripts share.

# The release that the roots are made of.
# shellcheck disable=SC2034 # for those who read this file
release=trixie

die() {
	echo "error: $*" >&2
	exit 1
}

say() {
	echo "$*" >&2
}

owner_hint() {
	echo "it belongs to $(stat -c %U "$1" 2>/dev/null || echo someone else)"
}

# in_namespace CMD...: a private mount namespace, as the root of a user namespace when not root.
# One mapped user is enough, because nothing in the roots is owned by anybody else.
in_namespace() {
	if [ "$(id -u)" = 0 ]; then
		exec unshare --mount --propagation private "$@"
	fi
	exec unshare --user --map-root-user --mount --propagation private "$@"
}

check_namespace() {
	command -v unshare >/dev/null || die "unshare is missing: apt-get install util-linux"
	(in_namespace true) 2>/dev/null && return
	if [ "$(id -u)" = 0 ]; then
		die "this root may not make mount namespaces (a container without CAP_SYS_ADMIN?): run it where it may"
	fi
	die "no unprivileged user namespaces here: run as root, or as root: sysctl -w kernel.unprivileged_userns_clone=1 user.max_user_namespaces=10000"
}

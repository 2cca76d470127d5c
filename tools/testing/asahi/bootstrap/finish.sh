#!/bin/sh
# SPDX-License-Identifier: MIT OR Apache-2.0
#
# finish.sh ROOT: does for an unpacked tool root what the packages' install scripts would have done,
# as far as anything here needs it, and drops what nothing here reads.

set -eu
cd "$1"

rm -rf usr/share/doc usr/share/man usr/share/locale usr/share/info usr/share/icons usr/share/sounds var/cache/apt

# The guest's libraries are linked against; nothing runs the compiler that comes with its Rust.
[ "$(dpkg --print-architecture)" = arm64 ] ||
	rm -f usr/lib/aarch64-linux-gnu/libLLVM* usr/lib/aarch64-linux-gnu/librustc_driver* usr/lib/aarch64-linux-gnu/libz3*

cp usr/share/base-passwd/passwd.master etc/passwd
cp usr/share/base-passwd/group.master etc/group
: >etc/resolv.conf
printf '127.0.0.1\tlocalhost\n::1\tlocalhost\n' >etc/hosts
cp usr/share/libc-bin/nsswitch.conf etc/nsswitch.conf 2>/dev/null || echo 'hosts: files dns' >etc/nsswitch.conf

# The bundle of certificates; a host's own is laid over it on entry.
mkdir -p etc/ssl/certs
cat usr/share/ca-certificates/mozilla/*.crt >etc/ssl/certs/ca-certificates.crt

# Alternatives.
alternative() {
	[ -e "usr/bin/$1" ] || [ -L "usr/bin/$1" ] || ln -s "$2" "usr/bin/$1"
}
alternative cc gcc
alternative c++ g++
alternative awk mawk
alternative yacc bison.yacc
alternative which which.debianutils
alternative pager more

for tool in usr/lib/llvm-21/bin/clang usr/bin/rustc usr/lib/rustlib/aarch64-unknown-linux-gnu usr/bin/cargo usr/bin/bindgen usr/bin/qemu-system-aarch64 usr/bin/mkfs.erofs; do
	[ -x "$tool" ] || { echo "the archive gave no $tool"; exit 1; }
done
ldconfig -r . 2>/dev/null || /sbin/ldconfig -r .

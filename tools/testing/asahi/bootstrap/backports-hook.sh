#!/bin/sh
# SPDX-License-Identifier: MIT OR Apache-2.0
#
# backports-hook.sh ROOT: a setup hook of mmdebstrap. Names the backports of whatever archive the root
# is made from as a second source: mmdebstrap has no option for that where it picks the archive.

set -eu
list=$1/etc/apt/sources.list
more=$(sed -n '/^deb .* [a-z]* main/s/ \([a-z]*\) main.*/ \1-backports main/p' "$list")
echo "$more" >>"$list"

#!/bin/sh
# SPDX-License-Identifier: MIT OR Apache-2.0
#
# Runs a command in a Wayland session without a display: weston's headless back-end, which composes with
# the same GL driver as the command. The buffers go from the command's process to weston's as they do
# on a real GPU, as dma-bufs.
#
# It composes rarely: it is there for the command's sake, and is not to take its time. The kiosk shell
# of weston 14 would be simpler, and crashes when a second window comes after the first.

XDG_RUNTIME_DIR=$(mktemp -d) || exit 125
export XDG_RUNTIME_DIR
weston --backend=headless --renderer=gl --refresh-rate="${WAYLAND_RATE:-1000}" --width=1024 --height=768 \
	--idle-time=0 --no-config --shell=desktop --socket=wayland >"$XDG_RUNTIME_DIR/log" 2>&1 &
weston=$!
trap 'kill $weston 2>/dev/null; wait $weston 2>/dev/null; rm -rf "$XDG_RUNTIME_DIR"' EXIT
tries=0
while [ ! -S "$XDG_RUNTIME_DIR/wayland" ]; do
	tries=$((tries + 1))
	if [ $tries -gt 300 ] || ! kill -0 $weston 2>/dev/null; then
		cat "$XDG_RUNTIME_DIR/log" >&2
		kill $weston 2>/dev/null
		wait $weston
		echo "weston does not run: it ended with status $?" >&2
		exit 125
	fi
	sleep 0.1
done
export WAYLAND_DISPLAY=wayland EGL_PLATFORM=wayland
"$@"

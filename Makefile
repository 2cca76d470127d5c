# SPDX-License-Identifier: GPL-2.0-only OR MIT
#
# The verbs of this tree; `make help` explains them. Each is one line into the harness, which the
# bootstrap builds with the tools of a Debian root of its own.

VERBS := run test bench uapi shim compare vm shell kunit piglit kernel lint clean distclean help
PARAMETERS := CMD SHARE TIMEOUT CAPTURE KCONFIG CMDLINE KSRC FAULT DEBUG TRACE WAIT PIGLIT ONLY SAVE TEST SEED PACKAGES WAYLAND MIRROR \
	PROFILE FILTER WHERE SHARD SAMPLE BASELINE

# They go down as they were typed: make must not expand a `$$` that is meant for the guest's shell.
$(foreach p,$(PARAMETERS),$(eval export ASAHI_$(p) := $$(value $(p))))
unexport $(PARAMETERS)

# Without this, make ends with 2 whatever the guest's command ended with.
# The bootstrap builds it, so it is there from the second run on.
STATUS := $(wildcard $(or $(ASAHI_CACHE),.cache)/build/status.so)
ifneq ($(and $(STATUS),$(filter load,$(.FEATURES))),)
-load $(STATUS)
export ASAHI_STATUS := 1
endif

.DEFAULT_GOAL := help
.PHONY: $(VERBS)
$(VERBS):
	@tools/testing/asahi/bootstrap/bootstrap.sh $@

/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
#ifndef VAGX_DTBO_H
#define VAGX_DTBO_H

/* The overlays, which scripts/Makefile.dtbs wraps into object files */
extern const char __dtbo_vagx_t8103_begin[];
extern const char __dtbo_vagx_t8103_end[];

#endif

/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
#ifndef VAGX_BENCH_H
#define VAGX_BENCH_H

#include <linux/of.h>
#include <linux/pci.h>

/**
 * struct vagx_bench_config - what measurements need of the virtual AGX
 *
 * @pdev:   The function.
 * @regs:   Its straps.
 * @vector: The MSI-X vector that belongs to no line.
 * @gpu:    The node of the GPU.
 * @mbox:   The node of its mailbox.
 */
struct vagx_bench_config {
	struct pci_dev *pdev;
	void __iomem *regs;
	unsigned int vector;
	struct device_node *gpu;
	struct device_node *mbox;
};

int vagx_bench_init(const struct vagx_bench_config *config);

#endif

// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * Shows a virtual AGX, which is a PCI function, as the nodes of Apple's SoC
 *
 * A driver for Apple's GPU is a platform driver: it expects a node of the
 * device tree with register windows, a mailbox, reserved memory and a power
 * domain. The virtual AGX has all of that, but QEMU can only plug it in as a
 * PCI function. This module stands between the two. It applies an overlay that
 * is the chip's own device tree source, and makes true what the overlay says:
 *
 * - "ranges" of the bus maps the chip's addresses to BAR0, which holds the
 *   registers verbatim;
 * - four lines of the interrupt controller are four MSI-X vectors, made
 *   level-triggered by mask registers in BAR2: the function raises a vector
 *   again when its line is unmasked while the condition holds;
 * - the power domain is always on.
 *
 * The memory regions must be in the device tree that the guest was booted
 * with, because memory has to be reserved before there are modules.
 *
 * Everything is undone in reverse order by devres when the function is
 * unbound: first the platform devices go, and their drivers with them.
 */

#include <linux/delay.h>
#include <linux/device.h>
#include <linux/interrupt.h>
#include <linux/io.h>
#include <linux/iopoll.h>
#include <linux/irq.h>
#include <linux/irqdomain.h>
#include <linux/math64.h>
#include <linux/module.h>
#include <linux/of.h>
#include <linux/of_platform.h>
#include <linux/pci.h>
#include <linux/platform_device.h>
#include <linux/pm_domain.h>
#include <linux/time64.h>

#include <asm/arch_timer.h>

#include <dt-bindings/interrupt-controller/apple-aic.h>

#include "vagx_bench.h"
#include "vagx_dtbo.h"

#define VAGX_BAR_WINDOW		0
#define VAGX_BAR_STRAPS		2

/* Straps and interrupt masks, in BAR2 */
#define VAGX_MAGIC		0x00
#define   VAGX_MAGIC_VALUE	0x58474156	/* "VAGX" */
#define VAGX_CONTRACT		0x04
#define   VAGX_CONTRACT_VALUE	1
#define VAGX_CHIP		0x08
#define VAGX_ABI(n)		(0x0c + 4 * (n))
#define VAGX_GUEST_TIME		0x20
#define VAGX_IRQ_MASK_SET	0x44
#define VAGX_IRQ_MASK_CLR	0x48

#define VAGX_NUM_LINES		4
/* Behind those of the lines, one for measurements */
#define VAGX_BENCH_VECTOR	VAGX_NUM_LINES
#define VAGX_NUM_VECTORS	(VAGX_BENCH_VECTOR + 1)

/* Longer than CONFIG_DEBUG_KOBJECT_RELEASE delays anything */
#define VAGX_IDLE_TIMEOUT_US	(10 * USEC_PER_SEC)

/* A device of the chip and its address there, which is also in its name */
struct vagx_node {
	const char *compatible;
	const char *name;
	u64 address;
};

struct vagx_chip {
	u32 id;
	const char *name;
	const char *dtbo_begin;
	const char *dtbo_end;
	/* The part of the address space that BAR0 shows */
	u64 window;
	u64 window_size;
	/* The number that the chip's interrupt controller gives to line 0 */
	u32 first_irq;
	struct vagx_node nodes[2];
};

static const struct vagx_chip vagx_chips[] = {
	{
		.id = 0x8103,
		.name = "t8103",
		.dtbo_begin = __dtbo_vagx_t8103_begin,
		.dtbo_end = __dtbo_vagx_t8103_end,
		.window = 0x204000000,
		.window_size = 0x4000000,
		.first_irq = 575,
		.nodes = {
			{ "apple,agx-g13g", "206400000.gpu", 0x206400000 },
			{ "apple,asc-mailbox-v4", "206408000.mbox", 0x206408000 },
		},
	},
};

/* What the overlay refers to in the device tree that the guest booted with */
static const char * const vagx_labels[] = {
	"uat_ttbs", "uat_pagetables", "uat_handoff",
	"gpu_hw_cal_a", "gpu_hw_cal_b", "gpu_globals",
};

struct vagx;

struct vagx_line {
	struct vagx *vagx;
	unsigned int index;
	int irq;
};

struct vagx {
	struct pci_dev *pdev;
	void __iomem *regs;
	const struct vagx_chip *chip;

	/* 0 when the nodes are left from an earlier time */
	int overlay;
	struct of_changeset changeset;
	struct device_node *soc;
	struct device_node *gpu;
	struct device_node *mbox;
	struct device_node *aic;
	/* References of soc, gpu and mbox while they have no devices */
	unsigned int idle_refs[3];
	struct device_node *ps_gfx;
	struct platform_device *bus;

	unsigned int num_vectors;
	struct irq_domain *domain;
	struct vagx_line lines[VAGX_NUM_LINES];
	struct generic_pm_domain pd;
};

/* Interrupts */

static void vagx_irq_mask(struct irq_data *d)
{
	struct vagx *vagx = irq_data_get_irq_chip_data(d);

	writel(BIT(irqd_to_hwirq(d)), vagx->regs + VAGX_IRQ_MASK_SET);
}

static void vagx_irq_unmask(struct irq_data *d)
{
	struct vagx *vagx = irq_data_get_irq_chip_data(d);

	writel(BIT(irqd_to_hwirq(d)), vagx->regs + VAGX_IRQ_MASK_CLR);
}

static const struct irq_chip vagx_irq_chip = {
	.name = "vagx",
	.irq_mask = vagx_irq_mask,
	.irq_unmask = vagx_irq_unmask,
	.flags = IRQCHIP_SKIP_SET_WAKE,
};

static int vagx_irq_map(struct irq_domain *d, unsigned int virq, irq_hw_number_t hw)
{
	irq_set_chip_data(virq, d->host_data);
	irq_set_chip_and_handler(virq, &vagx_irq_chip, handle_level_irq);
	irq_set_status_flags(virq, IRQ_LEVEL);
	return 0;
}

/* Takes what Apple's interrupt controller takes: kind, number, trigger */
static int vagx_irq_xlate(struct irq_domain *d, struct device_node *np,
			  const u32 *intspec, unsigned int intsize,
			  irq_hw_number_t *hwirq, unsigned int *type)
{
	struct vagx *vagx = d->host_data;
	u32 first = vagx->chip->first_irq;

	if (intsize != 3 || intspec[0] != AIC_IRQ || intspec[2] != IRQ_TYPE_LEVEL_HIGH)
		return -EINVAL;
	if (intspec[1] < first || intspec[1] - first >= VAGX_NUM_LINES)
		return -EINVAL;

	*hwirq = intspec[1] - first;
	*type = intspec[2];
	return 0;
}

static const struct irq_domain_ops vagx_irq_domain_ops = {
	.map = vagx_irq_map,
	.xlate = vagx_irq_xlate,
};

static irqreturn_t vagx_msi(int irq, void *data)
{
	struct vagx_line *line = data;

	/*
	 * A vector may still arrive after its line was masked or before
	 * anybody asked for it; nobody's interrupt is not an error then.
	 */
	generic_handle_domain_irq(line->vagx->domain, line->index);
	return IRQ_HANDLED;
}

static void vagx_free_irqs(void *data)
{
	struct vagx *vagx = data;
	int i;

	for (i = 0; i < VAGX_NUM_LINES; i++) {
		if (vagx->lines[i].irq)
			free_irq(vagx->lines[i].irq, &vagx->lines[i]);
	}
	pci_free_irq_vectors(vagx->pdev);

	for (i = 0; i < VAGX_NUM_LINES; i++)
		irq_dispose_mapping(irq_find_mapping(vagx->domain, i));
	irq_domain_remove(vagx->domain);
}

static int vagx_init_irqs(struct vagx *vagx)
{
	struct pci_dev *pdev = vagx->pdev;
	struct device *dev = &pdev->dev;
	int ret, i;

	writel(GENMASK(VAGX_NUM_LINES - 1, 0), vagx->regs + VAGX_IRQ_MASK_SET);

	/* Before the action that frees the interrupts: devres goes backwards. */
	ret = pci_alloc_irq_vectors(pdev, VAGX_NUM_LINES, VAGX_NUM_VECTORS, PCI_IRQ_MSIX);
	if (ret < 0)
		return dev_err_probe(dev, ret, "cannot get %d MSI-X vectors\n", VAGX_NUM_LINES);
	vagx->num_vectors = ret;

	vagx->domain = irq_domain_create_linear(of_fwnode_handle(vagx->aic), VAGX_NUM_LINES,
						&vagx_irq_domain_ops, vagx);
	if (!vagx->domain) {
		pci_free_irq_vectors(pdev);
		return dev_err_probe(dev, -ENOMEM, "cannot make an interrupt domain\n");
	}

	ret = devm_add_action_or_reset(dev, vagx_free_irqs, vagx);
	if (ret)
		return ret;

	for (i = 0; i < VAGX_NUM_LINES; i++) {
		struct vagx_line *line = &vagx->lines[i];
		int irq = pci_irq_vector(pdev, i);

		line->vagx = vagx;
		line->index = i;
		ret = request_irq(irq, vagx_msi, IRQF_NO_THREAD, pci_name(pdev), line);
		if (ret)
			return dev_err_probe(dev, ret, "cannot request MSI-X vector %d\n", i);
		line->irq = irq;
	}
	return 0;
}

/* Power domain */

static void vagx_remove_pd(void *data)
{
	struct vagx *vagx = data;

	of_genpd_del_provider(vagx->ps_gfx);
	pm_genpd_remove(&vagx->pd);
}

static int vagx_init_pd(struct vagx *vagx)
{
	struct device *dev = &vagx->pdev->dev;
	int ret;

	vagx->pd.name = "vagx-gfx";
	vagx->pd.flags = GENPD_FLAG_ALWAYS_ON;
	ret = pm_genpd_init(&vagx->pd, NULL, false);
	if (ret)
		return dev_err_probe(dev, ret, "cannot make a power domain\n");

	ret = of_genpd_add_provider_simple(vagx->ps_gfx, &vagx->pd);
	if (ret) {
		pm_genpd_remove(&vagx->pd);
		return dev_err_probe(dev, ret, "cannot provide the power domain\n");
	}
	return devm_add_action_or_reset(dev, vagx_remove_pd, vagx);
}

/* Device tree */

static int vagx_check_labels(struct vagx *vagx)
{
	struct device_node *symbols __free(device_node) = of_find_node_by_path("/__symbols__");
	struct device *dev = &vagx->pdev->dev;
	int i;

	for (i = 0; i < ARRAY_SIZE(vagx_labels); i++) {
		if (!of_property_present(symbols, vagx_labels[i]))
			return dev_err_probe(dev, -ENODEV,
					     "device tree has no label %s; boot with one made by 'vagx boot-dtb'\n",
					     vagx_labels[i]);
	}
	return 0;
}

static void vagx_count_refs(struct vagx *vagx, unsigned int refs[3])
{
	refs[0] = kref_read(&vagx->soc->kobj.kref);
	refs[1] = kref_read(&vagx->gpu->kobj.kref);
	refs[2] = kref_read(&vagx->mbox->kobj.kref);
}

static bool vagx_nodes_are_idle(struct vagx *vagx)
{
	unsigned int refs[3];

	vagx_count_refs(vagx, refs);
	return refs[0] <= vagx->idle_refs[0] && refs[1] <= vagx->idle_refs[1] &&
	       refs[2] <= vagx->idle_refs[2];
}

static void vagx_put_nodes(struct vagx *vagx)
{
	of_node_put(vagx->ps_gfx);
	of_node_put(vagx->aic);
	of_node_put(vagx->mbox);
	of_node_put(vagx->gpu);
	of_node_put(vagx->soc);
}

static void vagx_remove_overlay(void *data)
{
	struct vagx *vagx = data;
	struct device *dev = &vagx->pdev->dev;
	bool idle;
	int ret;

	if (!vagx->overlay) {
		vagx_put_nodes(vagx);
		return;
	}

	/*
	 * Somebody may still hold a device that is gone, and through it the
	 * device's node: a DRM file, or CONFIG_DEBUG_KOBJECT_RELEASE for some
	 * seconds. Removing an overlay frees its nodes in an order that such a
	 * user does not survive, so it rather stays until the next boot.
	 */
	ret = read_poll_timeout(vagx_nodes_are_idle, idle, idle, 20 * USEC_PER_MSEC,
				VAGX_IDLE_TIMEOUT_US, false, vagx);
	vagx_put_nodes(vagx);
	if (ret) {
		dev_notice(dev, "devices are still in use, their nodes stay in the device tree\n");
		return;
	}

	ret = of_overlay_remove(&vagx->overlay);
	if (ret)
		dev_err(dev, "cannot remove the overlay: %pe\n", ERR_PTR(ret));
}

static int vagx_apply_overlay(struct vagx *vagx)
{
	const struct vagx_chip *chip = vagx->chip;
	struct device *dev = &vagx->pdev->dev;
	int ret;

	ret = vagx_check_labels(vagx);
	if (ret)
		return ret;

	ret = of_overlay_fdt_apply(chip->dtbo_begin, chip->dtbo_end - chip->dtbo_begin,
				   &vagx->overlay, NULL);
	if (ret) {
		/* An overlay that was applied in part has an id and must be removed. */
		if (vagx->overlay)
			of_overlay_remove(&vagx->overlay);
		return dev_err_probe(dev, ret, "cannot apply the overlay for %s\n", chip->name);
	}
	return 0;
}

/* Finds the nodes, which an earlier time may have left, or makes them */
static int vagx_init_nodes(struct vagx *vagx)
{
	struct device *dev = &vagx->pdev->dev;
	int ret;

	vagx->soc = of_find_node_by_path("/soc");
	if (!vagx->soc) {
		ret = vagx_apply_overlay(vagx);
		if (ret)
			return ret;
		vagx->soc = of_find_node_by_path("/soc");
	}

	vagx->gpu = of_get_child_by_name(vagx->soc, "gpu");
	vagx->mbox = of_parse_phandle(vagx->gpu, "mboxes", 0);
	vagx->aic = of_parse_phandle(vagx->mbox, "interrupt-parent", 0);
	vagx->ps_gfx = of_parse_phandle(vagx->gpu, "power-domains", 0);

	if (!of_node_check_flag(vagx->soc, OF_OVERLAY) ||
	    !of_device_is_compatible(vagx->gpu, vagx->chip->nodes[0].compatible)) {
		vagx_put_nodes(vagx);
		return dev_err_probe(dev, -EEXIST, "device tree already has another /soc\n");
	}

	/*
	 * The bus is a child of the root, so applying the overlay has made its
	 * device, which has a reference of the node. Take over: devices come
	 * when the nodes are complete, and go before the nodes do.
	 */
	vagx_count_refs(vagx, vagx->idle_refs);
	vagx->bus = of_find_device_by_node(vagx->soc);
	if (vagx->bus) {
		vagx->idle_refs[0]--;
		of_platform_device_destroy(&vagx->bus->dev, NULL);
		platform_device_put(vagx->bus);
	}
	return devm_add_action_or_reset(dev, vagx_remove_overlay, vagx);
}

static void vagx_revert_properties(void *data)
{
	struct vagx *vagx = data;
	int ret;

	ret = of_changeset_revert(&vagx->changeset);
	if (ret)
		dev_err(&vagx->pdev->dev, "cannot revert properties: %pe\n", ERR_PTR(ret));
	of_changeset_destroy(&vagx->changeset);
}

/* The bootloader's part: where the registers are, and what firmware this is */
static int vagx_add_properties(struct vagx *vagx)
{
	u64 to = pci_resource_start(vagx->pdev, VAGX_BAR_WINDOW);
	struct device *dev = &vagx->pdev->dev;
	u64 size = vagx->chip->window_size;
	u64 from = vagx->chip->window;
	u32 ranges[] = {
		upper_32_bits(from), lower_32_bits(from),
		upper_32_bits(to), lower_32_bits(to),
		upper_32_bits(size), lower_32_bits(size),
	};
	u32 abi[] = {
		readl(vagx->regs + VAGX_ABI(0)),
		readl(vagx->regs + VAGX_ABI(1)),
		readl(vagx->regs + VAGX_ABI(2)),
	};
	int ret;

	of_changeset_init(&vagx->changeset);
	ret = of_changeset_add_prop_u32_array(&vagx->changeset, vagx->soc, "ranges",
					      ranges, ARRAY_SIZE(ranges));
	if (!ret)
		ret = of_changeset_add_prop_u32_array(&vagx->changeset, vagx->gpu,
						      "apple,firmware-abi", abi, ARRAY_SIZE(abi));
	if (!ret)
		ret = of_changeset_apply(&vagx->changeset);
	if (ret) {
		of_changeset_destroy(&vagx->changeset);
		return dev_err_probe(dev, ret, "cannot add properties\n");
	}

	dev_info(dev, "%s with firmware %u.%u.%u at %pR\n", vagx->chip->name,
		 abi[0], abi[1], abi[2], &vagx->pdev->resource[VAGX_BAR_WINDOW]);
	return devm_add_action_or_reset(dev, vagx_revert_properties, vagx);
}

/* Platform devices */

static void vagx_depopulate(void *data)
{
	struct vagx *vagx = data;

	of_platform_depopulate(&vagx->bus->dev);
	of_platform_device_destroy(&vagx->bus->dev, NULL);
}

static int vagx_populate(struct vagx *vagx)
{
	struct of_dev_auxdata names[ARRAY_SIZE(vagx->chip->nodes) + 1] = {};
	u64 to = pci_resource_start(vagx->pdev, VAGX_BAR_WINDOW);
	struct device *dev = &vagx->pdev->dev;
	int ret, i;

	/* Devices are named after translated addresses, unless told otherwise. */
	for (i = 0; i < ARRAY_SIZE(vagx->chip->nodes); i++) {
		const struct vagx_node *node = &vagx->chip->nodes[i];

		names[i].compatible = (char *)node->compatible;
		names[i].phys_addr = node->address - vagx->chip->window + to;
		names[i].name = (char *)node->name;
	}

	vagx->bus = of_platform_device_create(vagx->soc, NULL, NULL);
	if (!vagx->bus)
		return dev_err_probe(dev, -ENODEV, "cannot make the bus\n");

	ret = of_platform_populate(vagx->soc, NULL, names, &vagx->bus->dev);
	if (ret) {
		vagx_depopulate(vagx);
		return dev_err_probe(dev, ret, "cannot make platform devices\n");
	}
	return devm_add_action_or_reset(dev, vagx_depopulate, vagx);
}

/* The PCI function */

static int vagx_read_straps(struct vagx *vagx)
{
	struct device *dev = &vagx->pdev->dev;
	u32 magic, contract, id;
	int i;

	magic = readl(vagx->regs + VAGX_MAGIC);
	if (magic != VAGX_MAGIC_VALUE)
		return dev_err_probe(dev, -ENODEV,
				     "not a virtual AGX: magic is %#x (is vagx still running?)\n",
				     magic);

	contract = readl(vagx->regs + VAGX_CONTRACT);
	if (contract != VAGX_CONTRACT_VALUE)
		return dev_err_probe(dev, -ENODEV,
				     "vagx speaks version %u of the contract, this module version %u\n",
				     contract, VAGX_CONTRACT_VALUE);

	id = readl(vagx->regs + VAGX_CHIP);
	for (i = 0; i < ARRAY_SIZE(vagx_chips); i++) {
		if (vagx_chips[i].id == id) {
			vagx->chip = &vagx_chips[i];
			break;
		}
	}
	if (!vagx->chip)
		return dev_err_probe(dev, -ENODEV, "unknown chip %#x\n", id);

	if (pci_resource_len(vagx->pdev, VAGX_BAR_WINDOW) < vagx->chip->window_size)
		return dev_err_probe(dev, -ENODEV, "BAR0 is smaller than the window of %s\n",
				     vagx->chip->name);
	return 0;
}

/*
 * On the chip, the GPU and the CPUs read the same counter, and user space compares
 * their times. Here only the guest knows what its counter reads.
 */
static void vagx_tell_time(struct vagx *vagx)
{
	writeq(mul_u64_u32_div(__arch_counter_get_cntvct(), NSEC_PER_SEC,
			       arch_timer_get_cntfrq()),
	       vagx->regs + VAGX_GUEST_TIME);
}

/*
 * References on the devices made here, one line each: for tests that look
 * whether a driver has given back what it took.
 */
static ssize_t references_show(struct device *dev, struct device_attribute *attr, char *buf)
{
	struct vagx *vagx = pci_get_drvdata(to_pci_dev(dev));
	struct device_node *nodes[] = { vagx->gpu, vagx->mbox };
	ssize_t len = 0;
	int i;

	/*
	 * Some references are dropped late, and that is no leak: a device link
	 * holds both of its ends until a work item has run, and a kernel with
	 * this option runs the release of a kobject up to four seconds later.
	 */
	if (IS_ENABLED(CONFIG_DEBUG_KOBJECT_RELEASE))
		ssleep(5);
	device_link_wait_removal();

	for (i = 0; i < ARRAY_SIZE(nodes); i++) {
		struct platform_device *pdev = of_find_device_by_node(nodes[i]);

		if (!pdev)
			continue;
		/* One of them is the one just taken. */
		len += sysfs_emit_at(buf, len, "%s %u\n", dev_name(&pdev->dev),
				     kref_read(&pdev->dev.kobj.kref) - 1);
		platform_device_put(pdev);
	}
	return len;
}
static DEVICE_ATTR_RO(references);

static struct attribute *vagx_attrs[] = {
	&dev_attr_references.attr,
	NULL
};
ATTRIBUTE_GROUPS(vagx);

static int vagx_probe(struct pci_dev *pdev, const struct pci_device_id *id)
{
	struct device *dev = &pdev->dev;
	struct vagx *vagx;
	int ret;

	vagx = devm_kzalloc(dev, sizeof(*vagx), GFP_KERNEL);
	if (!vagx)
		return -ENOMEM;
	vagx->pdev = pdev;
	pci_set_drvdata(pdev, vagx);

	ret = pcim_enable_device(pdev);
	if (ret)
		return dev_err_probe(dev, ret, "cannot enable the function\n");

	/* BAR0 is not claimed here: the platform devices' drivers claim its parts. */
	vagx->regs = pcim_iomap_region(pdev, VAGX_BAR_STRAPS, "vagx straps");
	if (IS_ERR(vagx->regs))
		return dev_err_probe(dev, PTR_ERR(vagx->regs), "cannot map BAR2\n");

	ret = vagx_read_straps(vagx);
	if (ret)
		return ret;

	vagx_tell_time(vagx);
	pci_set_master(pdev);

	ret = vagx_init_nodes(vagx);
	if (ret)
		return ret;

	ret = vagx_init_irqs(vagx);
	if (ret)
		return ret;

	/* Measurements are nothing that anybody has to be able to do. */
	if (vagx->num_vectors > VAGX_BENCH_VECTOR) {
		ret = vagx_bench_init(&(struct vagx_bench_config) {
			.pdev = pdev,
			.regs = vagx->regs,
			.vector = VAGX_BENCH_VECTOR,
			.gpu = vagx->gpu,
			.mbox = vagx->mbox,
		});
		if (ret)
			return ret;
	}

	ret = vagx_init_pd(vagx);
	if (ret)
		return ret;

	ret = vagx_add_properties(vagx);
	if (ret)
		return ret;

	return vagx_populate(vagx);
}

static const struct pci_device_id vagx_ids[] = {
	{ PCI_DEVICE(0x1209, 0xa6c5) },
	{ }
};
MODULE_DEVICE_TABLE(pci, vagx_ids);

static struct pci_driver vagx_driver = {
	.name = "vagx-guest",
	.id_table = vagx_ids,
	.probe = vagx_probe,
	.dev_groups = vagx_groups,
};
module_pci_driver(vagx_driver);

MODULE_DESCRIPTION("Virtual AGX as nodes of Apple's SoC");
MODULE_LICENSE("Dual MIT/GPL");

// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * Measures what the machine costs without a GPU driver
 *
 * What a driver achieves can only be judged beside what the machine allows. This
 * measures the latter on the same guest: a doorbell and an interrupt with nothing
 * between them, the same through the mailbox, a register access, and page tables
 * filled by the C functions.
 *
 * /sys/kernel/debug/vagx/bench takes one request by write(2) and then gives the
 * results by read(2), one line for each round:
 *
 *   echo N         nanoseconds from a doorbell to a sleeping task that its
 *                  interrupt has woken
 *   mailbox N      the same, with a message through the mailbox each way; only
 *                  while no driver is bound to the GPU
 *   register N     nanoseconds for reading a register
 *   clock N        nanoseconds that reading vagx's clock took, and how far that
 *                  clock is ahead of the guest's
 *   tables N FD    nanoseconds for mapping the buffer of a dma-buf in new page
 *                  tables, and for unmapping it, and the number of its pieces
 */

#include <linux/completion.h>
#include <linux/debugfs.h>
#include <linux/device.h>
#include <linux/dma-buf.h>
#include <linux/dma-mapping.h>
#include <linux/interrupt.h>
#include <linux/io.h>
#include <linux/io-64-nonatomic-lo-hi.h>
#include <linux/io-pgtable.h>
#include <linux/iommu.h>
#include <linux/ktime.h>
#include <linux/math64.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/of_platform.h>
#include <linux/platform_device.h>
#include <linux/sizes.h>
#include <linux/slab.h>
#include <linux/uaccess.h>

#include <asm/arch_timer.h>

#include "mailbox.h"
#include "vagx_bench.h"

/* Straps, in BAR2 */
#define VAGX_CHIP		0x08
#define VAGX_GUEST_TIME		0x20
#define VAGX_ECHO		0x60
#define VAGX_ECHO_MAILBOX	0x64

#define VAGX_BENCH_ROUNDS	4096
#define VAGX_BENCH_LINE		64
#define VAGX_BENCH_TIMEOUT	HZ

/* The physical addresses of an M1, and where its user space may map */
#define VAGX_BENCH_OAS		40
#define VAGX_BENCH_IOVA		0x2000000000UL

/**
 * struct vagx_bench - the measurements of one function
 *
 * @config: What they need of it.
 * @lock:   Serialises them, and the use of an open file's results.
 * @told:   The interrupt that a measurement waits for has come.
 */
struct vagx_bench {
	struct vagx_bench_config config;
	/* One at a time, or they would measure each other */
	struct mutex lock;
	struct completion told;
};

/**
 * struct vagx_bench_file - an open file
 *
 * @bench: Whose file it is.
 * @text:  The results of the last request.
 * @len:   The length of @text.
 */
struct vagx_bench_file {
	struct vagx_bench *bench;
	char *text;
	size_t len;
};

static __printf(2, 3)
void vagx_bench_result(struct vagx_bench_file *file, const char *fmt, ...)
{
	size_t size = VAGX_BENCH_ROUNDS * VAGX_BENCH_LINE;
	va_list args;

	va_start(args, fmt);
	file->len += vscnprintf(file->text + file->len, size - file->len, fmt, args);
	va_end(args);
}

static irqreturn_t vagx_bench_irq(int irq, void *data)
{
	struct vagx_bench *bench = data;

	complete(&bench->told);
	return IRQ_HANDLED;
}

static int vagx_bench_echo(struct vagx_bench_file *file, unsigned int rounds)
{
	struct vagx_bench *bench = file->bench;

	while (rounds--) {
		u64 start;

		reinit_completion(&bench->told);
		start = ktime_get_ns();
		writel(1, bench->config.regs + VAGX_ECHO);
		if (!wait_for_completion_timeout(&bench->told, VAGX_BENCH_TIMEOUT))
			return -ETIMEDOUT;
		vagx_bench_result(file, "%llu\n", ktime_get_ns() - start);
	}
	return 0;
}

static void vagx_bench_rx(struct apple_mbox *mbox, struct apple_mbox_msg msg, void *cookie)
{
	struct vagx_bench *bench = cookie;

	complete(&bench->told);
}

static int vagx_bench_messages(struct vagx_bench_file *file, struct apple_mbox *mbox,
			       unsigned int rounds)
{
	struct vagx_bench *bench = file->bench;
	int ret;

	/* Whoever uses it has entered himself here, and takes himself out. */
	if (mbox->rx)
		return -EBUSY;
	mbox->rx = vagx_bench_rx;
	mbox->cookie = bench;
	ret = apple_mbox_start(mbox);
	if (ret)
		goto out;

	writel(1, bench->config.regs + VAGX_ECHO_MAILBOX);
	while (rounds--) {
		const struct apple_mbox_msg msg = { .msg0 = rounds, .msg1 = 0x21 };
		u64 start;

		reinit_completion(&bench->told);
		start = ktime_get_ns();
		ret = apple_mbox_send(mbox, msg, false);
		if (!ret && !wait_for_completion_timeout(&bench->told, VAGX_BENCH_TIMEOUT))
			ret = -ETIMEDOUT;
		if (ret)
			break;
		vagx_bench_result(file, "%llu\n", ktime_get_ns() - start);
	}
	writel(0, bench->config.regs + VAGX_ECHO_MAILBOX);
	apple_mbox_stop(mbox);
out:
	mbox->rx = NULL;
	mbox->cookie = NULL;
	return ret;
}

static int vagx_bench_mailbox(struct vagx_bench_file *file, unsigned int rounds)
{
	struct vagx_bench *bench = file->bench;
	struct platform_device *mbox, *gpu;
	int ret = -ENODEV;

	gpu = of_find_device_by_node(bench->config.gpu);
	mbox = of_find_device_by_node(bench->config.mbox);
	if (!gpu || !mbox)
		goto out;

	/* Neither gets another driver, or loses it, while these are held. */
	device_lock(&gpu->dev);
	device_lock(&mbox->dev);
	if (device_is_bound(&gpu->dev))
		ret = -EBUSY;
	else if (device_is_bound(&mbox->dev))
		ret = vagx_bench_messages(file, platform_get_drvdata(mbox), rounds);
	device_unlock(&mbox->dev);
	device_unlock(&gpu->dev);
out:
	platform_device_put(mbox);
	platform_device_put(gpu);
	return ret;
}

static int vagx_bench_register(struct vagx_bench_file *file, unsigned int rounds)
{
	while (rounds--) {
		u64 start = ktime_get_ns();

		readl(file->bench->config.regs + VAGX_CHIP);
		vagx_bench_result(file, "%llu\n", ktime_get_ns() - start);
	}
	return 0;
}

static u64 vagx_bench_counter_ns(void)
{
	return mul_u64_u32_div(__arch_counter_get_cntvct(), NSEC_PER_SEC,
			       arch_timer_get_cntfrq());
}

/* The other clock was read some time between two readings of the own one. */
static int vagx_bench_clock(struct vagx_bench_file *file, unsigned int rounds)
{
	while (rounds--) {
		u64 before = vagx_bench_counter_ns();
		u64 theirs = readq(file->bench->config.regs + VAGX_GUEST_TIME);
		u64 after = vagx_bench_counter_ns();

		vagx_bench_result(file, "%llu %lld\n", after - before,
				  (s64)(theirs - before - (after - before) / 2));
	}
	return 0;
}

static int vagx_bench_map(struct vagx_bench_file *file, struct sg_table *sgt)
{
	struct io_pgtable_cfg cfg = {
		.quirks = IO_PGTABLE_QUIRK_NO_WARN,
		.pgsize_bitmap = SZ_16K,
		.ias = 39,
		.oas = VAGX_BENCH_OAS,
		.coherent_walk = true,
		.iommu_dev = &file->bench->config.pdev->dev,
	};
	struct io_pgtable_ops *ops;
	struct scatterlist *sg;
	u64 start, map, unmap;
	size_t size = 0;
	int i, ret = 0;

	ops = alloc_io_pgtable_ops(APPLE_UAT, &cfg, NULL);
	if (!ops)
		return -ENOMEM;

	start = ktime_get_ns();
	for_each_sgtable_dma_sg(sgt, sg, i) {
		size_t mapped = 0;

		ret = ops->map_pages(ops, VAGX_BENCH_IOVA + size, sg_dma_address(sg), SZ_16K,
				     sg_dma_len(sg) / SZ_16K, IOMMU_READ | IOMMU_WRITE,
				     GFP_KERNEL, &mapped);
		size += mapped;
		if (ret)
			break;
	}
	map = ktime_get_ns() - start;

	start = ktime_get_ns();
	ops->unmap_pages(ops, VAGX_BENCH_IOVA, SZ_16K, size / SZ_16K, NULL);
	unmap = ktime_get_ns() - start;

	free_io_pgtable_ops(ops);
	if (!ret)
		vagx_bench_result(file, "%llu %llu %u\n", map, unmap, sgt->nents);
	return ret;
}

static int vagx_bench_tables(struct vagx_bench_file *file, unsigned int rounds, int fd)
{
	struct dma_buf_attachment *attachment;
	struct dma_buf *buf;
	struct sg_table *sgt;
	int ret = 0;

	buf = dma_buf_get(fd);
	if (IS_ERR(buf))
		return PTR_ERR(buf);

	attachment = dma_buf_attach(buf, &file->bench->config.pdev->dev);
	if (IS_ERR(attachment)) {
		ret = PTR_ERR(attachment);
		goto out_put;
	}

	sgt = dma_buf_map_attachment_unlocked(attachment, DMA_BIDIRECTIONAL);
	if (IS_ERR(sgt)) {
		ret = PTR_ERR(sgt);
		goto out_detach;
	}

	while (rounds-- && !ret)
		ret = vagx_bench_map(file, sgt);

	dma_buf_unmap_attachment_unlocked(attachment, sgt, DMA_BIDIRECTIONAL);
out_detach:
	dma_buf_detach(buf, attachment);
out_put:
	dma_buf_put(buf);
	return ret;
}

static int vagx_bench_run(struct vagx_bench_file *file, const char *request)
{
	unsigned int rounds;
	char name[16];
	int words, fd;

	words = sscanf(request, "%15s %u %d", name, &rounds, &fd);
	if (words < 2 || rounds > VAGX_BENCH_ROUNDS)
		return -EINVAL;

	file->len = 0;
	if (!strcmp(name, "echo"))
		return vagx_bench_echo(file, rounds);
	if (!strcmp(name, "mailbox"))
		return vagx_bench_mailbox(file, rounds);
	if (!strcmp(name, "register"))
		return vagx_bench_register(file, rounds);
	if (!strcmp(name, "clock"))
		return vagx_bench_clock(file, rounds);
	if (!strcmp(name, "tables") && words == 3)
		return vagx_bench_tables(file, rounds, fd);
	return -EINVAL;
}

static ssize_t vagx_bench_write(struct file *filp, const char __user *user, size_t count,
				loff_t *pos)
{
	struct vagx_bench_file *file = filp->private_data;
	char request[64] = {};
	int ret;

	if (count >= sizeof(request))
		return -EINVAL;
	if (copy_from_user(request, user, count))
		return -EFAULT;

	ret = mutex_lock_interruptible(&file->bench->lock);
	if (ret)
		return ret;
	ret = vagx_bench_run(file, request);
	mutex_unlock(&file->bench->lock);
	return ret ?: count;
}

static ssize_t vagx_bench_read(struct file *filp, char __user *user, size_t count, loff_t *pos)
{
	struct vagx_bench_file *file = filp->private_data;
	ssize_t ret;

	ret = mutex_lock_interruptible(&file->bench->lock);
	if (ret)
		return ret;
	ret = simple_read_from_buffer(user, count, pos, file->text, file->len);
	mutex_unlock(&file->bench->lock);
	return ret;
}

static int vagx_bench_open(struct inode *inode, struct file *filp)
{
	struct vagx_bench_file *file;

	file = kzalloc_obj(*file);
	if (!file)
		return -ENOMEM;

	file->bench = inode->i_private;
	file->text = kvzalloc(VAGX_BENCH_ROUNDS * VAGX_BENCH_LINE, GFP_KERNEL);
	if (!file->text) {
		kfree(file);
		return -ENOMEM;
	}
	filp->private_data = file;
	return 0;
}

static int vagx_bench_release(struct inode *inode, struct file *filp)
{
	struct vagx_bench_file *file = filp->private_data;

	kvfree(file->text);
	kfree(file);
	return 0;
}

static const struct file_operations vagx_bench_fops = {
	.owner = THIS_MODULE,
	.open = vagx_bench_open,
	.release = vagx_bench_release,
	.read = vagx_bench_read,
	.write = vagx_bench_write,
	.llseek = default_llseek,
};

static void vagx_bench_remove(void *dir)
{
	debugfs_remove(dir);
}

/* Until devres takes everything back, the configuration's nodes must stay. */
int vagx_bench_init(const struct vagx_bench_config *config)
{
	struct device *dev = &config->pdev->dev;
	struct vagx_bench *bench;
	struct dentry *dir;
	int ret;

	bench = devm_kzalloc(dev, sizeof(*bench), GFP_KERNEL);
	if (!bench)
		return -ENOMEM;
	bench->config = *config;
	init_completion(&bench->told);
	ret = devm_mutex_init(dev, &bench->lock);
	if (ret)
		return ret;

	/* For buffers of dma-bufs, which need not be copied for anybody here. */
	ret = dma_set_mask_and_coherent(dev, DMA_BIT_MASK(64));
	if (ret)
		return dev_err_probe(dev, ret, "cannot reach all memory\n");

	ret = pci_irq_vector(config->pdev, config->vector);
	if (ret < 0)
		return dev_err_probe(dev, ret, "vagx has no vector for measurements\n");
	ret = devm_request_irq(dev, ret, vagx_bench_irq, IRQF_NO_THREAD, "vagx-bench", bench);
	if (ret)
		return dev_err_probe(dev, ret, "cannot request the vector for measurements\n");

	dir = debugfs_create_dir("vagx", NULL);
	debugfs_create_file("bench", 0600, dir, bench, &vagx_bench_fops);
	return devm_add_action_or_reset(dev, vagx_bench_remove, dir);
}

MODULE_IMPORT_NS("DMA_BUF");

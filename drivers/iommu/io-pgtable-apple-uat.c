// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * Apple UAT page tables
 *
 * The UAT ("unified address translator") is the MMU of Apple's AGX GPUs. Two
 * agents walk its tables: the GPU itself, and the ARM64 core that runs the
 * GPU's firmware. For the sake of the latter the tables look like those of an
 * ARMv8 stage 1 with a 16 KiB granule and 39 bits of input address, but the
 * permission bits have a meaning of their own: bit 55 says that a mapping was
 * made by the operating system, and then AP, UXN and PXN together select what
 * each of the agents may do. See uat_permissions[].
 *
 *   level     entries   each translates
 *   root            8   64 GiB
 *   directory    2048   32 MiB, called "dir" below
 *   leaf         2048   16 KiB
 *
 * The format was found by reverse engineering. It is described by m1n1's
 * proxyclient/m1n1/hw/uat.py, from which the encodings here were taken. Block
 * entries in a directory are known to be decodable there, but nothing is known
 * of how the GPU's side treats their permissions and its TLB their size, and
 * no known software makes use of them. So they are not made here, and SZ_16K
 * is the only page size.
 *
 * Locking is the caller's: no two operations on one set of tables may run at
 * the same time. None of them sleeps, except that map_pages() allocates with
 * the caller's gfp flags, and that it maps a table of the bootloader when it
 * first needs to look into it.
 *
 * Table pages are freed with the tables and not before: a walker may hold
 * pointers to a table in its walk cache for as long as the root is in use, and
 * there is no way to invalidate those but to invalidate everything.
 */

#define pr_fmt(fmt)	"uat io-pgtable: " fmt

#include <linux/bitfield.h>
#include <linux/bitmap.h>
#include <linux/bits.h>
#include <linux/device.h>
#include <linux/gfp.h>
#include <linux/io-pgtable.h>
#include <linux/io.h>
#include <linux/kernel.h>
#include <linux/overflow.h>
#include <linux/sizes.h>
#include <linux/slab.h>
#include <linux/types.h>

#include <asm/barrier.h>
#include "iommu-pages.h"

#define UAT_IAS			39
#define UAT_TABLE_SIZE		SZ_16K
#define UAT_PAGE_SHIFT		14
#define UAT_BITS_PER_LEVEL	11
#define UAT_DIR_SHIFT		(UAT_PAGE_SHIFT + UAT_BITS_PER_LEVEL)
#define UAT_ROOT_SHIFT		(UAT_DIR_SHIFT + UAT_BITS_PER_LEVEL)
#define UAT_PTES		BIT(UAT_BITS_PER_LEVEL)
#define UAT_ROOT_PTES		BIT(UAT_IAS - UAT_ROOT_SHIFT)

#define UAT_PTE_TYPE		GENMASK_ULL(1, 0)
#define UAT_PTE_TYPE_TABLE	3	/* also that of a page in a leaf table */
#define UAT_PTE_ATTRINDX	GENMASK_ULL(4, 2)
#define UAT_PTE_AP		GENMASK_ULL(7, 6)
#define UAT_PTE_AF		BIT_ULL(10)
#define UAT_PTE_NG		BIT_ULL(11)
#define UAT_PTE_ADDR		GENMASK_ULL(47, UAT_PAGE_SHIFT)
#define UAT_PTE_PXN		BIT_ULL(53)
#define UAT_PTE_UXN		BIT_ULL(54)
#define UAT_PTE_OS		BIT_ULL(55)

/* What the firmware has in its MAIR */
#define UAT_ATTRINDX_CACHED	0	/* not coherent with the GPU and the CPUs */
#define UAT_ATTRINDX_DEVICE	1
#define UAT_ATTRINDX_SHARED	2	/* coherent with the GPU and the CPUs */

#define UAT_PROT_ACCESS		(IOMMU_READ | IOMMU_WRITE | \
				 IO_PGTABLE_APPLE_UAT_FW_READ | \
				 IO_PGTABLE_APPLE_UAT_FW_WRITE)
#define UAT_PROT_MEMORY		(IOMMU_CACHE | IOMMU_MMIO)

#define UAT_PERM(ap, uxn, pxn)	(FIELD_PREP_CONST(UAT_PTE_AP, ap) | \
				 ((uxn) ? UAT_PTE_UXN : 0) | \
				 ((pxn) ? UAT_PTE_PXN : 0))

/* The combinations of access that exist; there are no others. */
static const struct {
	int prot;
	u64 pte;
} uat_permissions[] = {
	/* The GPU and the firmware alike */
	{ IOMMU_READ | IO_PGTABLE_APPLE_UAT_FW_READ,	UAT_PERM(0, 0, 1) },
	{ IOMMU_WRITE | IO_PGTABLE_APPLE_UAT_FW_WRITE,	UAT_PERM(0, 1, 0) },
	{ UAT_PROT_ACCESS,				UAT_PERM(0, 1, 1) },
	/* The firmware, and the GPU only in so far as told */
	{ IO_PGTABLE_APPLE_UAT_FW_READ,			UAT_PERM(1, 0, 0) },
	{ IO_PGTABLE_APPLE_UAT_FW_READ |
	  IO_PGTABLE_APPLE_UAT_FW_WRITE,		UAT_PERM(1, 1, 0) },
	{ IO_PGTABLE_APPLE_UAT_FW_READ |
	  IO_PGTABLE_APPLE_UAT_FW_WRITE | IOMMU_READ,	UAT_PERM(1, 1, 1) },
	/* The GPU alone */
	{ IOMMU_READ,					UAT_PERM(2, 0, 0) },
	{ IOMMU_WRITE,					UAT_PERM(2, 0, 1) },
	{ IOMMU_READ | IOMMU_WRITE,			UAT_PERM(2, 1, 0) },
};

/**
 * struct uat_dir - a table of the second level
 *
 * @ptes:    Its entries, NULL where there is no table or where we have had no
 *           need to look at one of the bootloader's.
 * @foreign: For a table of the bootloader's: the entries that are not ours.
 *           NULL for a table that we have allocated.
 */
struct uat_dir {
	u64 *ptes;
	unsigned long *foreign;
};

/**
 * struct uat_io_pgtable - a set of tables
 *
 * @iop:     What the rest of the world sees.
 * @root:    The root table.
 * @adopted: The root table is the bootloader's, and mapped for us.
 * @dirs:    The tables that the entries of @root point to.
 */
struct uat_io_pgtable {
	struct io_pgtable iop;
	u64 *root;
	bool adopted;
	struct uat_dir dirs[UAT_ROOT_PTES];
};

#define io_pgtable_to_data(x)						\
	container_of((x), struct uat_io_pgtable, iop)

#define io_pgtable_ops_to_data(x)					\
	io_pgtable_to_data(io_pgtable_ops_to_pgtable(x))

static bool uat_is_upper(struct uat_io_pgtable *data)
{
	return data->iop.cfg.quirks & IO_PGTABLE_QUIRK_ARM_TTBR1;
}

/*
 * Turns an address of the half of the address space that these tables
 * translate into an offset from the start of that half.
 */
static int uat_range(struct uat_io_pgtable *data, unsigned long iova,
		     size_t size, u64 *start)
{
	u64 base = uat_is_upper(data) ? GENMASK_ULL(63, UAT_IAS) : 0;
	u64 offset = iova - base;

	if (offset >= BIT_ULL(UAT_IAS) || size > BIT_ULL(UAT_IAS) - offset)
		return -ERANGE;

	*start = offset;
	return 0;
}

static int uat_prot_to_pte(struct uat_io_pgtable *data, int prot, u64 *pte)
{
	u64 attr = UAT_PTE_AF | UAT_PTE_OS | UAT_PTE_TYPE_TABLE;
	int i;

	/* The upper half is the same in every context, the lower is not */
	if (!uat_is_upper(data))
		attr |= UAT_PTE_NG;

	switch (prot & UAT_PROT_MEMORY) {
	case 0:
		attr |= FIELD_PREP(UAT_PTE_ATTRINDX, UAT_ATTRINDX_SHARED);
		break;
	case IOMMU_CACHE:
		attr |= FIELD_PREP(UAT_PTE_ATTRINDX, UAT_ATTRINDX_CACHED);
		break;
	case IOMMU_MMIO:
		attr |= FIELD_PREP(UAT_PTE_ATTRINDX, UAT_ATTRINDX_DEVICE);
		break;
	default:
		return -EINVAL;
	}

	for (i = 0; i < ARRAY_SIZE(uat_permissions); i++) {
		if (uat_permissions[i].prot != (prot & ~UAT_PROT_MEMORY))
			continue;

		*pte = attr | uat_permissions[i].pte;
		return 0;
	}

	return -EINVAL;
}

static u64 *uat_alloc_table(struct uat_io_pgtable *data, gfp_t gfp)
{
	struct device *dev = data->iop.cfg.iommu_dev;

	return iommu_alloc_pages_node_sz(dev ? dev_to_node(dev) : NUMA_NO_NODE,
					 gfp, UAT_TABLE_SIZE);
}

static void uat_install_table(u64 *ptep, u64 *table)
{
	/* The walkers must not see the entry before the empty table */
	dma_wmb();
	WRITE_ONCE(*ptep, virt_to_phys(table) | UAT_PTE_TYPE_TABLE);
}

/*
 * Opens a table of the second level that was there when the root was adopted.
 * The bootloader may have given us one to use, so its free entries are used,
 * but nothing that is in it already is touched.
 */
static int uat_open_foreign_dir(struct uat_dir *dir, u64 pte, gfp_t gfp)
{
	u64 *ptes;
	int i;

	/* A block of 64 GiB */
	if (FIELD_GET(UAT_PTE_TYPE, pte) != UAT_PTE_TYPE_TABLE)
		return -EEXIST;

	/* memremap() sleeps */
	if (!gfpflags_allow_blocking(gfp))
		return -ENOMEM;

	dir->foreign = bitmap_zalloc(UAT_PTES, gfp);
	if (!dir->foreign)
		return -ENOMEM;

	ptes = memremap(pte & UAT_PTE_ADDR, UAT_TABLE_SIZE, MEMREMAP_WB);
	if (!ptes) {
		bitmap_free(dir->foreign);
		dir->foreign = NULL;
		return -ENOMEM;
	}

	for (i = 0; i < UAT_PTES; i++)
		if (READ_ONCE(ptes[i]))
			__set_bit(i, dir->foreign);

	dir->ptes = ptes;
	return 0;
}

/* Finds the directory for @offset, and makes it if it is missing. */
static int uat_make_dir(struct uat_io_pgtable *data, u64 offset, gfp_t gfp,
			struct uat_dir **dirp)
{
	unsigned int i = offset >> UAT_ROOT_SHIFT;
	struct uat_dir *dir = &data->dirs[i];
	u64 pte = READ_ONCE(data->root[i]);
	int ret;

	if (!dir->ptes && pte) {
		ret = uat_open_foreign_dir(dir, pte, gfp);
		if (ret)
			return ret;
	} else if (!dir->ptes) {
		dir->ptes = uat_alloc_table(data, gfp);
		if (!dir->ptes)
			return -ENOMEM;

		uat_install_table(&data->root[i], dir->ptes);
	}

	*dirp = dir;
	return 0;
}

/* Returns the leaf table of ours for @offset, or NULL if there is none. */
static u64 *uat_find_leaf(struct uat_io_pgtable *data, u64 offset)
{
	struct uat_dir *dir = &data->dirs[offset >> UAT_ROOT_SHIFT];
	unsigned int i = (offset >> UAT_DIR_SHIFT) % UAT_PTES;
	u64 pte;

	if (!dir->ptes || (dir->foreign && test_bit(i, dir->foreign)))
		return NULL;

	pte = READ_ONCE(dir->ptes[i]);

	return pte ? phys_to_virt(pte & UAT_PTE_ADDR) : NULL;
}

/* As uat_find_leaf(), but makes what is missing. */
static int uat_make_leaf(struct uat_io_pgtable *data, u64 offset, gfp_t gfp,
			 u64 **leafp)
{
	unsigned int i = (offset >> UAT_DIR_SHIFT) % UAT_PTES;
	struct uat_dir *dir;
	u64 *leaf;
	int ret;

	ret = uat_make_dir(data, offset, gfp, &dir);
	if (ret)
		return ret;

	if (dir->foreign && test_bit(i, dir->foreign))
		return -EEXIST;

	leaf = uat_find_leaf(data, offset);
	if (!leaf) {
		leaf = uat_alloc_table(data, gfp);
		if (!leaf)
			return -ENOMEM;

		uat_install_table(&dir->ptes[i], leaf);
	}

	*leafp = leaf;
	return 0;
}

/* The number of pages from @offset on that are in the same leaf table */
static size_t uat_leaf_pages(u64 offset, size_t pages)
{
	return min_t(size_t, pages,
		     UAT_PTES - (offset >> UAT_PAGE_SHIFT) % UAT_PTES);
}

/**
 * io_pgtable_apple_uat_reserve - make the tables for a range
 * @ops:  The page tables, of the format APPLE_UAT.
 * @iova: Start of the range.
 * @size: Size of the range in bytes.
 * @gfp:  For the memory of the tables.
 *
 * Tables are only freed together. So once this has succeeded, mapping and
 * unmapping in the range needs no memory any more, and a change of several
 * steps can be made that must not stop half-way. Pages that are mapped already
 * stay as they are.
 *
 * Return: 0, or a negative error code. Tables that were made before the error
 * stay, empty.
 */
int io_pgtable_apple_uat_reserve(struct io_pgtable_ops *ops,
				 unsigned long iova, size_t size, gfp_t gfp)
{
	struct uat_io_pgtable *data = io_pgtable_ops_to_data(ops);
	size_t pages = size / SZ_16K;
	u64 offset;
	int ret;

	if (!IS_ALIGNED(iova | size, SZ_16K))
		return -EINVAL;

	ret = uat_range(data, iova, size, &offset);
	if (ret)
		return ret;

	while (pages) {
		size_t n = uat_leaf_pages(offset, pages);
		u64 *leaf;

		ret = uat_make_leaf(data, offset, gfp, &leaf);
		if (ret)
			return ret;

		offset += (u64)n << UAT_PAGE_SHIFT;
		pages -= n;
	}

	return 0;
}
EXPORT_SYMBOL_GPL(io_pgtable_apple_uat_reserve);

/*
 * Makes the leaf tables for a range and checks that nothing is mapped there.
 * After that, writing the entries cannot fail, so that a range is mapped as a
 * whole or not at all.
 */
static int uat_prepare(struct uat_io_pgtable *data, u64 offset, size_t pages,
		       gfp_t gfp)
{
	while (pages) {
		size_t i, n = uat_leaf_pages(offset, pages);
		u64 *leaf;
		int ret;

		ret = uat_make_leaf(data, offset, gfp, &leaf);
		if (ret)
			return ret;

		leaf += (offset >> UAT_PAGE_SHIFT) % UAT_PTES;
		for (i = 0; i < n; i++)
			if (READ_ONCE(leaf[i]))
				return -EEXIST;

		offset += (u64)n << UAT_PAGE_SHIFT;
		pages -= n;
	}

	return 0;
}

/* Maps pages to addresses that are @step apart: that of a page, or zero. */
static int uat_map(struct uat_io_pgtable *data, unsigned long iova,
		   phys_addr_t paddr, size_t step, size_t pages, int prot,
		   gfp_t gfp)
{
	struct io_pgtable_cfg *cfg = &data->iop.cfg;
	phys_addr_t phys_size = SZ_16K;
	u64 offset, pte;
	size_t size;
	int ret;

	if (!pages || !IS_ALIGNED(iova, SZ_16K) || !IS_ALIGNED(paddr, SZ_16K))
		return -EINVAL;

	if (check_mul_overflow((size_t)SZ_16K, pages, &size))
		return -ERANGE;

	if (step)
		phys_size = size;
	if (paddr >= BIT_ULL(cfg->oas) ||
	    phys_size > BIT_ULL(cfg->oas) - paddr)
		return -ERANGE;

	ret = uat_range(data, iova, size, &offset);
	if (ret)
		return ret;

	ret = uat_prot_to_pte(data, prot, &pte);
	if (ret)
		return ret;

	ret = uat_prepare(data, offset, pages, gfp);
	if (ret) {
		WARN_ON(ret == -EEXIST &&
			!(cfg->quirks & IO_PGTABLE_QUIRK_NO_WARN));
		return ret;
	}

	pte |= paddr;
	while (pages) {
		size_t i, n = uat_leaf_pages(offset, pages);
		u64 *leaf = uat_find_leaf(data, offset);

		leaf += (offset >> UAT_PAGE_SHIFT) % UAT_PTES;
		for (i = 0; i < n; i++, pte += step)
			WRITE_ONCE(leaf[i], pte);

		offset += (u64)n << UAT_PAGE_SHIFT;
		pages -= n;
	}

	/*
	 * Whatever tells an agent to use the new mapping must come after the
	 * entries.
	 */
	wmb();

	return 0;
}

static int uat_map_pages(struct io_pgtable_ops *ops, unsigned long iova,
			 phys_addr_t paddr, size_t pgsize, size_t pgcount,
			 int iommu_prot, gfp_t gfp, size_t *mapped)
{
	int ret;

	if (pgsize != SZ_16K)
		return -EINVAL;

	ret = uat_map(io_pgtable_ops_to_data(ops), iova, paddr, SZ_16K, pgcount,
		      iommu_prot, gfp);
	if (!ret && mapped)
		*mapped += pgcount * SZ_16K;

	return ret;
}

/**
 * io_pgtable_apple_uat_map_repeated - map one page all over a range
 * @ops:   The page tables, of the format APPLE_UAT.
 * @iova:  Start of the range.
 * @paddr: Address of the page.
 * @size:  Size of the range in bytes.
 * @prot:  As for &io_pgtable_ops.map_pages.
 * @gfp:   For the memory of tables.
 *
 * Return: 0, or a negative error code and nothing has been mapped.
 */
int io_pgtable_apple_uat_map_repeated(struct io_pgtable_ops *ops,
				      unsigned long iova, phys_addr_t paddr,
				      size_t size, int prot, gfp_t gfp)
{
	if (!IS_ALIGNED(size, SZ_16K))
		return -EINVAL;

	return uat_map(io_pgtable_ops_to_data(ops), iova, paddr, 0,
		       size / SZ_16K, prot, gfp);
}
EXPORT_SYMBOL_GPL(io_pgtable_apple_uat_map_repeated);

typedef void (*uat_pte_fn)(struct uat_io_pgtable *data, u64 *ptep, u64 offset,
			   void *arg);

/*
 * Calls for each entry in a range that is not empty, and says how many there
 * were. Tables that do not exist are passed over in one step. Inlined, so that
 * there is no indirect call for each page.
 */
static __always_inline size_t uat_visit_ptes(struct uat_io_pgtable *data,
					     u64 offset, size_t pages,
					     uat_pte_fn fn, void *arg)
{
	size_t count = 0;

	while (pages) {
		size_t i, n = uat_leaf_pages(offset, pages);
		u64 *leaf = uat_find_leaf(data, offset);

		if (leaf) {
			leaf += (offset >> UAT_PAGE_SHIFT) % UAT_PTES;
			for (i = 0; i < n; i++) {
				if (!READ_ONCE(leaf[i]))
					continue;

				fn(data, &leaf[i], offset + i * SZ_16K, arg);
				count++;
			}
		}

		offset += (u64)n << UAT_PAGE_SHIFT;
		pages -= n;
	}

	/* Order the entries before the TLB invalidation that is to follow */
	wmb();

	return count;
}

static void uat_clear_pte(struct uat_io_pgtable *data, u64 *ptep, u64 offset,
			  void *arg)
{
	struct iommu_iotlb_gather *gather = arg;
	u64 base = uat_is_upper(data) ? GENMASK_ULL(63, UAT_IAS) : 0;

	WRITE_ONCE(*ptep, 0);

	if (!iommu_iotlb_gather_queued(gather))
		io_pgtable_tlb_add_page(&data->iop, gather, base + offset,
					SZ_16K);
}

/*
 * Nothing needs to be mapped in the range, or not everywhere. What is returned
 * is the size of what was mapped, which for a range without holes is what
 * every other format returns.
 */
static size_t uat_unmap_pages(struct io_pgtable_ops *ops, unsigned long iova,
			      size_t pgsize, size_t pgcount,
			      struct iommu_iotlb_gather *gather)
{
	struct uat_io_pgtable *data = io_pgtable_ops_to_data(ops);
	size_t size;
	u64 offset;

	if (pgsize != SZ_16K || !IS_ALIGNED(iova, SZ_16K) ||
	    check_mul_overflow(pgsize, pgcount, &size) ||
	    uat_range(data, iova, size, &offset))
		return 0;

	return uat_visit_ptes(data, offset, pgcount, uat_clear_pte,
			      gather) * SZ_16K;
}

static void uat_protect_pte(struct uat_io_pgtable *data, u64 *ptep, u64 offset,
			    void *arg)
{
	u64 *attr = arg;

	WRITE_ONCE(*ptep, (*ptep & UAT_PTE_ADDR) | *attr);
}

/**
 * io_pgtable_apple_uat_protect - change how pages are mapped
 * @ops:  The page tables, of the format APPLE_UAT.
 * @iova: Start of the range.
 * @size: Size of the range in bytes.
 * @prot: As for &io_pgtable_ops.map_pages.
 *
 * Changes access and memory type of those pages of the range that are mapped,
 * without there being a moment at which they are not. Before memory can be
 * taken from the firmware that it had mapped as cached, its cache must be
 * flushed, and for that the pages must be mapped as uncached.
 *
 * The caller invalidates the TLB.
 *
 * Return: the size of what was changed, or a negative error code.
 */
ssize_t io_pgtable_apple_uat_protect(struct io_pgtable_ops *ops,
				     unsigned long iova, size_t size, int prot)
{
	struct uat_io_pgtable *data = io_pgtable_ops_to_data(ops);
	u64 offset, attr;
	int ret;

	if (!IS_ALIGNED(iova | size, SZ_16K))
		return -EINVAL;

	ret = uat_range(data, iova, size, &offset);
	if (ret)
		return ret;

	ret = uat_prot_to_pte(data, prot, &attr);
	if (ret)
		return ret;

	return uat_visit_ptes(data, offset, size / SZ_16K, uat_protect_pte,
			      &attr) * SZ_16K;
}
EXPORT_SYMBOL_GPL(io_pgtable_apple_uat_protect);

static phys_addr_t uat_iova_to_phys(struct io_pgtable_ops *ops,
				    unsigned long iova)
{
	struct uat_io_pgtable *data = io_pgtable_ops_to_data(ops);
	u64 offset, pte, *leaf;

	if (uat_range(data, iova, 1, &offset))
		return 0;

	leaf = uat_find_leaf(data, offset);
	if (!leaf)
		return 0;

	pte = READ_ONCE(leaf[(offset >> UAT_PAGE_SHIFT) % UAT_PTES]);
	if (!pte)
		return 0;

	return (pte & UAT_PTE_ADDR) | (iova & (SZ_16K - 1));
}

static struct io_pgtable *uat_alloc_pgtable(struct io_pgtable_cfg *cfg,
					    void *cookie)
{
	phys_addr_t root = cfg->apple_uat_cfg.adopt;
	struct uat_io_pgtable *data;

	if (!cfg->coherent_walk || cfg->ias != UAT_IAS ||
	    cfg->pgsize_bitmap != SZ_16K)
		return NULL;

	/* t81xx and t60xx respectively */
	if (cfg->oas != 40 && cfg->oas != 42)
		return NULL;

	if (cfg->quirks & ~(IO_PGTABLE_QUIRK_ARM_TTBR1 |
			    IO_PGTABLE_QUIRK_NO_WARN))
		return NULL;

	if (!IS_ALIGNED(root, UAT_TABLE_SIZE) || root >= BIT_ULL(cfg->oas))
		return NULL;

	data = kzalloc_obj(*data);
	if (!data)
		return NULL;

	/* alloc_io_pgtable_ops() does this only when it is too late for us */
	data->iop.cfg = *cfg;
	data->iop.ops = (struct io_pgtable_ops) {
		.map_pages	= uat_map_pages,
		.unmap_pages	= uat_unmap_pages,
		.iova_to_phys	= uat_iova_to_phys,
	};

	if (root) {
		/* It may be in memory that the kernel itself does not map */
		data->adopted = true;
		data->root = memremap(root, UAT_TABLE_SIZE, MEMREMAP_WB);
	} else {
		data->root = uat_alloc_table(data, GFP_KERNEL);
	}

	if (!data->root) {
		kfree(data);
		return NULL;
	}

	cfg->apple_uat_cfg.ttbr = root ?: virt_to_phys(data->root);

	return &data->iop;
}

/*
 * What the bootloader's tables point to must be out of every walker's reach
 * before it is freed: unlike a root of our own, which must be out of use by
 * now, an adopted one stays in use by the firmware.
 */
static void uat_detach(struct uat_io_pgtable *data)
{
	unsigned int i, j;

	for (i = 0; i < UAT_ROOT_PTES; i++) {
		struct uat_dir *dir = &data->dirs[i];

		if (!dir->ptes)
			continue;

		if (!dir->foreign) {
			WRITE_ONCE(data->root[i], 0);
			continue;
		}

		/* Only invalid as yet: uat_free_dir() wants the addresses */
		for (j = 0; j < UAT_PTES; j++)
			if (!test_bit(j, dir->foreign) && dir->ptes[j])
				WRITE_ONCE(dir->ptes[j],
					   dir->ptes[j] & ~UAT_PTE_TYPE);
	}

	/* A walk after the invalidation must not find the tables any more */
	wmb();
	io_pgtable_tlb_flush_all(&data->iop);
}

static void uat_free_dir(struct uat_dir *dir)
{
	unsigned int i;

	if (!dir->ptes)
		return;

	for (i = 0; i < UAT_PTES; i++) {
		u64 pte = dir->ptes[i];

		if (!pte || (dir->foreign && test_bit(i, dir->foreign)))
			continue;

		WRITE_ONCE(dir->ptes[i], 0);
		iommu_free_pages(phys_to_virt(pte & UAT_PTE_ADDR));
	}

	if (dir->foreign) {
		memunmap(dir->ptes);
		bitmap_free(dir->foreign);
	} else {
		iommu_free_pages(dir->ptes);
	}
}

static void uat_free_pgtable(struct io_pgtable *iop)
{
	struct uat_io_pgtable *data = io_pgtable_to_data(iop);
	unsigned int i;

	if (data->adopted)
		uat_detach(data);

	for (i = 0; i < UAT_ROOT_PTES; i++)
		uat_free_dir(&data->dirs[i]);

	if (data->adopted)
		memunmap(data->root);
	else
		iommu_free_pages(data->root);

	kfree(data);
}

struct io_pgtable_init_fns io_pgtable_apple_uat_init_fns = {
	.alloc	= uat_alloc_pgtable,
	.free	= uat_free_pgtable,
};

// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * KUnit tests for the Apple UAT page table format
 *
 * They look at the tables with a walk of their own, which goes by the tables
 * of m1n1's proxyclient/m1n1/hw/uat.py rather than by the code under test.
 */

#include <kunit/test.h>
#include <linux/io-pgtable.h>
#include <linux/io.h>
#include <linux/sizes.h>

#define UPPER		0xffffff8000000000ULL
#define FW_R		IO_PGTABLE_APPLE_UAT_FW_READ
#define FW_W		IO_PGTABLE_APPLE_UAT_FW_WRITE
#define GPU_R		IOMMU_READ
#define GPU_W		IOMMU_WRITE

struct uat_test {
	int flushes;
};

static void uat_test_flush_all(void *cookie)
{
	struct uat_test *t = cookie;

	t->flushes++;
}

static const struct iommu_flush_ops uat_test_flush_ops = {
	.tlb_flush_all = uat_test_flush_all,
};

static struct io_pgtable_cfg uat_test_cfg(unsigned long quirks)
{
	return (struct io_pgtable_cfg) {
		.quirks = quirks | IO_PGTABLE_QUIRK_NO_WARN,
		.pgsize_bitmap = SZ_16K,
		.ias = 39,
		.oas = 40,
		.coherent_walk = true,
		.tlb = &uat_test_flush_ops,
	};
}

static struct io_pgtable_ops *uat_test_alloc(struct kunit *test,
					     struct io_pgtable_cfg *cfg)
{
	struct io_pgtable_ops *ops;

	ops = alloc_io_pgtable_ops(APPLE_UAT, cfg, test->priv);
	KUNIT_ASSERT_NOT_NULL(test, ops);

	return ops;
}

static void uat_test_refused(struct kunit *test, struct io_pgtable_cfg *cfg)
{
	KUNIT_EXPECT_NULL(test, alloc_io_pgtable_ops(APPLE_UAT, cfg, test->priv));
}

/* The entry for @iova, found as the hardware does */
static u64 uat_test_walk(phys_addr_t root, u64 iova)
{
	u64 *table = phys_to_virt(root);
	u64 pte = table[(iova >> 36) & 7];

	if ((pte & 3) != 3)
		return 0;

	table = phys_to_virt(pte & GENMASK_ULL(47, 14));
	pte = table[(iova >> 25) & 2047];
	if ((pte & 3) != 3)
		return 0;

	table = phys_to_virt(pte & GENMASK_ULL(47, 14));
	return table[(iova >> 14) & 2047];
}

static int uat_test_map(struct io_pgtable_ops *ops, u64 iova, phys_addr_t pa,
			size_t size, int prot)
{
	size_t mapped = 0;
	int ret = ops->map_pages(ops, iova, pa, SZ_16K, size / SZ_16K, prot,
				 GFP_KERNEL, &mapped);

	/* All or nothing */
	if (mapped != (ret ? 0 : size))
		return -EIO;

	return ret;
}

static size_t uat_test_unmap(struct io_pgtable_ops *ops, u64 iova, size_t size)
{
	return ops->unmap_pages(ops, iova, SZ_16K, size / SZ_16K, NULL);
}

static void uat_test_config(struct kunit *test)
{
	struct io_pgtable_cfg cfg;

	cfg = uat_test_cfg(0);
	cfg.ias = 40;
	uat_test_refused(test, &cfg);

	cfg = uat_test_cfg(0);
	cfg.oas = 48;
	uat_test_refused(test, &cfg);

	cfg = uat_test_cfg(0);
	cfg.pgsize_bitmap = SZ_4K;
	uat_test_refused(test, &cfg);

	cfg = uat_test_cfg(0);
	cfg.pgsize_bitmap = SZ_16K | SZ_32M;
	uat_test_refused(test, &cfg);

	cfg = uat_test_cfg(0);
	cfg.coherent_walk = false;
	uat_test_refused(test, &cfg);

	cfg = uat_test_cfg(IO_PGTABLE_QUIRK_NO_PERMS);
	uat_test_refused(test, &cfg);

	cfg = uat_test_cfg(0);
	cfg.apple_uat_cfg.adopt = SZ_4K;
	uat_test_refused(test, &cfg);

	cfg = uat_test_cfg(0);
	cfg.apple_uat_cfg.adopt = BIT_ULL(40);
	uat_test_refused(test, &cfg);

	cfg = uat_test_cfg(0);
	cfg.oas = 42;
	free_io_pgtable_ops(uat_test_alloc(test, &cfg));
}

static void uat_test_walks(struct kunit *test)
{
	static const u64 iovas[] = {
		0, SZ_16K, SZ_32M - SZ_16K, SZ_32M, SZ_64G - SZ_16K, SZ_64G,
		0x1500004000ULL, BIT_ULL(39) - SZ_16K,
	};
	struct io_pgtable_cfg cfg = uat_test_cfg(0);
	struct io_pgtable_ops *ops = uat_test_alloc(test, &cfg);
	int i;

	for (i = 0; i < ARRAY_SIZE(iovas); i++) {
		phys_addr_t pa = SZ_1G + i * SZ_1M;
		u64 pte;

		KUNIT_EXPECT_EQ(test, ops->iova_to_phys(ops, iovas[i]), 0);
		KUNIT_EXPECT_EQ(test, 0, uat_test_map(ops, iovas[i], pa, SZ_16K,
						      GPU_R | GPU_W));

		pte = uat_test_walk(cfg.apple_uat_cfg.ttbr, iovas[i]);
		KUNIT_EXPECT_EQ(test, pte & GENMASK_ULL(47, 14), pa);
		KUNIT_EXPECT_EQ(test, pte & 3, 3);
		KUNIT_EXPECT_TRUE(test, pte & BIT_ULL(10));	/* AF */
		KUNIT_EXPECT_TRUE(test, pte & BIT_ULL(11));	/* nG */
		KUNIT_EXPECT_TRUE(test, pte & BIT_ULL(55));	/* OS */
		KUNIT_EXPECT_EQ(test, ops->iova_to_phys(ops, iovas[i] + 0x123),
				pa + 0x123);
	}

	/* The rest was not mapped along with that */
	KUNIT_EXPECT_EQ(test, ops->iova_to_phys(ops, 2 * SZ_16K), 0);
	KUNIT_EXPECT_EQ(test, ops->iova_to_phys(ops, 5 * SZ_64G), 0);

	for (i = 0; i < ARRAY_SIZE(iovas); i++) {
		KUNIT_EXPECT_EQ(test, uat_test_unmap(ops, iovas[i], SZ_16K),
				SZ_16K);
		KUNIT_EXPECT_EQ(test, uat_test_walk(cfg.apple_uat_cfg.ttbr,
						    iovas[i]), 0);
	}

	free_io_pgtable_ops(ops);
}

/* The leaf table that the entry for @iova is in, zero if there is none */
static phys_addr_t uat_test_leaf(phys_addr_t root, u64 iova)
{
	u64 *table = phys_to_virt(root);
	u64 pte = table[(iova >> 36) & 7];

	if ((pte & 3) != 3)
		return 0;

	table = phys_to_virt(pte & GENMASK_ULL(47, 14));
	pte = table[(iova >> 25) & 2047];
	return (pte & 3) == 3 ? pte & GENMASK_ULL(47, 14) : 0;
}

static void uat_test_reserve(struct kunit *test)
{
	struct io_pgtable_cfg cfg = uat_test_cfg(0);
	struct io_pgtable_ops *ops = uat_test_alloc(test, &cfg);
	phys_addr_t root = cfg.apple_uat_cfg.ttbr;
	u64 iova = SZ_64G - SZ_32M - SZ_16K;
	size_t size = 3 * (size_t)SZ_32M;
	phys_addr_t leaf;
	size_t i;

	/* Something in the range stays as it is, and is no error */
	KUNIT_EXPECT_EQ(test, 0, uat_test_map(ops, SZ_64G, SZ_1G, SZ_16K, GPU_R));
	KUNIT_EXPECT_EQ(test, 0, io_pgtable_apple_uat_reserve(ops, iova, size,
							      GFP_KERNEL));
	KUNIT_EXPECT_EQ(test, ops->iova_to_phys(ops, SZ_64G), SZ_1G);

	for (i = 0; i < size; i += SZ_32M)
		KUNIT_EXPECT_NE(test, uat_test_leaf(root, iova + i), 0);
	leaf = uat_test_leaf(root, iova + size - 1);
	KUNIT_EXPECT_NE(test, leaf, 0);
	KUNIT_EXPECT_EQ(test, uat_test_leaf(root, iova - SZ_32M), 0);
	KUNIT_EXPECT_EQ(test, uat_test_leaf(root, iova + size + SZ_32M), 0);

	/* Nothing is mapped by that */
	for (i = 0; i < size; i += SZ_16K)
		if (iova + i != SZ_64G)
			KUNIT_EXPECT_EQ(test, uat_test_walk(root, iova + i), 0);

	/* The tables stay through whatever happens, and are those in use */
	KUNIT_EXPECT_EQ(test, uat_test_unmap(ops, iova, size), SZ_16K);
	KUNIT_EXPECT_EQ(test, 0, uat_test_map(ops, iova, SZ_1G, size, GPU_R));
	KUNIT_EXPECT_EQ(test, uat_test_leaf(root, iova + size - 1), leaf);
	KUNIT_EXPECT_EQ(test, uat_test_unmap(ops, iova, size), size);
	KUNIT_EXPECT_EQ(test, uat_test_leaf(root, iova + size - 1), leaf);

	KUNIT_EXPECT_EQ(test, 0, io_pgtable_apple_uat_reserve(ops, 0, 0,
							      GFP_KERNEL));
	KUNIT_EXPECT_EQ(test, -EINVAL,
			io_pgtable_apple_uat_reserve(ops, SZ_4K, SZ_16K,
						     GFP_KERNEL));
	KUNIT_EXPECT_EQ(test, -EINVAL,
			io_pgtable_apple_uat_reserve(ops, 0, SZ_4K, GFP_KERNEL));
	KUNIT_EXPECT_EQ(test, -ERANGE,
			io_pgtable_apple_uat_reserve(ops, BIT_ULL(39) - SZ_16K,
						     SZ_32K, GFP_KERNEL));
	KUNIT_EXPECT_EQ(test, -ERANGE,
			io_pgtable_apple_uat_reserve(ops, UPPER, SZ_16K,
						     GFP_KERNEL));

	free_io_pgtable_ops(ops);
}

static void uat_test_repeated(struct kunit *test)
{
	struct io_pgtable_cfg cfg = uat_test_cfg(0);
	struct io_pgtable_ops *ops = uat_test_alloc(test, &cfg);
	phys_addr_t last = BIT_ULL(40) - SZ_16K;
	u64 iova = SZ_32M - SZ_16K;
	size_t size = SZ_32M + 2 * SZ_16K;
	size_t i;

	/* The last page there is: a second one would be out of range */
	KUNIT_EXPECT_EQ(test, 0,
			io_pgtable_apple_uat_map_repeated(ops, iova, last, size,
							  GPU_R, GFP_KERNEL));
	for (i = 0; i < size; i += SZ_16K)
		KUNIT_EXPECT_EQ(test, ops->iova_to_phys(ops, iova + i), last);
	KUNIT_EXPECT_EQ(test, ops->iova_to_phys(ops, iova - SZ_16K), 0);
	KUNIT_EXPECT_EQ(test, ops->iova_to_phys(ops, iova + size), 0);

	KUNIT_EXPECT_EQ(test, -EEXIST,
			io_pgtable_apple_uat_map_repeated(ops, 0, SZ_1G, SZ_32M,
							  GPU_R, GFP_KERNEL));
	KUNIT_EXPECT_EQ(test, ops->iova_to_phys(ops, 0), 0);
	KUNIT_EXPECT_EQ(test, -EINVAL,
			io_pgtable_apple_uat_map_repeated(ops, 0, SZ_1G, SZ_4K,
							  GPU_R, GFP_KERNEL));
	KUNIT_EXPECT_EQ(test, -ERANGE,
			io_pgtable_apple_uat_map_repeated(ops, 0, BIT_ULL(40),
							  SZ_16K, GPU_R,
							  GFP_KERNEL));

	KUNIT_EXPECT_EQ(test, uat_test_unmap(ops, iova, size), size);
	free_io_pgtable_ops(ops);
}

static void uat_test_large(struct kunit *test)
{
	struct io_pgtable_cfg cfg = uat_test_cfg(0);
	struct io_pgtable_ops *ops = uat_test_alloc(test, &cfg);
	u64 iova = SZ_64G - SZ_32M - 5 * SZ_16K;
	size_t size = 2 * SZ_32M + 11 * SZ_16K;
	size_t i;

	/* Across the borders of tables on both levels */
	KUNIT_EXPECT_EQ(test, 0, uat_test_map(ops, iova, SZ_2G, size, GPU_R));
	for (i = 0; i < size; i += SZ_16K)
		KUNIT_EXPECT_EQ(test, ops->iova_to_phys(ops, iova + i), SZ_2G + i);

	KUNIT_EXPECT_EQ(test, ops->iova_to_phys(ops, iova - 1), 0);
	KUNIT_EXPECT_EQ(test, ops->iova_to_phys(ops, iova + size), 0);

	/* A hole in the middle, and then everything */
	KUNIT_EXPECT_EQ(test, uat_test_unmap(ops, SZ_64G, SZ_32M), SZ_32M);
	KUNIT_EXPECT_EQ(test, uat_test_unmap(ops, 0, BIT_ULL(39)), size - SZ_32M);
	KUNIT_EXPECT_EQ(test, uat_test_unmap(ops, 0, BIT_ULL(39)), 0);

	free_io_pgtable_ops(ops);
}

static void uat_test_permissions(struct kunit *test)
{
	/* What m1n1 says of an entry with bit 55 set, by AP, UXN and PXN */
	static const int gpu[4][4] = {
		{ 0, GPU_R, GPU_W, GPU_R | GPU_W },
		{ 0, 0, 0, GPU_R },
		{ GPU_R, GPU_W, GPU_R | GPU_W, 0 },
		{ 0, 0, 0, 0 },
	};
	static const int fw[4][4] = {
		{ 0, FW_R, FW_W, FW_R | FW_W },
		{ FW_R, 0, FW_R | FW_W, FW_R | FW_W },
		{ 0, 0, 0, 0 },
		{ 0, 0, 0, 0 },
	};
	static const int memory[] = { 0, IOMMU_CACHE, IOMMU_MMIO };
	static const u64 attrindx[] = { 2, 0, 1 };
	struct io_pgtable_cfg cfg = uat_test_cfg(0);
	struct io_pgtable_ops *ops = uat_test_alloc(test, &cfg);
	int access, i, found = 0;

	for (access = 0; access < 16; access++) {
		int prot = (access & 1 ? GPU_R : 0) | (access & 2 ? GPU_W : 0) |
			   (access & 4 ? FW_R : 0) | (access & 8 ? FW_W : 0);

		for (i = 0; i < ARRAY_SIZE(memory); i++) {
			int ap, x, ret = uat_test_map(ops, SZ_1M, SZ_1G, SZ_16K,
						      prot | memory[i]);
			u64 pte = uat_test_walk(cfg.apple_uat_cfg.ttbr, SZ_1M);

			if (ret) {
				KUNIT_EXPECT_EQ(test, ret, -EINVAL);
				KUNIT_EXPECT_EQ(test, pte, 0);
				continue;
			}

			ap = (pte >> 6) & 3;
			x = (pte >> 53) & 3;
			KUNIT_EXPECT_EQ(test, prot, gpu[ap][x] | fw[ap][x]);
			KUNIT_EXPECT_EQ(test, (pte >> 2) & 7, attrindx[i]);
			KUNIT_EXPECT_EQ(test, uat_test_unmap(ops, SZ_1M, SZ_16K),
					SZ_16K);
			found++;
		}
	}
	/* There are nine combinations */
	KUNIT_EXPECT_EQ(test, found, 9 * 3);

	/* What has no meaning is refused */
	KUNIT_EXPECT_EQ(test, -EINVAL,
			uat_test_map(ops, SZ_1M, SZ_1G, SZ_16K,
				     GPU_R | IOMMU_CACHE | IOMMU_MMIO));
	KUNIT_EXPECT_EQ(test, -EINVAL,
			uat_test_map(ops, SZ_1M, SZ_1G, SZ_16K,
				     GPU_R | IOMMU_PRIV));
	KUNIT_EXPECT_EQ(test, -EINVAL,
			uat_test_map(ops, SZ_1M, SZ_1G, SZ_16K,
				     GPU_R | IOMMU_NOEXEC));

	free_io_pgtable_ops(ops);
}

static void uat_test_overlap(struct kunit *test)
{
	struct io_pgtable_cfg cfg = uat_test_cfg(0);
	struct io_pgtable_ops *ops = uat_test_alloc(test, &cfg);
	u64 border = SZ_32M;

	KUNIT_EXPECT_EQ(test, 0, uat_test_map(ops, border + SZ_16K, SZ_1G,
					      SZ_16K, GPU_R));

	/* Found only in the second leaf table; the first must stay empty */
	KUNIT_EXPECT_EQ(test, -EEXIST, uat_test_map(ops, border - SZ_64K, SZ_2G,
						    2 * SZ_64K, GPU_R));
	KUNIT_EXPECT_EQ(test, ops->iova_to_phys(ops, border - SZ_64K), 0);
	KUNIT_EXPECT_EQ(test, ops->iova_to_phys(ops, border), 0);
	KUNIT_EXPECT_EQ(test, ops->iova_to_phys(ops, border + SZ_16K), SZ_1G);

	/* Side by side is fine */
	KUNIT_EXPECT_EQ(test, 0, uat_test_map(ops, border, SZ_2G, SZ_16K, GPU_R));
	KUNIT_EXPECT_EQ(test, 0, uat_test_map(ops, border + 2 * SZ_16K, SZ_2G,
					      SZ_16K, GPU_R));
	KUNIT_EXPECT_EQ(test, uat_test_unmap(ops, 0, 2 * SZ_32M), 3 * SZ_16K);

	free_io_pgtable_ops(ops);
}

static void uat_test_protect(struct kunit *test)
{
	struct io_pgtable_cfg cfg = uat_test_cfg(IO_PGTABLE_QUIRK_ARM_TTBR1);
	struct io_pgtable_ops *ops = uat_test_alloc(test, &cfg);
	u64 before, after;

	KUNIT_EXPECT_EQ(test, 0, uat_test_map(ops, UPPER + SZ_64K, SZ_1G, SZ_64K,
					      FW_R | FW_W | IOMMU_CACHE));
	before = uat_test_walk(cfg.apple_uat_cfg.ttbr, UPPER + SZ_64K);

	/* Holes stay holes */
	KUNIT_EXPECT_EQ(test, SZ_64K,
			io_pgtable_apple_uat_protect(ops, UPPER, SZ_1M,
						     FW_R | FW_W));
	KUNIT_EXPECT_EQ(test, ops->iova_to_phys(ops, UPPER), 0);
	after = uat_test_walk(cfg.apple_uat_cfg.ttbr, UPPER + SZ_64K);
	KUNIT_EXPECT_EQ(test, before & GENMASK_ULL(4, 2), 0 << 2);
	KUNIT_EXPECT_EQ(test, after & GENMASK_ULL(4, 2), 2 << 2);
	KUNIT_EXPECT_EQ(test, before & ~GENMASK_ULL(4, 2),
			after & ~GENMASK_ULL(4, 2));

	KUNIT_EXPECT_EQ(test, -EINVAL,
			io_pgtable_apple_uat_protect(ops, UPPER, SZ_1M, 0));
	KUNIT_EXPECT_EQ(test, -EINVAL,
			io_pgtable_apple_uat_protect(ops, UPPER, SZ_4K, FW_R));
	KUNIT_EXPECT_EQ(test, -ERANGE,
			io_pgtable_apple_uat_protect(ops, 0, SZ_1M, FW_R));

	free_io_pgtable_ops(ops);
}

static void uat_test_limits(struct kunit *test)
{
	struct io_pgtable_cfg cfg = uat_test_cfg(0);
	struct io_pgtable_ops *ops = uat_test_alloc(test, &cfg);
	size_t mapped = 0;

	/* Input addresses */
	KUNIT_EXPECT_EQ(test, -ERANGE, uat_test_map(ops, BIT_ULL(39), SZ_1G,
						    SZ_16K, GPU_R));
	KUNIT_EXPECT_EQ(test, -ERANGE, uat_test_map(ops, BIT_ULL(39) - SZ_16K,
						    SZ_1G, SZ_32K, GPU_R));
	KUNIT_EXPECT_EQ(test, -ERANGE, uat_test_map(ops, UPPER, SZ_1G, SZ_16K,
						    GPU_R));
	KUNIT_EXPECT_EQ(test, uat_test_unmap(ops, BIT_ULL(39), SZ_16K), 0);
	KUNIT_EXPECT_EQ(test, ops->iova_to_phys(ops, BIT_ULL(39)), 0);

	/* Output addresses */
	KUNIT_EXPECT_EQ(test, -ERANGE, uat_test_map(ops, 0, BIT_ULL(40), SZ_16K,
						    GPU_R));
	KUNIT_EXPECT_EQ(test, -ERANGE, uat_test_map(ops, 0,
						    BIT_ULL(40) - SZ_16K,
						    SZ_32K, GPU_R));
	KUNIT_EXPECT_EQ(test, 0, uat_test_map(ops, 0, BIT_ULL(40) - SZ_16K,
					      SZ_16K, GPU_R));
	KUNIT_EXPECT_EQ(test, ops->iova_to_phys(ops, 0), BIT_ULL(40) - SZ_16K);

	/* Alignment and size */
	KUNIT_EXPECT_EQ(test, -EINVAL, uat_test_map(ops, SZ_4K, SZ_1G, SZ_16K,
						    GPU_R));
	KUNIT_EXPECT_EQ(test, -EINVAL, uat_test_map(ops, SZ_1M, SZ_4K, SZ_16K,
						    GPU_R));
	KUNIT_EXPECT_EQ(test, -EINVAL, uat_test_map(ops, SZ_1M, SZ_1G, 0, GPU_R));
	KUNIT_EXPECT_EQ(test, -EINVAL,
			ops->map_pages(ops, SZ_1M, SZ_1G, SZ_4K, 1, GPU_R,
				       GFP_KERNEL, &mapped));
	KUNIT_EXPECT_EQ(test, -ERANGE,
			ops->map_pages(ops, SZ_1M, SZ_1G, SZ_16K, SIZE_MAX / 2,
				       GPU_R, GFP_KERNEL, &mapped));
	KUNIT_EXPECT_EQ(test, mapped, 0);

	free_io_pgtable_ops(ops);
}

static void uat_test_upper(struct kunit *test)
{
	struct io_pgtable_cfg cfg = uat_test_cfg(IO_PGTABLE_QUIRK_ARM_TTBR1);
	struct io_pgtable_ops *ops = uat_test_alloc(test, &cfg);
	u64 last = -(u64)SZ_16K;

	KUNIT_EXPECT_EQ(test, 0, uat_test_map(ops, UPPER, SZ_1G, SZ_16K, FW_R));
	KUNIT_EXPECT_EQ(test, 0, uat_test_map(ops, last, SZ_2G, SZ_16K, FW_R));
	KUNIT_EXPECT_EQ(test, ops->iova_to_phys(ops, UPPER), SZ_1G);
	KUNIT_EXPECT_EQ(test, ops->iova_to_phys(ops, U64_MAX),
			SZ_2G + SZ_16K - 1);

	/* All contexts share this half */
	KUNIT_EXPECT_FALSE(test, uat_test_walk(cfg.apple_uat_cfg.ttbr, UPPER) &
				 BIT_ULL(11));

	KUNIT_EXPECT_EQ(test, -ERANGE, uat_test_map(ops, 0, SZ_1G, SZ_16K, FW_R));
	KUNIT_EXPECT_EQ(test, -ERANGE, uat_test_map(ops, UPPER - SZ_16K, SZ_1G,
						    SZ_16K, FW_R));
	KUNIT_EXPECT_EQ(test, -ERANGE, uat_test_map(ops, last, SZ_1G, SZ_32K,
						    FW_R));

	KUNIT_EXPECT_EQ(test, uat_test_unmap(ops, UPPER, SZ_16K), SZ_16K);
	KUNIT_EXPECT_EQ(test, uat_test_unmap(ops, last, SZ_16K), SZ_16K);

	free_io_pgtable_ops(ops);
}

static u64 *uat_test_table(struct kunit *test)
{
	unsigned long page = __get_free_pages(GFP_KERNEL | __GFP_ZERO,
					      get_order(SZ_16K));

	KUNIT_ASSERT_NE(test, page, 0);

	return (u64 *)page;
}

static void uat_test_adopt(struct kunit *test)
{
	struct io_pgtable_cfg cfg = uat_test_cfg(IO_PGTABLE_QUIRK_ARM_TTBR1);
	struct uat_test *t = test->priv;
	u64 *root = uat_test_table(test);
	u64 *dir = uat_test_table(test);
	u64 *leaf = uat_test_table(test);
	u64 *copy = uat_test_table(test);
	struct io_pgtable_ops *ops;
	u64 shared = UPPER + 2 * SZ_64G;

	/*
	 * As a bootloader leaves it: a table of the firmware's own, of which
	 * it is no use to know more than that it is there, and one that is
	 * meant for us, with something in it already.
	 */
	root[0] = SZ_4G | 3;
	root[2] = virt_to_phys(dir) | 3;
	dir[7] = virt_to_phys(leaf) | 3;
	leaf[1] = SZ_8G | 3;
	memcpy(copy, dir, SZ_16K);

	cfg.apple_uat_cfg.adopt = virt_to_phys(root);
	ops = uat_test_alloc(test, &cfg);
	KUNIT_EXPECT_EQ(test, cfg.apple_uat_cfg.ttbr, virt_to_phys(root));

	/* Next to what is there, in its table and in one of our own */
	KUNIT_EXPECT_EQ(test, 0, uat_test_map(ops, shared, SZ_1G, SZ_64K, FW_R));
	KUNIT_EXPECT_EQ(test, 0, uat_test_map(ops, UPPER + SZ_64G, SZ_1G, SZ_64K,
					      FW_R));
	KUNIT_EXPECT_EQ(test, uat_test_walk(virt_to_phys(root), shared) &
			GENMASK_ULL(47, 14), SZ_1G);
	KUNIT_EXPECT_EQ(test, uat_test_walk(virt_to_phys(root), UPPER + SZ_64G) &
			GENMASK_ULL(47, 14), SZ_1G);
	KUNIT_EXPECT_EQ(test, ops->iova_to_phys(ops, shared), SZ_1G);

	/* But not in tables that are in use, full or not */
	KUNIT_EXPECT_EQ(test, -EEXIST, uat_test_map(ops, shared + 7 * SZ_32M,
						    SZ_1G, SZ_16K, FW_R));
	KUNIT_EXPECT_EQ(test, -EEXIST,
			uat_test_map(ops, shared + 7 * SZ_32M + SZ_16K, SZ_1G,
				     SZ_16K, FW_R));
	KUNIT_EXPECT_EQ(test, -EEXIST,
			uat_test_map(ops, shared + 7 * SZ_32M - SZ_16K, SZ_1G,
				     SZ_32K, FW_R));
	KUNIT_EXPECT_EQ(test, uat_test_unmap(ops, shared + 7 * SZ_32M, SZ_64K), 0);
	KUNIT_EXPECT_EQ(test, ops->iova_to_phys(ops, shared + 7 * SZ_32M + SZ_16K),
			0);
	KUNIT_EXPECT_EQ(test, uat_test_unmap(ops, shared, SZ_64K), SZ_64K);

	/* And afterwards all is as it was, and the TLB knows */
	t->flushes = 0;
	free_io_pgtable_ops(ops);
	KUNIT_EXPECT_GE(test, t->flushes, 2);
	KUNIT_EXPECT_EQ(test, root[0], SZ_4G | 3);
	KUNIT_EXPECT_EQ(test, root[1], 0);
	KUNIT_EXPECT_EQ(test, root[2], virt_to_phys(dir) | 3);
	KUNIT_EXPECT_MEMEQ(test, dir, copy, SZ_16K);
	KUNIT_EXPECT_EQ(test, leaf[1], SZ_8G | 3);

	/* A block cannot be looked into */
	root[3] = SZ_64G | 1;
	cfg.apple_uat_cfg.adopt = virt_to_phys(root);
	ops = uat_test_alloc(test, &cfg);
	KUNIT_EXPECT_EQ(test, -EEXIST, uat_test_map(ops, UPPER + 3 * SZ_64G,
						    SZ_1G, SZ_16K, FW_R));
	free_io_pgtable_ops(ops);

	free_pages((unsigned long)root, get_order(SZ_16K));
	free_pages((unsigned long)dir, get_order(SZ_16K));
	free_pages((unsigned long)leaf, get_order(SZ_16K));
	free_pages((unsigned long)copy, get_order(SZ_16K));
}

static int uat_test_init(struct kunit *test)
{
	test->priv = kunit_kzalloc(test, sizeof(struct uat_test), GFP_KERNEL);

	return test->priv ? 0 : -ENOMEM;
}

static struct kunit_case uat_test_cases[] = {
	KUNIT_CASE(uat_test_config),
	KUNIT_CASE(uat_test_walks),
	KUNIT_CASE(uat_test_reserve),
	KUNIT_CASE(uat_test_repeated),
	KUNIT_CASE(uat_test_large),
	KUNIT_CASE(uat_test_permissions),
	KUNIT_CASE(uat_test_overlap),
	KUNIT_CASE(uat_test_protect),
	KUNIT_CASE(uat_test_limits),
	KUNIT_CASE(uat_test_upper),
	KUNIT_CASE(uat_test_adopt),
	{}
};

static struct kunit_suite uat_test_suite = {
	.name = "io-pgtable-apple-uat",
	.init = uat_test_init,
	.test_cases = uat_test_cases,
};

kunit_test_suite(uat_test_suite);

MODULE_DESCRIPTION("KUnit tests for Apple UAT page tables");
MODULE_LICENSE("Dual MIT/GPL");

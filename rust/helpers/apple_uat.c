// SPDX-License-Identifier: GPL-2.0-only OR MIT

#include <linux/cpufeature.h>
#include <linux/io-pgtable.h>
#include <linux/sizes.h>

#ifdef CONFIG_ARM64

#include <asm/barrier.h>
#include <asm/tlbflush.h>

/* From this number of pages on, one invalidation of the ASID costs less */
#define APPLE_UAT_TLB_MAX_PAGES		64

static inline bool apple_uat_has_tlbios(void)
{
	u64 isar0 = read_sanitised_ftr_reg(SYS_ID_AA64ISAR0_EL1);

	return cpuid_feature_extract_unsigned_field(isar0,
			ID_AA64ISAR0_EL1_TLB_SHIFT) >= ID_AA64ISAR0_EL1_TLB_OS;
}

__rust_helper void rust_helper_apple_uat_tlb_flush_all(void)
{
	if (!apple_uat_has_tlbios())
		return;

	dsb(sy);
	__tlbi(vmalle1os);
	dsb(sy);
}

__rust_helper void rust_helper_apple_uat_tlb_flush_asid(u8 asid)
{
	if (!apple_uat_has_tlbios())
		return;

	dsb(sy);
	__tlbi(aside1os, (u64)asid << 48);
	dsb(sy);
}

__rust_helper void rust_helper_apple_uat_tlb_flush_range(u8 asid, u64 iova,
							 size_t size)
{
	bool upper = iova >> 63;
	size_t i;

	if (!apple_uat_has_tlbios())
		return;

	dsb(sy);
	if (size > APPLE_UAT_TLB_MAX_PAGES * SZ_16K) {
		if (upper)
			__tlbi(vmalle1os);
		else
			__tlbi(aside1os, (u64)asid << 48);
	} else {
		for (i = 0; i < size; i += SZ_16K) {
			u64 va = ((iova + i) >> 12) & GENMASK_ULL(43, 0);

			/* An entry of the upper half has no ASID */
			if (upper)
				__tlbi(vaae1os, va);
			else
				__tlbi(vae1os, va | (u64)asid << 48);
		}
	}
	dsb(sy);
}

#else /* CONFIG_ARM64 */

__rust_helper void rust_helper_apple_uat_tlb_flush_all(void)
{
}

__rust_helper void rust_helper_apple_uat_tlb_flush_asid(u8 asid)
{
}

__rust_helper void rust_helper_apple_uat_tlb_flush_range(u8 asid, u64 iova,
							 size_t size)
{
}

#endif /* CONFIG_ARM64 */

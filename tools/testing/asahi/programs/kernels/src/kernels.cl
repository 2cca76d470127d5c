// SPDX-License-Identifier: MIT OR Apache-2.0

// Kernels of which every result is exact by the language's rules, so that any two implementations agree to the bit.
// One thing is left out on purpose: `x >> (n & 31) & 3` with a variable n. Mesa 26.1 makes a bfeil of it without the
// mask (fuse_ubfe in src/asahi/compiler/agx_nir_algebraic.py), and bfeil takes seven bits of n.
//
// Each takes words in `in`, gives words in `out`, and has WORDS threads in groups of GROUP.

#pragma OPENCL FP_CONTRACT OFF

kernel void integers(global const uint *in, global uint *out)
{
	size_t i = get_global_id(0);
	uint a = in[i], b = in[(i + 1) % WORDS];
	int c = as_int(a), d = as_int(b);
	uint r = a * b + mul_hi(a, b) + (uint)mul_hi(c, d);
	r ^= rotate(a, b) + popcount(a) + clz(b | 1);
	r += add_sat(c, d) ^ sub_sat(c, d) ^ (int)add_sat(a, b);
	r ^= hadd(a, b) + (uint)rhadd(c, d) + abs_diff(c, d) + abs(c);
	// The least number by minus one is nothing.
	int e = max(c, -INT_MAX);
	r += a / (b | 1) + a % (b | 1) + (uint)(e / (d | 1)) + (uint)(e % (d | 1));
	r ^= (a << (b & 31)) + (a >> (b & 31)) + (uint)(c >> (d & 31));
	r += (uint)mad24(c >> 9, d >> 9, c) + bitselect(a, b, r) + (a < b) + (c < d) + max(c, d) + min(a, b);
	out[i] = r;
}

kernel void longs(global const uint *in, global uint *out)
{
	size_t i = get_global_id(0);
	ulong a = upsample(in[i], in[(i + 3) % WORDS]), b = upsample(in[(i + 7) % WORDS], in[i]);
	ulong r = a * b + mul_hi(a, b) + rotate(a, b) + popcount(b);
	r ^= a / (b >> 20 | 1) + a % (b >> 30 | 1) + (ulong)((long)a / ((long)b >> 25 | 1));
	r += (a << (b & 63)) ^ (a >> (b & 63)) ^ (ulong)((long)a >> (b & 63)) ^ (a < b) ^ ((long)a < (long)b);
	out[i] = (uint)r ^ (uint)(r >> 32);
}

kernel void small(global const uint *in, global uint *out)
{
	size_t i = get_global_id(0);
	uchar4 a = as_uchar4(in[i]), b = as_uchar4(in[(i + 5) % WORDS]);
	short2 c = as_short2(in[i]), d = as_short2(in[(i + 5) % WORDS]);
	uchar4 r = add_sat(a, b) ^ sub_sat(a, b) ^ (a * b) ^ hadd(a, b) ^ mul_hi(a, b) ^ rotate(a, b);
	short2 s = add_sat(c, d) ^ sub_sat(c, d) ^ (c * d) ^ mul_hi(c, d) ^ (c >> (short2)3) ^ max(c, d);
	out[i] = as_uint(r) + as_uint(s) + as_uint(convert_uchar4_sat(convert_int4(a) - 2 * convert_int4(b)));
}

// Between one and some thousands, without a subnormal on the way.
float real(uint word)
{
	return (float)(word >> 8) * 0x1p-12f + 1.0f;
}

kernel void floats(global const uint *in, global uint *out)
{
	size_t i = get_global_id(0);
	float a = real(in[i]), b = real(in[(i + 1) % WORDS]), c = real(in[(i + 2) % WORDS]);
	float r = fma(a, b, -c) + (a * b - c) + (a - b) * c;
	r += floor(a) - ceil(b) + trunc(c) + rint(a) + fmin(a, b) - fmax(b, c) + fabs(a - c) + copysign(a, b - c);
	uint bits = as_uint(r);
	bits ^= (uint)(int)(a - b) + convert_uint_rtz(a) + (uint)convert_int_rte(b - c) + convert_uint_sat(a * -b);
	bits += as_uint((float)in[i]) + as_uint((float)as_int(in[i])) + isless(a, b) + isgreaterequal(b, c);
	bits ^= as_uint(step(a, b)) + as_uint(select(a, c, (int)in[i])) + as_uint(clamp(a, 100.0f, 200.0f));
	out[i] = bits;
}

kernel void control(global const uint *in, global uint *out)
{
	size_t i = get_global_id(0);
	uint x = in[i], r = 0, table[16];
	for (int j = 0; j < 16; j++)
		table[j] = x * (2 * j + 1);
	for (uint j = 0; j < (x & 63); j++) {
		if ((x * (j | 1) >> 30) == 1)
			continue;
		switch ((x + j) % 5) {
		case 0: r += table[r & 15]; break;
		case 1: r ^= table[j & 15]; break;
		case 2: table[r & 15] ^= r + j; break;
		default: r = rotate(r, j) + 1;
		}
		if (r > 0xf0000000)
			break;
		while (r & 1)
			r >>= 1;
	}
	out[i] = r + table[x & 15];
}

kernel void groups(global const uint *in, global uint *out)
{
	local uint there[GROUP];
	local uint sum, most, bits;
	size_t i = get_global_id(0), at = get_local_id(0);
	if (at == 0)
		sum = most = bits = 0;
	there[at] = in[i];
	barrier(CLK_LOCAL_MEM_FENCE);
	atomic_add(&sum, in[i]);
	atomic_max(&most, in[i]);
	atomic_xor(&bits, in[i] * 3);
	for (uint step = GROUP / 2; step > 0; step /= 2) {
		uint other = there[(at + step) % GROUP];
		barrier(CLK_LOCAL_MEM_FENCE);
		there[at] = there[at] * 5 + other;
		barrier(CLK_LOCAL_MEM_FENCE);
	}
	out[i] = there[at] + sum + (most ^ bits);
}

kernel void atomics(global const uint *in, global uint *out)
{
	size_t i = get_global_id(0);
	uint x = in[i];
	atomic_add(&out[x % 64], x);
	atomic_xor(&out[64 + x % 64], x);
	atomic_min((global int *)&out[128 + x % 64], as_int(x));
	atomic_max(&out[192 + x % 64], x);
	atomic_or(&out[256 + x % 64], 1u << (x >> 27));
	atomic_inc(&out[320 + x % 64]);
}

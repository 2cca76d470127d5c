// SPDX-License-Identifier: MIT OR Apache-2.0
/*
 * vecadd [PLATFORM [ELEMENTS]]: adds two vectors with OpenCL and checks each element of the sum
 * against the CPU's.
 *
 * It runs on the first GPU of the platform of that name ("rusticl" if none is given), once with
 * 32-bit floating point numbers and once with 32-bit integers, and ends with status 0 only if
 * every element is right.
 */

#define CL_TARGET_OPENCL_VERSION 300

#include <CL/cl.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* How many wrong elements are shown. */
#define SHOWN 8

static const char *const source =
	"kernel void add_float(global const float *a, global const float *b, global float *sum)\n"
	"{\n"
	"	size_t i = get_global_id(0);\n"
	"	sum[i] = a[i] + b[i];\n"
	"}\n"
	"kernel void add_int(global const int *a, global const int *b, global int *sum)\n"
	"{\n"
	"	size_t i = get_global_id(0);\n"
	"	sum[i] = a[i] + b[i];\n"
	"}\n";

static void check(cl_int status, const char *what)
{
	if (status == CL_SUCCESS)
		return;
	fprintf(stderr, "vecadd: %s: OpenCL error %d\n", what, status);
	exit(1);
}

static void *allocate(size_t count, size_t size)
{
	void *memory = calloc(count, size);

	if (!memory) {
		fprintf(stderr, "vecadd: out of memory\n");
		exit(1);
	}
	return memory;
}

static cl_platform_id find_platform(const char *name)
{
	cl_platform_id platforms[16];
	cl_uint count = 0;

	check(clGetPlatformIDs(16, platforms, &count), "clGetPlatformIDs");
	for (cl_uint i = 0; i < count && i < 16; i++) {
		char found[128] = "";

		check(clGetPlatformInfo(platforms[i], CL_PLATFORM_NAME, sizeof(found), found, NULL),
		      "clGetPlatformInfo");
		if (!strcmp(found, name))
			return platforms[i];
	}
	fprintf(stderr, "vecadd: no OpenCL platform is named \"%s\"\n", name);
	exit(1);
}

/* A generator (xorshift) of numbers that repeat neither in a wave nor in a page. */
static uint32_t next(uint32_t *state)
{
	uint32_t x = *state;

	x ^= x << 13;
	x ^= x >> 17;
	x ^= x << 5;
	return *state = x;
}

static uint32_t bits(float value)
{
	uint32_t raw;

	memcpy(&raw, &value, sizeof(raw));
	return raw;
}

/* Magnitudes differ by up to 2^12, so that most sums must be rounded. */
static uint32_t some_float(uint32_t *state)
{
	int32_t mantissa = (int32_t)(next(state) >> 7) - (1 << 24);

	return bits((float)mantissa / (float)(1 << (next(state) % 13)));
}

struct test {
	const char *name;
	const char *kernel;
	uint32_t (*generate)(uint32_t *state);
	uint32_t (*add)(uint32_t a, uint32_t b);
};

static uint32_t add_float(uint32_t a, uint32_t b)
{
	float x, y;

	memcpy(&x, &a, sizeof(x));
	memcpy(&y, &b, sizeof(y));
	return bits(x + y);
}

static uint32_t add_int(uint32_t a, uint32_t b)
{
	return a + b;
}

static const struct test tests[] = {
	{ "float", "add_float", some_float, add_float },
	{ "int", "add_int", next, add_int },
	{ NULL, NULL, NULL, NULL },
};

struct machine {
	cl_context context;
	cl_command_queue queue;
	cl_program program;
};

static cl_mem buffer(const struct machine *m, cl_mem_flags flags, size_t size, void *data)
{
	cl_int status;
	cl_mem mem = clCreateBuffer(m->context, flags, size, data, &status);

	check(status, "clCreateBuffer");
	return mem;
}

static double milliseconds(cl_event event)
{
	cl_ulong start = 0, end = 0;

	check(clGetEventProfilingInfo(event, CL_PROFILING_COMMAND_START, sizeof(start), &start,
				      NULL), "start time");
	check(clGetEventProfilingInfo(event, CL_PROFILING_COMMAND_END, sizeof(end), &end, NULL),
	      "end time");
	return (double)(end - start) / 1e6;
}

static bool run(const struct machine *m, const struct test *test, size_t count)
{
	uint32_t *a = allocate(count, sizeof(*a));
	uint32_t *b = allocate(count, sizeof(*b));
	uint32_t *sum = allocate(count, sizeof(*sum));
	size_t size = count * sizeof(*a), wrong = 0;
	uint32_t state = 0x2545f491;
	cl_event event;
	cl_int status;

	for (size_t i = 0; i < count; i++) {
		a[i] = test->generate(&state);
		b[i] = test->generate(&state);
		/* What must not be mistaken for a result. */
		sum[i] = ~test->add(a[i], b[i]);
	}

	cl_mem_flags copy = CL_MEM_COPY_HOST_PTR;
	cl_mem in_a = buffer(m, CL_MEM_READ_ONLY | copy, size, a);
	cl_mem in_b = buffer(m, CL_MEM_READ_ONLY | copy, size, b);
	cl_mem out = buffer(m, CL_MEM_WRITE_ONLY | copy, size, sum);
	cl_kernel kernel = clCreateKernel(m->program, test->kernel, &status);

	check(status, "clCreateKernel");
	check(clSetKernelArg(kernel, 0, sizeof(cl_mem), &in_a), "clSetKernelArg");
	check(clSetKernelArg(kernel, 1, sizeof(cl_mem), &in_b), "clSetKernelArg");
	check(clSetKernelArg(kernel, 2, sizeof(cl_mem), &out), "clSetKernelArg");
	check(clEnqueueNDRangeKernel(m->queue, kernel, 1, NULL, &count, NULL, 0, NULL, &event),
	      "clEnqueueNDRangeKernel");
	check(clWaitForEvents(1, &event), "clWaitForEvents");
	check(clEnqueueReadBuffer(m->queue, out, CL_TRUE, 0, size, sum, 0, NULL, NULL),
	      "clEnqueueReadBuffer");

	for (size_t i = 0; i < count; i++) {
		uint32_t right = test->add(a[i], b[i]);

		if (sum[i] != right && wrong++ < SHOWN)
			printf("%s[%zu]: %#010" PRIx32 " + %#010" PRIx32 " = %#010" PRIx32
			       ", not %#010" PRIx32 "\n",
			       test->name, i, a[i], b[i], right, sum[i]);
	}
	printf("%s: %zu elements, %zu mismatches, kernel %.3f ms\n", test->name, count, wrong,
	       milliseconds(event));

	clReleaseEvent(event);
	clReleaseKernel(kernel);
	clReleaseMemObject(out);
	clReleaseMemObject(in_b);
	clReleaseMemObject(in_a);
	free(sum);
	free(b);
	free(a);
	return !wrong;
}

static cl_program build(cl_context context, cl_device_id device)
{
	cl_int status;
	cl_program program = clCreateProgramWithSource(context, 1, (const char **)&source, NULL,
						       &status);

	check(status, "clCreateProgramWithSource");
	status = clBuildProgram(program, 1, &device, "", NULL, NULL);
	if (status != CL_SUCCESS) {
		char log[4096] = "";

		clGetProgramBuildInfo(program, device, CL_PROGRAM_BUILD_LOG, sizeof(log), log,
				      NULL);
		fprintf(stderr, "%s\n", log);
		check(status, "clBuildProgram");
	}
	return program;
}

int main(int argc, char **argv)
{
	const cl_queue_properties properties[] = {
		CL_QUEUE_PROPERTIES, CL_QUEUE_PROFILING_ENABLE, 0
	};
	size_t count = argc > 2 ? strtoul(argv[2], NULL, 0) : 1 << 20;
	char name[256] = "";
	cl_device_id device;
	struct machine m;
	cl_int status;
	bool right = true;

	if (argc > 3 || !count) {
		fprintf(stderr, "usage: vecadd [PLATFORM [ELEMENTS]]\n");
		return 2;
	}

	cl_platform_id platform = find_platform(argc > 1 ? argv[1] : "rusticl");

	check(clGetDeviceIDs(platform, CL_DEVICE_TYPE_GPU, 1, &device, NULL), "no GPU");
	check(clGetDeviceInfo(device, CL_DEVICE_NAME, sizeof(name), name, NULL),
	      "clGetDeviceInfo");
	printf("device: %s\n", name);

	m.context = clCreateContext(NULL, 1, &device, NULL, NULL, &status);
	check(status, "clCreateContext");
	m.queue = clCreateCommandQueueWithProperties(m.context, device, properties, &status);
	check(status, "clCreateCommandQueueWithProperties");
	m.program = build(m.context, device);

	for (const struct test *test = tests; test->name; test++)
		right &= run(&m, test, count);

	clReleaseProgram(m.program);
	clReleaseCommandQueue(m.queue);
	clReleaseContext(m.context);
	return right ? 0 : 1;
}

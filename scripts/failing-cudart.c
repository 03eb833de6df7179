// A GPU that fails, between ggml and CUDA's runtime: by LD_PRELOAD. Its memory is the host's, and a kernel
// that is started does nothing. FAIL_AT says where it fails: `context` (the device cannot be taken), `load`
// (no memory), `kernel` (the module has no code for it), `decode` (the first work ends in an error, as does
// all after it). What is not here is CUDA's, which finds no driver.
#include <cuda_runtime_api.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int fails_at(const char * stage) {
    const char * named = getenv("FAIL_AT");
    return named && strcmp(named, stage) == 0;
}

static cudaError_t last;   // until it is asked for
static cudaError_t broken; // from then on

static cudaError_t told(cudaError_t error) {
    if (error != cudaSuccess) last = error;
    return error;
}

static cudaError_t done(void) {
    return told(broken);
}

cudaError_t cudaGetLastError(void) {
    cudaError_t error = last;
    last = broken;
    return error;
}

cudaError_t cudaPeekAtLastError(void) {
    return last;
}

// One GPU, by what it says a T4.

enum { MEMORY = 1 << 30, SHARED = 64 << 10 };

cudaError_t cudaGetDeviceCount(int * count) {
    *count = 1;
    return cudaSuccess;
}

cudaError_t cudaGetDeviceProperties(struct cudaDeviceProp * device, int number) {
    (void) number;
    memset(device, 0, sizeof *device);
    snprintf(device->name, sizeof device->name, "a GPU that is none");
    device->major = 7;
    device->minor = 5;
    device->warpSize = 32;
    device->multiProcessorCount = 40;
    device->sharedMemPerBlock = SHARED;
    device->sharedMemPerBlockOptin = SHARED;
    device->totalGlobalMem = MEMORY;
    return cudaSuccess;
}

cudaError_t cudaDeviceGetAttribute(int * value, enum cudaDeviceAttr attribute, int device) {
    (void) attribute, (void) device;
    *value = 0;
    return cudaSuccess;
}

cudaError_t cudaDeviceGetPCIBusId(char * id, int length, int device) {
    snprintf(id, (size_t) length, "0000:00:0%d.0", device);
    return cudaSuccess;
}

cudaError_t cudaGetDevice(int * device) {
    *device = 0;
    return cudaSuccess;
}

cudaError_t cudaSetDevice(int device) {
    (void) device;
    return told(fails_at("context") ? cudaErrorDevicesUnavailable : cudaSuccess);
}

cudaError_t cudaMemGetInfo(size_t * free, size_t * total) {
    *free = *total = MEMORY;
    return told(fails_at("context") ? cudaErrorDevicesUnavailable : broken);
}

// Memory.

cudaError_t cudaMalloc(void ** memory, size_t bytes) {
    *memory = fails_at("load") ? NULL : aligned_alloc(512, (bytes + 511) & ~(size_t) 511);
    return told(*memory ? cudaSuccess : cudaErrorMemoryAllocation);
}

cudaError_t cudaMallocHost(void ** memory, size_t bytes) {
    *memory = aligned_alloc(512, (bytes + 511) & ~(size_t) 511);
    return told(*memory ? cudaSuccess : cudaErrorMemoryAllocation);
}

cudaError_t cudaFree(void * memory) {
    free(memory);
    return done();
}

cudaError_t cudaFreeHost(void * memory) {
    free(memory);
    return done();
}

cudaError_t cudaMemcpyAsync(void * to, const void * from, size_t bytes, enum cudaMemcpyKind kind, cudaStream_t stream) {
    (void) kind, (void) stream;
    memmove(to, from, bytes);
    return done();
}

cudaError_t cudaMemcpy2DAsync(void * to, size_t to_pitch, const void * from, size_t from_pitch, size_t width, size_t height,
                              enum cudaMemcpyKind kind, cudaStream_t stream) {
    (void) kind, (void) stream;
    for (size_t row = 0; row < height; row++) memmove((char *) to + row * to_pitch, (const char *) from + row * from_pitch, width);
    return done();
}

cudaError_t cudaMemset(void * memory, int value, size_t bytes) {
    memset(memory, value, bytes);
    return done();
}

cudaError_t cudaMemsetAsync(void * memory, int value, size_t bytes, cudaStream_t stream) {
    (void) stream;
    return cudaMemset(memory, value, bytes);
}

// Streams and events: all is done at once.

cudaError_t cudaStreamCreateWithFlags(cudaStream_t * stream, unsigned flags) {
    (void) flags;
    *stream = (cudaStream_t) &last;
    return done();
}

cudaError_t cudaStreamDestroy(cudaStream_t stream) {
    (void) stream;
    return done();
}

cudaError_t cudaStreamSynchronize(cudaStream_t stream) {
    (void) stream;
    return done();
}

cudaError_t cudaDeviceSynchronize(void) {
    return done();
}

cudaError_t cudaStreamWaitEvent(cudaStream_t stream, cudaEvent_t event, unsigned flags) {
    (void) stream, (void) event, (void) flags;
    return done();
}

cudaError_t cudaEventCreateWithFlags(cudaEvent_t * event, unsigned flags) {
    (void) flags;
    *event = (cudaEvent_t) &last;
    return done();
}

cudaError_t cudaEventDestroy(cudaEvent_t event) {
    (void) event;
    return done();
}

cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream) {
    (void) event, (void) stream;
    return done();
}

cudaError_t cudaEventSynchronize(cudaEvent_t event) {
    (void) event;
    return done();
}

// Kernels.

static cudaError_t started(void) {
    if (fails_at("kernel")) return told(cudaErrorNoKernelImageForDevice);
    if (fails_at("decode")) broken = cudaErrorIllegalAddress;
    return done();
}

cudaError_t cudaFuncGetAttributes(struct cudaFuncAttributes * attributes, const void * kernel) {
    (void) kernel;
    memset(attributes, 0, sizeof *attributes);
    attributes->maxThreadsPerBlock = 1024;
    attributes->ptxVersion = attributes->binaryVersion = 75;
    return told(fails_at("kernel") ? cudaErrorNoKernelImageForDevice : broken);
}

cudaError_t cudaFuncSetAttribute(const void * kernel, enum cudaFuncAttribute attribute, int value) {
    (void) kernel, (void) attribute, (void) value;
    return done();
}

cudaError_t cudaOccupancyMaxActiveBlocksPerMultiprocessorWithFlags(int * blocks, const void * kernel, int threads, size_t shared,
                                                                   unsigned flags) {
    (void) kernel, (void) threads, (void) shared, (void) flags;
    *blocks = 1;
    return done();
}

static struct { dim3 grid, block; size_t shared; cudaStream_t stream; } call;

unsigned __cudaPushCallConfiguration(dim3 grid, dim3 block, size_t shared, cudaStream_t stream) {
    call.grid = grid, call.block = block, call.shared = shared, call.stream = stream;
    return 0;
}

cudaError_t __cudaPopCallConfiguration(dim3 * grid, dim3 * block, size_t * shared, cudaStream_t * stream) {
    *grid = call.grid, *block = call.block, *shared = call.shared, *stream = call.stream;
    return cudaSuccess;
}

cudaError_t __cudaGetKernel(cudaKernel_t * kernel, const void * function) {
    *kernel = (cudaKernel_t) function;
    return cudaSuccess;
}

cudaError_t __cudaLaunchKernel(cudaKernel_t kernel, dim3 grid, dim3 block, void ** arguments, size_t shared, cudaStream_t stream) {
    (void) kernel, (void) grid, (void) block, (void) arguments, (void) shared, (void) stream;
    return started();
}

cudaError_t cudaLaunchKernelExC(const cudaLaunchConfig_t * config, const void * kernel, void ** arguments) {
    (void) config, (void) kernel, (void) arguments;
    return started();
}

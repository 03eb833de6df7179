// A driver of NVIDIA's that fails: a libcuda.so.1 for CUDA's own runtime to find. FAIL_AT says where:
// `version` (it is older than the runtime), `init` (cuInit fails), `device` (all that is asked of a device
// fails). Further no driver gets that is not NVIDIA's: the runtime has it prove that it is.
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

enum { SUCCESS = 0, NOT_SUPPORTED = 801, UNKNOWN = 999 };

static int fails_at(const char * stage) {
    const char * named = getenv("FAIL_AT");
    return named && strcmp(named, stage) == 0;
}

int cuDriverGetVersion(int * version) {
    *version = fails_at("version") ? 12000 : 99000;
    return SUCCESS;
}

int cuInit(unsigned flags) {
    (void) flags;
    return fails_at("init") ? UNKNOWN : SUCCESS;
}

static int not_supported(void) {
    return NOT_SUPPORTED;
}

int cuGetProcAddress_v2(const char * name, void ** function, int version, uint64_t flags, int * found) {
    (void) version, (void) flags;
    if (found) *found = 0;
    *function = (void *) not_supported;
    if (strcmp(name, "cuInit") == 0) *function = (void *) cuInit;
    if (strcmp(name, "cuDriverGetVersion") == 0) *function = (void *) cuDriverGetVersion;
    if (strcmp(name, "cuGetProcAddress") == 0) *function = (void *) cuGetProcAddress_v2;
    return SUCCESS;
}

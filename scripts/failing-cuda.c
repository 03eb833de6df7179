// NVIDIA's driver, as a host has it whose device does not work: built as libcuda.so.1. It is found and
// tells a version; whatever else is asked of it fails.
#include <stddef.h>
#include <string.h>

enum { SUCCESS = 0, UNKNOWN = 999 };

static int fails(void) {
    return UNKNOWN;
}

int cuDriverGetVersion(int * version) {
    *version = 13050;
    return SUCCESS;
}

int cuInit(unsigned flags) {
    (void) flags;
    return UNKNOWN;
}

int cuGetProcAddress_v2(const char * name, void ** function, int version, unsigned long long flags, int * found);

static void * named(const char * name) {
    if (strcmp(name, "cuDriverGetVersion") == 0) return (void *) cuDriverGetVersion;
    if (strncmp(name, "cuGetProcAddress", 16) == 0) return (void *) cuGetProcAddress_v2;
    return (void *) fails;
}

int cuGetProcAddress_v2(const char * name, void ** function, int version, unsigned long long flags, int * found) {
    (void) version, (void) flags;
    *function = named(name);
    if (found) *found = 0;
    return SUCCESS;
}

int cuGetProcAddress(const char * name, void ** function, int version, unsigned long long flags) {
    return cuGetProcAddress_v2(name, function, version, flags, NULL);
}

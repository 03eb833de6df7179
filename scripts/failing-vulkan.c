// A driver that fails, between ggml and Vulkan's loader: by LD_PRELOAD. FAIL_AT says where: `init`
// (no instance), `load` (no device memory), `decode` (the device is lost at the first work).
#include <dlfcn.h>
#include <stdlib.h>
#include <string.h>
#include <vulkan/vulkan_core.h>

static int fails_at(const char * stage) {
    const char * named = getenv("FAIL_AT");
    return named && strcmp(named, stage) == 0;
}

static VkResult no_instance(const VkInstanceCreateInfo * info, const VkAllocationCallbacks * allocator, VkInstance * instance) {
    (void) info, (void) allocator, (void) instance;
    return VK_ERROR_INCOMPATIBLE_DRIVER;
}

static VkResult no_memory(VkDevice device, const VkMemoryAllocateInfo * info, const VkAllocationCallbacks * allocator, VkDeviceMemory * memory) {
    (void) device, (void) info, (void) allocator, (void) memory;
    return VK_ERROR_OUT_OF_DEVICE_MEMORY;
}

static VkResult lost(VkQueue queue, uint32_t count, const VkSubmitInfo * submits, VkFence fence) {
    (void) queue, (void) count, (void) submits, (void) fence;
    return VK_ERROR_DEVICE_LOST;
}

static PFN_vkVoidFunction failing(const char * name) {
    if (fails_at("init") && strcmp(name, "vkCreateInstance") == 0) return (PFN_vkVoidFunction) no_instance;
    if (fails_at("load") && strcmp(name, "vkAllocateMemory") == 0) return (PFN_vkVoidFunction) no_memory;
    if (fails_at("decode") && strcmp(name, "vkQueueSubmit") == 0) return (PFN_vkVoidFunction) lost;
    return NULL;
}

static void * next(const char * name) {
    static void * loader;
    if (!loader) loader = dlopen("libvulkan.so.1", RTLD_NOW);
    return dlsym(loader, name);
}

static PFN_vkVoidFunction of_device(VkDevice device, const char * name) {
    PFN_vkGetDeviceProcAddr ask = (PFN_vkGetDeviceProcAddr) next("vkGetDeviceProcAddr");
    PFN_vkVoidFunction mine = failing(name);
    return mine ? mine : ask(device, name);
}

VKAPI_ATTR PFN_vkVoidFunction VKAPI_CALL vkGetInstanceProcAddr(VkInstance instance, const char * name) {
    PFN_vkGetInstanceProcAddr ask = (PFN_vkGetInstanceProcAddr) next("vkGetInstanceProcAddr");
    if (strcmp(name, "vkGetDeviceProcAddr") == 0) return (PFN_vkVoidFunction) of_device;
    PFN_vkVoidFunction mine = failing(name);
    return mine ? mine : ask(instance, name);
}

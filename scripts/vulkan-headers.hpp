// What ggml takes from Vulkan's headers 1.3.272 (VK_EXT_layer_settings) and Debian 12's, which are
// of 1.3.239, lack: given to the compiler by -include. It only matters to validation layers.
#pragma once

#include <cstdint>
#include <vector>
#include <vulkan/vulkan_core.h>

#if VK_HEADER_VERSION < 272
namespace vk {

enum class LayerSettingTypeEXT : std::uint32_t { eBool32 = 0 };

struct LayerSettingEXT {
    const char * layer;
    const char * setting;
    LayerSettingTypeEXT type;
    std::uint32_t count;
    const void * values;
};

struct LayerSettingsCreateInfoEXT {
    explicit LayerSettingsCreateInfoEXT(const std::vector<LayerSettingEXT> & list)
        : count(static_cast<std::uint32_t>(list.size())), settings(list.data()) {}

    VkStructureType type = static_cast<VkStructureType>(1000496000);
    const void * next = nullptr;
    std::uint32_t count;
    const LayerSettingEXT * settings;
};

}
#endif

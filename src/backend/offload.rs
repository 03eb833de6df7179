//! Which layers of a model go to a GPU: pure.

#[cfg(test)]
mod tests;

use std::fmt;

use super::Device;

/// What the operator wants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wish {
    pub layers: Layers,
    /// The device's name, such as `CUDA0`; `None` takes the one with the most free memory.
    pub device: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layers {
    /// As many as fit, if a GPU is faster than the CPU.
    Auto,
    /// So many; what the model has beyond them stays on the CPU. 0 means no GPU.
    Count(u32),
}

impl std::str::FromStr for Layers {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.trim() {
            "auto" => Ok(Layers::Auto),
            count => count
                .parse()
                .map(Layers::Count)
                .map_err(|_| format!("`{text}` is neither `auto` nor a number of layers")),
        }
    }
}

impl fmt::Display for Layers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Layers::Auto => f.write_str("auto"),
            Layers::Count(count) => count.fmt(f),
        }
    }
}

impl Wish {
    /// Strictly the CPU.
    pub const CPU: Self = Self {
        layers: Layers::Count(0),
        device: None,
    };
}

/// The bytes that a model takes on a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sizes {
    /// One layer's weights, with its share of the adapter and of the KV cache.
    pub layer: u64,
    /// The output matrix, which counts as one more layer, the last to go.
    pub output: u64,
    /// What a device needs whatever it holds: its runtime, and room for a batch.
    pub fixed: u64,
    pub layers: u32,
}

/// Layers of a model on one device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Placement {
    pub device: String,
    /// The output matrix is one of them.
    pub layers: u32,
}

/// Chooses the device and the number of layers; the error says why there are none.
pub fn place(wish: &Wish, sizes: &Sizes, devices: &[Device]) -> Result<Placement, String> {
    let gpus = devices.iter().filter(|device| device.kind == "gpu");
    let device = match &wish.device {
        Some(name) => gpus.clone().find(|gpu| gpu.name == *name).ok_or_else(|| {
            let names: Vec<&str> = gpus.map(|gpu| gpu.name.as_str()).collect();
            match names.is_empty() {
                true => format!("there is no GPU `{name}`, nor any other"),
                false => format!("there is no GPU `{name}`, but {}", names.join(", ")),
            }
        })?,
        None => gpus
            .max_by_key(|gpu| gpu.memory_free_bytes)
            .ok_or("the GPU modules found no device")?,
    };
    let free = device.memory_free_bytes;
    let most = sizes.layers + 1;
    let layers = match wish.layers {
        Layers::Count(count) => count.min(most),
        Layers::Auto => sizes.fit(free),
    };
    let needed = sizes.of(layers);
    match layers {
        0 => Err(format!(
            "`{}` has {} MiB free, too few for one layer",
            device.name,
            free >> 20
        )),
        _ if needed > free => Err(format!(
            "{layers} layers need {} MiB, and `{}` has {} MiB free: lower `gpu_layers`, `slots` \
             or `prefill_chunk`",
            needed >> 20,
            device.name,
            free >> 20
        )),
        _ => Ok(Placement {
            device: device.name.clone(),
            layers,
        }),
    }
}

impl Sizes {
    /// The bytes of so many layers.
    fn of(&self, layers: u32) -> u64 {
        let output = match layers > self.layers {
            true => self.output,
            false => 0,
        };
        self.fixed + u64::from(layers.min(self.layers)) * self.layer + output
    }

    /// The most layers that take no more than `free` bytes.
    fn fit(&self, free: u64) -> u32 {
        let counts = (1..=self.layers + 1).rev();
        counts
            .into_iter()
            .find(|count| self.of(*count) <= free)
            .unwrap_or(0)
    }
}

//! A LoRA adapter as PEFT saves it: a folder of `adapter_config.json` and
//! `adapter_model.safetensors`.
//!
//! Both may come from anyone. What PEFT would compute from the folder is either understood here in
//! full, or refused: a setting that is passed over makes an adapter that judges otherwise than the
//! one that was evaluated, and nothing would say so.

mod config;
mod error;
mod name;
mod tensors;

use std::collections::BTreeMap;
use std::fs;
use std::io::Read;
use std::path::Path;

use self::config::PeftConfig;
pub use self::error::{PeftError, PeftProblem};
use self::name::Half;
pub use self::name::{ModuleKind, Place};
use self::tensors::Tensors;
pub use self::tensors::Values;

const CONFIG: &str = "adapter_config.json";
const WEIGHTS: &str = "adapter_model.safetensors";
const CONFIG_LIMIT: u64 = 1024 * 1024;
/// An adapter of rank 256 on all modules of a model of 1.5B parameters, in 32 bits, has half of it.
const WEIGHTS_LIMIT: u64 = 2 * 1024 * 1024 * 1024;

/// An adapter whose settings are understood and whose tensors fit together.
#[derive(Debug)]
pub struct PeftAdapter {
    /// What llama.cpp divides by a module's rank: PEFT's scaling of most modules, times that rank.
    pub alpha: f32,
    /// By layer, then in the order of [`ModuleKind`].
    pub modules: Vec<Module>,
    tensors: Tensors,
}

/// One matrix of the base and the two that change it.
#[derive(Clone, Debug, PartialEq)]
pub struct Module {
    pub place: Place,
    pub rank: u64,
    pub inputs: u64,
    pub outputs: u64,
    /// How much stronger PEFT applies this module than `alpha / rank` says: a factor for B.
    pub factor: f64,
    /// The tensors' names in the file.
    pub a: String,
    pub b: String,
}

impl PeftAdapter {
    /// Reads the folder, tensor data included, and checks all but the values.
    pub fn read(folder: &Path) -> Result<Self, PeftError> {
        let config = folder.join(CONFIG);
        let weights = folder.join(WEIGHTS);
        check_form(folder).map_err(|problem| problem.at(folder))?;
        let config = read(&config, CONFIG_LIMIT)
            .and_then(|text| PeftConfig::parse(&text))
            .map_err(|problem| problem.at(&config))?;
        let in_weights = |problem: PeftProblem| problem.at(&weights);
        let tensors = read(&weights, WEIGHTS_LIMIT)
            .and_then(Tensors::parse)
            .map_err(in_weights)?;
        let modules = modules(&tensors, &config).map_err(in_weights)?;
        Ok(Self {
            alpha: config.alpha(),
            modules,
            tensors,
        })
    }

    /// The numbers of a tensor that a [`Module`] names, row by row.
    pub fn values(&self, tensor: &str) -> Option<Values<'_>> {
        self.tensors.values(tensor)
    }
}

/// Tells the folders that hold an adapter in another form.
fn check_form(folder: &Path) -> Result<(), PeftProblem> {
    let names: Vec<String> = fs::read_dir(folder)
        .map_err(PeftProblem::Io)?
        .flatten()
        .filter_map(|entry| entry.file_name().into_string().ok())
        .collect();
    let has = |name: &str| names.iter().any(|other| other == name);
    if !has(CONFIG) {
        return Err(PeftProblem::NoFile { name: CONFIG });
    }
    if has(WEIGHTS) {
        return Ok(());
    }
    let sharded = names
        .iter()
        .find(|name| name.starts_with("adapter_model-") || name.ends_with(".index.json"));
    if let Some(name) = sharded {
        return Err(PeftProblem::Sharded { name: name.clone() });
    }
    match has("adapter_model.bin") {
        true => Err(PeftProblem::Pickle),
        false => Err(PeftProblem::NoFile { name: WEIGHTS }),
    }
}

fn read(path: &Path, limit: u64) -> Result<Vec<u8>, PeftProblem> {
    // Opening a pipe could block for ever.
    let meta = fs::metadata(path).map_err(PeftProblem::Io)?;
    if !meta.is_file() {
        return Err(PeftProblem::NotRegular);
    }
    let mut bytes = Vec::new();
    let file = fs::File::open(path).map_err(PeftProblem::Io)?;
    file.take(limit + 1)
        .read_to_end(&mut bytes)
        .map_err(PeftProblem::Io)?;
    match bytes.len() as u64 > limit {
        true => Err(PeftProblem::TooLarge { limit }),
        false => Ok(bytes),
    }
}

fn modules(tensors: &Tensors, config: &PeftConfig) -> Result<Vec<Module>, PeftProblem> {
    let mut halves: BTreeMap<Place, [Option<&str>; 2]> = BTreeMap::new();
    for name in tensors.names() {
        let (place, half) = name::parse(name)?;
        let slot = match half {
            Half::A => 0,
            Half::B => 1,
        };
        halves.entry(place).or_default()[slot] = Some(name);
    }
    if halves.is_empty() {
        return Err(PeftProblem::Empty);
    }
    halves
        .into_iter()
        .map(|(place, halves)| {
            let missing = |missing| PeftProblem::HalfMissing {
                module: place.to_string(),
                missing,
            };
            let a = halves[0].ok_or_else(|| missing("lora_A"))?;
            let b = halves[1].ok_or_else(|| missing("lora_B"))?;
            module(place, a, b, tensors, config)
        })
        .collect()
}

fn module(
    place: Place,
    a: &str,
    b: &str,
    tensors: &Tensors,
    config: &PeftConfig,
) -> Result<Module, PeftProblem> {
    let [rank, inputs] = tensors.matrix(a)?;
    let [outputs, rank_of_b] = tensors.matrix(b)?;
    if rank != rank_of_b {
        return Err(PeftProblem::RanksDiffer {
            module: place.to_string(),
            a: rank,
            b: rank_of_b,
        });
    }
    let scaling = config.scaling(&place.to_string());
    if rank != scaling.rank {
        return Err(PeftProblem::Rank {
            module: place.to_string(),
            found: rank,
            expected: scaling.rank,
        });
    }
    Ok(Module {
        place,
        rank,
        inputs,
        outputs,
        factor: scaling.factor,
        a: a.to_owned(),
        b: b.to_owned(),
    })
}

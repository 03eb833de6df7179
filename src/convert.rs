//! A PEFT folder to a GGUF file that llama.cpp can apply.
//!
//! The names, shapes and bytes are those of llama.cpp's own `convert_lora_to_gguf.py`. Beyond it,
//! a module that PEFT scales otherwise than `alpha / rank` gets that into its B matrix.

mod encode;
mod error;

use std::collections::BTreeMap;
use std::fs::{File, Permissions};
use std::io::{BufWriter, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use tempfile::NamedTempFile;

pub use self::encode::Precision;
use self::encode::encode;
pub use self::error::ConvertError;
use crate::adapter::{self, AdapterInfo};
use crate::gguf::{self, Field, NewTensor, TensorKind, Writer};
use crate::models::sha256_file;
use crate::peft::{Module, ModuleKind, PeftAdapter};

const ARCHITECTURE: &str = "qwen2";
/// Of ggml's block formats, to which Q8_0 belongs.
const QUANTIZATION_VERSION: u32 = 2;

/// What to write, and where.
#[derive(Clone, Debug)]
pub struct Conversion {
    pub folder: PathBuf,
    pub out: PathBuf,
    pub precision: Precision,
    /// A GGUF model that the adapter must fit.
    pub base: Option<PathBuf>,
    /// Whether a file at `out` is replaced.
    pub replace: bool,
}

/// What was written.
#[derive(Clone, Debug)]
pub struct Converted {
    pub info: AdapterInfo,
    pub bytes: u64,
    pub sha256: String,
    /// How many tensors of each type.
    pub tensors: BTreeMap<TensorKind, usize>,
    pub kinds: Vec<ModuleKind>,
    /// Modules whose scaling went into B.
    pub folded: usize,
}

impl Conversion {
    /// Reads, checks, writes and checks again. The file gets its name only at the end: where
    /// anything fails, nothing is left and an old file is as it was.
    pub fn run(&self) -> Result<Converted, ConvertError> {
        self.check_out()?;
        let base = match &self.base {
            None => None,
            Some(path) => Some(gguf::read(path).map_err(ConvertError::Base)?),
        };
        let adapter = PeftAdapter::read(&self.folder)?;
        let tensors = self.tensors(&adapter);
        let mut file = self.temporary_file()?;
        self.write(&adapter, &tensors, &mut file)?;
        let info = match &base {
            None => adapter::check_alone(file.path(), ARCHITECTURE),
            Some(base) => adapter::check(file.path(), base),
        };
        let info = info.map_err(|error| ConvertError::Refused {
            base: self.base.clone(),
            problem: error.problem,
        })?;
        let sha256 = sha256_file(file.path(), &mut |_| {}).map_err(|e| self.unwritable(e))?;
        let bytes = file.as_file().metadata();
        let bytes = bytes.map_err(|error| self.unwritable(error))?.len();
        self.name(file)?;
        let has = |kind: &ModuleKind| adapter.modules.iter().any(|m| m.place.kind == *kind);
        Ok(Converted {
            info,
            bytes,
            sha256,
            tensors: count(&tensors),
            kinds: ModuleKind::ALL.into_iter().filter(has).collect(),
            folded: adapter.modules.iter().filter(|m| m.factor != 1.0).count(),
        })
    }

    fn check_out(&self) -> Result<(), ConvertError> {
        let out = || self.out.clone();
        // So that a slip cannot replace what is being read.
        if self
            .base
            .as_ref()
            .is_some_and(|base| same_file(base, &self.out))
        {
            return Err(ConvertError::IsBase { out: out() });
        }
        if self.out.extension().is_none_or(|end| end != "gguf") {
            return Err(ConvertError::Name { out: out() });
        }
        match self.out.symlink_metadata() {
            Ok(_) if !self.replace => Err(ConvertError::Exists { out: out() }),
            _ => Ok(()),
        }
    }

    /// Two halves a module, in its order.
    fn tensors(&self, adapter: &PeftAdapter) -> Vec<NewTensor> {
        let halves = adapter.modules.iter().flat_map(|module| {
            let name = module.place.gguf();
            // PyTorch's rows and columns: ggml names the columns first, the bytes are the same.
            let a = (format!("{name}.lora_a"), vec![module.inputs, module.rank]);
            let b = (format!("{name}.lora_b"), vec![module.rank, module.outputs]);
            [a, b]
        });
        halves
            .map(|(name, shape)| NewTensor {
                name,
                kind: self.precision.kind(shape[0]),
                shape,
            })
            .collect()
    }

    fn write(
        &self,
        adapter: &PeftAdapter,
        tensors: &[NewTensor],
        file: &mut NamedTempFile,
    ) -> Result<(), ConvertError> {
        let unwritable = |error| self.unwritable(error);
        let fields = self.fields(adapter);
        let mut writer = Writer::new(BufWriter::new(file), &fields, tensors).map_err(unwritable)?;
        let halves = adapter.modules.iter().flat_map(|module| {
            let Module { a, b, factor, .. } = module;
            [(a, 1.0), (b, *factor)]
        });
        for ((source, factor), tensor) in halves.zip(tensors) {
            let values = adapter.values(source).map(|values| values.to_f32());
            let data = encode(values.unwrap_or_default(), factor, tensor.kind)
                .map_err(|problem| problem.in_tensor(&self.folder, source))?;
            writer.tensor(&data).map_err(unwritable)?;
        }
        let mut out = writer.finish().map_err(unwritable)?;
        out.flush().map_err(unwritable)?;
        out.get_ref().as_file().sync_all().map_err(unwritable)
    }

    /// What llama.cpp's loader asks for, and the name that its tools show.
    fn fields(&self, adapter: &PeftAdapter) -> Vec<(&'static str, Field)> {
        let text = |text: &str| Field::String(text.to_owned());
        let mut fields = vec![
            ("general.architecture", text(ARCHITECTURE)),
            ("general.type", text("adapter")),
            ("adapter.type", text("lora")),
            ("adapter.lora.alpha", Field::F32(adapter.alpha)),
            (
                "general.quantization_version",
                Field::U32(QUANTIZATION_VERSION),
            ),
        ];
        // A path such as `.` has no name of its own.
        let folder = std::path::absolute(&self.folder).unwrap_or_default();
        if let Some(name) = folder.file_name().and_then(|name| name.to_str()) {
            fields.push(("general.name", text(name)));
        }
        fields
    }

    /// Beside the target, so that it can be renamed; with the rights that a new file gets here.
    fn temporary_file(&self) -> Result<NamedTempFile, ConvertError> {
        tempfile::Builder::new()
            .prefix(".judged-")
            .suffix(".part")
            .permissions(Permissions::from_mode(0o666))
            .tempfile_in(self.out_folder())
            .map_err(|error| self.unwritable(error))
    }

    fn name(&self, file: NamedTempFile) -> Result<(), ConvertError> {
        let named = match self.replace {
            true => file.persist(&self.out),
            false => file.persist_noclobber(&self.out),
        };
        match named {
            Ok(_) => {}
            // It came there meanwhile.
            Err(error) if error.error.kind() == std::io::ErrorKind::AlreadyExists => {
                let out = self.out.clone();
                return Err(ConvertError::Exists { out });
            }
            Err(error) => return Err(self.unwritable(error.error)),
        }
        // So that the name outlives a power cut as the data does.
        File::open(self.out_folder())
            .and_then(|folder| folder.sync_all())
            .map_err(|error| self.unwritable(error))
    }

    fn out_folder(&self) -> &Path {
        match self.out.parent() {
            Some(folder) if folder != "" => folder,
            _ => Path::new("."),
        }
    }

    fn unwritable(&self, source: std::io::Error) -> ConvertError {
        ConvertError::Write {
            out: self.out.clone(),
            source,
        }
    }
}

fn same_file(one: &Path, other: &Path) -> bool {
    let real = |path: &Path| path.canonicalize().ok();
    real(one).is_some_and(|path| real(other) == Some(path))
}

fn count(tensors: &[NewTensor]) -> BTreeMap<TensorKind, usize> {
    let mut counts = BTreeMap::new();
    for tensor in tensors {
        *counts.entry(tensor.kind).or_default() += 1;
    }
    counts
}

//! Why nothing was converted.

use std::io;
use std::path::PathBuf;

use crate::adapter::AdapterProblem;
use crate::gguf::GgufError;
use crate::peft::PeftError;

#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConvertError {
    #[error(transparent)]
    Peft(#[from] PeftError),
    #[error("`{}` must end in `.gguf`", out.display())]
    Name { out: PathBuf },
    #[error("`{}` is the base itself: choose another name for the adapter", out.display())]
    IsBase { out: PathBuf },
    #[error("`{}` is there already: choose another name, or replace it with --force", out.display())]
    Exists { out: PathBuf },
    #[error("cannot write `{}`", out.display())]
    Write { out: PathBuf, source: io::Error },
    #[error("the base is no model: {0}")]
    Base(GgufError),
    #[error(
        "PEFT adapter `{}`: the tensor `{name}` has `{value}` in place `{place}`: the training \
         went wrong",
        folder.display()
    )]
    NotFinite {
        folder: PathBuf,
        name: String,
        place: usize,
        value: f32,
    },
    #[error(
        "PEFT adapter `{}`: the tensor `{name}` has `{value}` in place `{place}`, with the \
         module's scaling, over the limit of `{limit}`: the training went wrong",
        folder.display()
    )]
    Overflow {
        folder: PathBuf,
        name: String,
        place: usize,
        value: f32,
        limit: f32,
    },
    #[error("the adapter {}: {problem}", fits(.base.as_ref()))]
    Refused {
        base: Option<PathBuf>,
        problem: AdapterProblem,
    },
}

fn fits(base: Option<&PathBuf>) -> String {
    match base {
        Some(base) => format!("does not fit the base `{}`", base.display()),
        None => "could not be served".to_owned(),
    }
}

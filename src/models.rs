//! Model bundles and the files they are made of.
//!
//! A [`Bundle`] is a manifest, `models/<name>.toml`, which pins everything
//! that can change an answer: the base file by its sha256, the adapter, the
//! prompt, the grammar. A [`Store`] is the folder where base files lie.
//! [`pull()`] brings a bundle's base file into the store from the first source
//! that works; a file gets its final name only after its size and sha256 agree
//! with the manifest, so that what the engine loads is what was pinned.
//!
//! Nothing here prints: whoever calls is told through [`Progress`] events.

mod bundle;
mod progress;
mod pull;
mod store;

pub use bundle::{
    Adapter, AnswerSpec, Base, Bundle, BundleError, ContextFormat, HubSource, PipSource,
    PromptSpec, Source,
};
pub use progress::Progress;
pub use pull::{Attempt, PullError, PullFrom, PullOptions, Pulled, SourceError, Token, pull};
pub use store::{FileState, Store, StoreError, sha256_file};

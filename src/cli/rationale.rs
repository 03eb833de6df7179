//! What a command that measures asks for beside the label.

use clap::{Args, ValueEnum};

use crate::verdict::RationaleMode;

// No doc comment: clap would take it for that of the command.
#[derive(Args, Debug)]
pub(super) struct RationaleArgs {
    /// What the model is to say of why: nothing, a sentence, or the rule with the words on which
    /// it rests.
    #[arg(long, value_enum, default_value = "sentence")]
    rationale: Rationale,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Rationale {
    None,
    Sentence,
    Evidence,
}

impl RationaleArgs {
    pub(super) fn mode(&self) -> RationaleMode {
        match self.rationale {
            Rationale::None => RationaleMode::None,
            Rationale::Sentence => RationaleMode::Sentence,
            Rationale::Evidence => RationaleMode::Evidence,
        }
    }
}

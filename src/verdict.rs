//! The nouns of the domain: what is judged, and what is answered. Plain data, no I/O.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::channel::Channel;
use crate::context::Context;
use crate::names::UnknownName;

/// What the rubric says of a draft, from the most to the least severe.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Label {
    /// A disqualifier, an opt-out, or a rejected idea pushed again: no outreach.
    Suppress,
    /// A C-level recipient at more than 2,000 employees: a person takes over.
    Escalate,
    /// Another thread's content, doubtful funding as fact, a pitch for another
    /// stage, a committed engineer, an omitted regulatory caveat.
    Block,
    /// Generic or unfitting peer companies: a person reviews.
    Penalise,
    /// No rule is violated.
    Pass,
}

impl Label {
    pub const ALL: [Label; 5] = [
        Label::Suppress,
        Label::Escalate,
        Label::Block,
        Label::Penalise,
        Label::Pass,
    ];

    /// The word the model writes.
    pub const fn as_str(self) -> &'static str {
        match self {
            Label::Suppress => "SUPPRESS",
            Label::Escalate => "ESCALATE",
            Label::Block => "BLOCK",
            Label::Penalise => "PENALISE",
            Label::Pass => "PASS",
        }
    }

    /// The label's place in [`Label::ALL`].
    pub const fn index(self) -> usize {
        self as usize
    }
}

impl fmt::Display for Label {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for Label {
    type Err = UnknownName;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Label::ALL
            .into_iter()
            .find(|label| label.as_str().eq_ignore_ascii_case(text))
            .ok_or_else(|| UnknownName::new("label", text))
    }
}

/// One draft to judge, with what is known of its prospect.
#[derive(Clone, Debug, PartialEq)]
pub struct Case {
    pub context: Context,
    pub draft: String,
    /// As the caller named it; see [`Case::channel`].
    pub requested_channel: Option<Channel>,
}

impl Case {
    /// The channel of the draft: the caller's word, else the context's
    /// `intended_channel`, else e-mail.
    pub fn channel(&self) -> Channel {
        self.requested_channel
            .or_else(|| self.context.intended_channel())
            .unwrap_or(Channel::Email)
    }
}

/// How much the answer says of why.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RationaleMode {
    None,
    #[default]
    Sentence,
    /// The rule, and the words on which it rests, quoted.
    Evidence,
}

/// What the caller is to do with the draft.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Disposition {
    Dispatch,
    HoldForReview,
    RouteToHuman,
    DoNotSend,
}

impl Disposition {
    pub const ALL: [Disposition; 4] = [
        Disposition::Dispatch,
        Disposition::HoldForReview,
        Disposition::RouteToHuman,
        Disposition::DoNotSend,
    ];

    pub const fn as_str(self) -> &'static str {
        match self {
            Disposition::Dispatch => "DISPATCH",
            Disposition::HoldForReview => "HOLD_FOR_REVIEW",
            Disposition::RouteToHuman => "ROUTE_TO_HUMAN",
            Disposition::DoNotSend => "DO_NOT_SEND",
        }
    }
}

impl FromStr for Disposition {
    type Err = UnknownName;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Disposition::ALL
            .into_iter()
            .find(|disposition| disposition.as_str().eq_ignore_ascii_case(text))
            .ok_or_else(|| UnknownName::new("disposition", text))
    }
}

impl fmt::Display for Disposition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// Who decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum DecidedBy {
    Model,
    Rules,
}

impl DecidedBy {
    pub const fn as_str(self) -> &'static str {
        match self {
            DecidedBy::Model => "MODEL",
            DecidedBy::Rules => "RULES",
        }
    }
}

impl fmt::Display for DecidedBy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// Who may decide.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Mode {
    /// The model decides, after the hard rules.
    #[default]
    Enforce,
    /// The rules decide; the model's answer is only logged.
    Shadow,
    /// The rules decide alone.
    RulesOnly,
}

impl Mode {
    pub const fn as_str(self) -> &'static str {
        match self {
            Mode::Enforce => "ENFORCE",
            Mode::Shadow => "SHADOW",
            Mode::RulesOnly => "RULES_ONLY",
        }
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// The model's probabilities of the five labels, in the order of [`Label::ALL`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Scores {
    /// Softmax over the five labels' first tokens: sums to 1.
    pub probabilities: [f64; 5],
    /// Share of the whole vocabulary's probability that the five hold.
    pub legal_mass: f64,
}

impl Scores {
    /// The label with the highest probability; of equals, the more severe one.
    pub fn best(&self) -> Label {
        let mut best = Label::Suppress;
        for label in Label::ALL {
            if self.probabilities[label.index()] > self.probabilities[best.index()] {
                best = label;
            }
        }
        best
    }
}

/// Tokens that a decision took.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Usage {
    pub prompt_tokens: u32,
    /// Prompt tokens that were not evaluated, since the KV cache held them.
    pub cached_tokens: u32,
    /// Tokens of the answer, forced ones included.
    pub generated_tokens: u32,
}

/// Where the time of a decision went.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Timings {
    pub queue: Duration,
    pub prefill: Duration,
    pub decode: Duration,
    pub total: Duration,
}

/// Exactly which weights and which prompt decided.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ModelRevision {
    pub bundle: String,
    pub base_sha256: String,
    /// `None` where the bundle has no adapter.
    pub adapter_sha256: Option<String>,
    pub adapter_scale: f32,
    /// Written into a copy of the base's weights, not applied at each step.
    #[serde(default)]
    pub adapter_merged: bool,
    pub template_sha256: String,
}

/// The answer, why, and who gave it.
#[derive(Clone, Debug, PartialEq)]
pub struct Decision {
    pub decision_id: String,
    pub label: Label,
    pub rationale: String,
    /// `None` where no model took part.
    pub scores: Option<Scores>,
    pub disposition: Disposition,
    pub decided_by: DecidedBy,
    pub mode: Mode,
    /// Why the answer is less than the mode asks for: the rules decided, a
    /// dispatch was held, or the sentence failed.
    pub degraded_reason: Option<String>,
    /// The rules that fired, by name.
    pub rules: Vec<String>,
    pub model: Option<ModelRevision>,
    pub usage: Usage,
    pub timings: Timings,
}

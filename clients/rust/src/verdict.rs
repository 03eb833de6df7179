//! The answer.

use std::fmt;
use std::time::Duration;

use crate::proto;

/// What the daemon decided, and what that rests on.
#[derive(Clone, Debug, PartialEq)]
pub struct Verdict {
    /// Of the draft.
    pub request_id: String,
    /// By which reports, and the decision log, name it.
    pub decision_id: String,
    /// What was found.
    pub label: Label,
    /// What to do with the draft.
    pub disposition: Disposition,
    /// One sentence; empty if none was asked for, if it failed, or if it is still to come.
    pub rationale: String,
    /// The five labels' probabilities; empty where no model took part.
    pub scores: Vec<(Label, f64)>,
    /// Who decided.
    pub decided_by: DecidedBy,
    /// The mode that held.
    pub mode: Mode,
    /// Why the answer is less than the mode asks for; else empty.
    pub degraded_reason: String,
    /// Those that fired, where known, such as `rule_2_opt_out`.
    pub rules: Vec<String>,
    /// `None` where no model took part.
    pub model: Option<Revision>,
    /// Tokens.
    pub usage: Usage,
    /// Times in the daemon.
    pub timings: Timings,
    /// What the five labels hold of the whole probability, 0 to 1.
    pub legal_mass: f64,
}

/// Exactly which weights and which prompt decided.
#[derive(Clone, Debug, PartialEq)]
pub struct Revision {
    /// Its name and revision.
    pub bundle: String,
    /// Of the base model's file, in hexadecimal digits.
    pub base_sha256: String,
    /// Of the adapter's file; empty without one.
    pub adapter_sha256: String,
    /// The adapter's.
    pub scale: f32,
    /// Of the prompt's template.
    pub template_sha256: String,
    /// The adapter was written into a copy of the base's weights, not applied at each step.
    pub adapter_merged: bool,
}

/// Tokens.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Of the whole prompt.
    pub prompt_tokens: u32,
    /// Those of them that were read before.
    pub cached_tokens: u32,
    /// Of the answer.
    pub generated_tokens: u32,
}

/// Times in the daemon.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Timings {
    /// Until the model began.
    pub queue: Duration,
    /// Reading the prompt.
    pub prefill: Duration,
    /// Writing the rationale.
    pub decode: Duration,
    /// From its arrival.
    pub total: Duration,
}

impl Verdict {
    /// Whether the draft may go out.
    pub fn may_send(&self) -> bool {
        self.disposition == Disposition::Dispatch
    }

    pub(crate) fn of_wire(request_id: String, answer: proto::JudgeResponse) -> Self {
        let scores = answer.scores.iter();
        let scores = scores.map(|score| (Label::of_wire(score.label), score.probability));
        Self {
            request_id,
            scores: scores.collect(),
            label: Label::of_wire(answer.label),
            disposition: Disposition::of_wire(answer.disposition),
            decided_by: DecidedBy::of_wire(answer.decided_by),
            mode: Mode::of_wire(answer.mode),
            decision_id: answer.decision_id,
            rationale: answer.rationale,
            degraded_reason: answer.degraded_reason,
            rules: answer.rules,
            model: answer.model.map(Revision::of_wire),
            usage: answer.usage.map(Usage::of_wire).unwrap_or_default(),
            timings: answer.timings.map(Timings::of_wire).unwrap_or_default(),
            legal_mass: answer.legal_mass,
        }
    }
}

impl Revision {
    fn of_wire(revision: proto::ModelRevision) -> Self {
        Self {
            bundle: revision.bundle,
            base_sha256: revision.base_sha256,
            adapter_sha256: revision.adapter_sha256,
            scale: revision.scale,
            template_sha256: revision.template_sha256,
            adapter_merged: revision.adapter_merged,
        }
    }
}

impl Usage {
    pub(crate) fn of_wire(usage: proto::Usage) -> Self {
        Self {
            prompt_tokens: usage.prompt_tokens,
            cached_tokens: usage.cached_tokens,
            generated_tokens: usage.generated_tokens,
        }
    }
}

impl Timings {
    pub(crate) fn of_wire(timings: proto::Timings) -> Self {
        let duration = |duration: Option<prost_types::Duration>| {
            let duration = duration.and_then(|duration| Duration::try_from(duration).ok());
            duration.unwrap_or_default()
        };
        Self {
            queue: duration(timings.queue),
            prefill: duration(timings.prefill),
            decode: duration(timings.decode),
            total: duration(timings.total),
        }
    }
}

/// An enum of the wire with names of our own. Of a newer daemon's names, which this client does not
/// know, comes `Unspecified`.
macro_rules! names {
    ($(#[$about:meta])* $name:ident { $($(#[$doc:meta])* $variant:ident = $text:literal,)* }) => {
        $(#[$about])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum $name {
            $($(#[$doc])* $variant,)*
            /// Not told, or not known to this client.
            #[default]
            Unspecified,
        }

        impl $name {
            /// As the daemon's own command line writes it.
            pub const fn as_str(self) -> &'static str {
                match self {
                    $($name::$variant => $text,)*
                    $name::Unspecified => "UNSPECIFIED",
                }
            }

            pub(crate) fn of_wire(number: i32) -> Self {
                match proto::$name::try_from(number) {
                    $(Ok(proto::$name::$variant) => $name::$variant,)*
                    Ok(proto::$name::Unspecified) | Err(_) => $name::Unspecified,
                }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(self.as_str())
            }
        }
    };
}

names! {
    /// What was found.
    Label {
        /// Never write to this prospect.
        Suppress = "SUPPRESS",
        /// A person has to look.
        Escalate = "ESCALATE",
        /// Not this text.
        Block = "BLOCK",
        /// Not good enough.
        Penalise = "PENALISE",
        /// Nothing is wrong.
        Pass = "PASS",
    }
}

impl Label {
    pub(crate) fn to_wire(self) -> i32 {
        match self {
            Label::Suppress => proto::Label::Suppress,
            Label::Escalate => proto::Label::Escalate,
            Label::Block => proto::Label::Block,
            Label::Penalise => proto::Label::Penalise,
            Label::Pass => proto::Label::Pass,
            Label::Unspecified => proto::Label::Unspecified,
        }
        .into()
    }
}

names! {
    /// What to do with the draft.
    Disposition {
        /// It may go out.
        Dispatch = "DISPATCH",
        /// It waits for a review.
        HoldForReview = "HOLD_FOR_REVIEW",
        /// A person decides.
        RouteToHuman = "ROUTE_TO_HUMAN",
        /// It must not go out.
        DoNotSend = "DO_NOT_SEND",
    }
}

names! {
    /// Who decided.
    DecidedBy {
        /// The model.
        Model = "MODEL",
        /// The rules.
        Rules = "RULES",
    }
}

names! {
    /// Who decides at all.
    Mode {
        /// The model, after the hard rules.
        Enforce = "ENFORCE",
        /// The rules; the model is only logged.
        Shadow = "SHADOW",
        /// The rules.
        RulesOnly = "RULES_ONLY",
    }
}

//! A question: may this text be sent to this prospect?

use crate::proto;

/// The same request id with the same content gives the same decision again, so keep it with the
/// draft where there are restarts to survive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Draft {
    /// New for each draft, unless it is set; at most 128 bytes.
    pub request_id: String,
    /// What is known of the prospect, as JSON text of an object.
    pub context: String,
    /// The text.
    pub draft: String,
    /// `None`: the context's `intended_channel`, else e-mail.
    pub channel: Option<Channel>,
    /// What is to explain the label.
    pub rationale: Rationale,
}

/// How an answer explains itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Rationale {
    /// Not at all: the label alone is the fastest answer.
    None,
    /// By one sentence.
    #[default]
    Sentence,
    /// By the rule and the words on which it rests, quoted.
    Evidence,
}

/// How it would be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Channel {
    /// By e-mail.
    Email,
    /// By SMS.
    Sms,
    /// By LinkedIn.
    Linkedin,
}

impl Draft {
    /// With a new request id, for the context's channel, to be answered with a sentence.
    pub fn new(context: impl ToString, draft: impl Into<String>) -> Self {
        Self {
            request_id: uuid::Uuid::new_v4().simple().to_string(),
            context: context.to_string(),
            draft: draft.into(),
            channel: None,
            rationale: Rationale::Sentence,
        }
    }

    pub(crate) fn to_wire(&self) -> proto::JudgeRequest {
        let channel = match self.channel {
            None => proto::Channel::Unspecified,
            Some(Channel::Email) => proto::Channel::Email,
            Some(Channel::Sms) => proto::Channel::Sms,
            Some(Channel::Linkedin) => proto::Channel::Linkedin,
        };
        let rationale_mode = match self.rationale {
            Rationale::None => proto::RationaleMode::None,
            Rationale::Sentence => proto::RationaleMode::Sentence,
            Rationale::Evidence => proto::RationaleMode::Evidence,
        };
        proto::JudgeRequest {
            request_id: self.request_id.clone(),
            context_json: self.context.clone(),
            draft: self.draft.clone(),
            channel: channel.into(),
            rationale_mode: rationale_mode.into(),
        }
    }
}

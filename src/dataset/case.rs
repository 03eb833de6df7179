//! One labelled case.

use sha2::{Digest, Sha256};

use crate::channel::Channel;
use crate::verdict::Label;

/// A draft with its context and the label that it should get.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Case {
    pub id: String,
    /// What the case tries, such as `A07`.
    pub probe: Option<String>,
    pub difficulty: Option<String>,
    /// As it was written.
    pub context_json: String,
    pub draft: String,
    pub channel: Option<Channel>,
    pub expected: Label,
    /// Whether the label itself is scored, and not only PASS against all others.
    pub exact: bool,
}

impl Case {
    /// Whether the draft should be stopped, whatever the label.
    pub fn is_violation(&self) -> bool {
        self.expected != Label::Pass
    }

    /// Whether the label is the expected one; where that is not scored, whether the draft was let
    /// out or stopped as it should be.
    pub fn is_right(&self, label: Label) -> bool {
        match self.exact {
            true => label == self.expected,
            false => (label == Label::Pass) == (self.expected == Label::Pass),
        }
    }

    /// Over all that is asked and expected: another hash is another case.
    pub fn hash(&self) -> String {
        let mut hash = Sha256::new();
        let channel = self.channel.map_or("", Channel::as_str);
        let exact = if self.exact { "exact" } else { "" };
        let expected = self.expected.as_str();
        for text in [&self.context_json, &self.draft, channel, expected, exact] {
            hash.update((text.len() as u64).to_le_bytes());
            hash.update(text.as_bytes());
        }
        const_hex::encode(&hash.finalize()[..16])
    }
}

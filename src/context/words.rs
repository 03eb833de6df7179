//! One spelling for the words that people write in many.

use crate::channel::Channel;

/// Letters and digits in lower case, nothing else: `Opt-Out Channels`, `opt_out_channels` and
/// `optOutChannels` are one word.
pub fn squash(text: &str) -> String {
    if text.is_ascii() {
        // Rules ask this of every field's name: several times as fast.
        let letters = text.bytes().filter(u8::is_ascii_alphanumeric);
        let lower = letters.map(|letter| letter.to_ascii_lowercase()).collect();
        return String::from_utf8(lower).unwrap_or_default();
    }
    text.chars()
        .filter(|c| c.is_alphanumeric())
        .flat_map(char::to_lowercase)
        .collect()
}

/// The channel that a word names.
pub fn channel_named(word: &str) -> Option<Channel> {
    match squash(word).as_str() {
        "email" | "emails" | "mail" | "mails" | "emailmessage" => Some(Channel::Email),
        "sms" | "text" | "texts" | "textmessage" | "textmessages" | "smsmessage" | "smstext" => {
            Some(Channel::Sms)
        }
        "linkedin" | "inmail" | "linkedininmail" | "linkedinmessage" | "linkedindm" => {
            Some(Channel::Linkedin)
        }
        _ => None,
    }
}

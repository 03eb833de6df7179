//! One spelling for the words that people write in many.

use crate::channel::Channel;

/// Letters and digits in lower case, nothing else: `Opt-Out Channels`, `opt_out_channels` and
/// `optOutChannels` are one word.
pub fn squash(text: &str) -> String {
    if text.is_ascii() {
        // Nearly always, and several times as fast.
        let letters = text.chars().filter(char::is_ascii_alphanumeric);
        let mut word = String::with_capacity(text.len());
        word.extend(letters.map(|letter| letter.to_ascii_lowercase()));
        return word;
    }
    text.chars()
        .filter(|c| c.is_alphanumeric())
        .flat_map(char::to_lowercase)
        .collect()
}

/// The name of a field, squashed. Salesforce marks what its customers add: `Email_Opt_Out__c`.
pub fn squash_name(name: &str) -> String {
    squash(name.strip_suffix("__c").unwrap_or(name))
}

/// Whether a text is a squashed word, in any spelling.
pub fn is_spelling(text: &str, word: &str) -> bool {
    let letters = text.chars().filter(|c| c.is_alphanumeric());
    letters.flat_map(char::to_lowercase).eq(word.chars())
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

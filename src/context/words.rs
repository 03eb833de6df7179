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

/// The name of a field, squashed. Salesforce marks what its customers add: `Email_Opt_Out__c`, and
/// `Email_Opt_Out__pc` where an account is a person.
pub fn squash_name(name: &str) -> String {
    let plain = name
        .strip_suffix("__c")
        .or_else(|| name.strip_suffix("__pc"));
    squash(plain.unwrap_or(name))
}

/// The channel that a squashed word names.
pub fn channel_of(word: &str) -> Option<Channel> {
    match word {
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

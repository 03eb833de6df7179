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
/// `Email_Opt_Out__pc` where an account is a person; a package puts its own name before it:
/// `et4ae5__HasOptedOutOfMobile__c`. In warehouses it is `email_opt_out_c` and `EMAIL_OPT_OUT__C`.
pub fn squash_name(name: &str) -> String {
    let cut = |end: &str| {
        let (plain, found) = name.split_at_checked(name.len().checked_sub(end.len())?)?;
        found.eq_ignore_ascii_case(end).then_some(plain)
    };
    let custom = cut("__c").or_else(|| cut("__pc"));
    let custom = custom.map(|plain| plain.split_once("__").map_or(plain, |(_, own)| own));
    let plain = custom.or_else(|| cut("_pc")).or_else(|| cut("_c"));
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

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
/// `et4ae5__HasOptedOutOfMobile__c`. What a field of theirs points to is `Contact__r`. In warehouses it is
/// `EMAIL_OPT_OUT__C` and `email_opt_out_c`; but `company_c` is the third of some companies.
pub fn squash_name(name: &str) -> String {
    let cut = |end: &str| {
        let (plain, found) = name.split_at_checked(name.len().checked_sub(end.len())?)?;
        found.eq_ignore_ascii_case(end).then_some(plain)
    };
    let custom = ["__c", "__pc", "__r"].into_iter().find_map(cut);
    let custom = custom.map(|plain| plain.split_once("__").map_or(plain, |(_, own)| own));
    let copied = || cut("_pc").or_else(|| cut("_c").filter(|plain| !is_counted(&squash(plain))));
    squash(custom.or_else(copied).unwrap_or(name))
}

/// Whether people give a letter to each of several, by the squashed name.
fn is_counted(name: &str) -> bool {
    let is_one = matches!(
        name,
        "company"
            | "competitor"
            | "contact"
            | "person"
            | "account"
            | "lead"
            | "prospect"
            | "engineer"
    );
    is_one || name.contains("thread")
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

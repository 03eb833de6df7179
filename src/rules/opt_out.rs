//! Rule 2: who opted out of one channel hears nothing on any.
//!
//! So the bundle's rubric says, and so the labelled data have it: they suppress an e-mail to who
//! opted out of text messages.

use serde_json::Value;

use super::evidence::path_of;
use super::marks::{find_in_marks, has_marks};
use super::words::{Answer, Entry, List, find_in_list, is_one_of, without_owner};
use super::{Evidence, Finding, squash_name};
use crate::context::{Context, Field, channel_of, squash};

/// What a field's name says about opt-outs.
enum Subject {
    /// Its value says which channels.
    Channels,
    /// Its value says yes or no.
    Flag,
    /// Its value is a yes or no, or says which channels.
    FlagOrChannels,
    /// Its value is an object on one channel, or a list of them, where a field may be an opt-out.
    Channel,
    /// Its value tells when somebody opted out.
    Time,
    /// Perhaps an opt-out, where its value says yes or holds more.
    Near,
    Other,
}

/// Looks through lists of channels, flags such as `email_opt_out`, statuses, and requests of erasure.
pub fn find(context: &Context) -> Finding {
    let fields = context.fields_and_records();
    Finding::any(fields.map(|field| find_in_field(&field)))
}

fn find_in_field(field: &Field<'_>) -> Finding {
    let path = || path_of(field);
    if has_marks(field.word) {
        return find_in_marks(field, |mark| {
            matches!(plain_subject(mark), Subject::Flag | Subject::FlagOrChannels)
        });
    }
    if let Some(finding) = find_in_status(field.word, path, field.value) {
        return finding;
    }
    match subject(field.word) {
        Subject::Channels => find_in_channels(field),
        Subject::Flag => find_in_flag(path, field.value),
        Subject::FlagOrChannels => find_in_either(field),
        Subject::Channel => find_in_channel(field),
        Subject::Time if is_time(field.value) => Finding::CannotTell(Evidence::of(field)),
        Subject::Time | Subject::Near => find_near(field),
        Subject::Other => Finding::NotFired,
    }
}

/// By the squashed name of a field.
fn subject(name: &str) -> Subject {
    match plain_subject(name) {
        subject @ (Subject::Near | Subject::Other) => {
            const TIMES: [&str; 6] = ["datetime", "timestamp", "date", "time", "at", "on"];
            let flag = TIMES.iter().find_map(|time| name.strip_suffix(time));
            match flag.map(plain_subject) {
                Some(Subject::Flag | Subject::FlagOrChannels) => Subject::Time,
                _ => subject,
            }
        }
        subject => subject,
    }
}

/// By the squashed name of a field that tells no time.
fn plain_subject(name: &str) -> Subject {
    /// Squashed words for an opt-out, each before or after the channel's name.
    const WORDS: [&str; 7] = [
        "optouts",
        "optout",
        "optedout",
        "unsubscribed",
        "unsubscribe",
        "suppressed",
        "donot",
    ];
    // `hs_email_optout_10912345`: of one kind of e-mails.
    let name = name.trim_end_matches(|c: char| c.is_ascii_digit());
    let name = without_owner(name);
    let name = name
        .strip_prefix("is")
        .or_else(|| name.strip_prefix("has"))
        .unwrap_or(name);
    if is_erasure(name) {
        return Subject::Flag;
    }
    let mut is_near = false;
    for word in WORDS {
        let Some(rest) = name.strip_prefix(word).or_else(|| name.strip_suffix(word)) else {
            continue;
        };
        let rest = rest.strip_prefix("of").unwrap_or(rest);
        let rest = rest.strip_prefix("from").unwrap_or(rest);
        let rest = without_owner(rest);
        let rest = rest.strip_prefix("bulk").unwrap_or(rest);
        match rest {
            "channel" | "channels" => return Subject::Channels,
            rest if is_channel(rest) => return Subject::Flag,
            "" if word != "donot" => return Subject::FlagOrChannels,
            // `do_not_contact` is a disqualifier.
            "" => {}
            // `opt_out_date`, `opt_out_reason` and the like, or a word that another one begins.
            _ => is_near = true,
        }
    }
    match is_near {
        _ if is_channel(name) => Subject::Channel,
        true => Subject::Near,
        false => Subject::Other,
    }
}

/// A request under the GDPR that all data be erased: no channel is left.
#[rustfmt::skip]
fn is_erasure(name: &str) -> bool {
    matches!(
        name,
        "gdprerasure" | "gdprerasurerequest" | "gdprerasurerequested" | "gdprdeletionrequest"
            | "erasurerequest" | "erasurerequested" | "righttoerasure" | "righttobeforgotten"
    )
}

/// Whether a squashed word names a channel, ours or not, or all of them.
#[rustfmt::skip]
fn is_channel(word: &str) -> bool {
    channel_of(word).is_some()
        || matches!(
            word,
            "all" | "allchannels" | "any" | "anychannel" | "every" | "everychannel" | "everything"
                | "global" | "phone" | "telephone" | "call" | "calls" | "phonecall" | "phonecalls"
                | "voice" | "fax" | "faxes" | "whatsapp" | "telegram" | "slack" | "post" | "postal"
                | "postalmail" | "linkedinmessages" | "newsletter" | "marketing" | "allemail"
                | "allemails" | "marketingemail" | "marketingemails" | "emailmarketing"
                // The kinds of e-mails that HubSpot has from the start, as it exports them.
                | "emailmarketinginformation" | "emailonetoone"
                | "emailcustomerservicecommunication"
        )
}

fn find_in_channels(field: &Field<'_>) -> Finding {
    find_in_list(List::Channels, field, |entry, evidence| {
        let is_known = match entry {
            Entry::Listed(word) | Entry::Flagged(word) => word == "*" || names_channel(word),
            Entry::Unreadable => false,
        };
        if is_known {
            Finding::Fired(vec![evidence])
        } else {
            Finding::CannotTell(evidence)
        }
    })
}

/// Whether a text names a channel, alone or with others: `email and sms`, `E-Mail & SMS`.
fn names_channel(text: &str) -> bool {
    let first = text.split_whitespace().next().unwrap_or_default();
    if is_one_of(first, &["not", "neither"]) {
        return false;
    }
    text.split(['/', '&', '+']).any(|part| {
        let words: Vec<&str> = part.split_whitespace().collect();
        let mut names = words.split(|word| is_one_of(word, &["and", "or"]));
        names.any(|name| is_channel(&squash(&name.concat())))
    })
}

fn find_in_flag(path: impl Fn() -> String, value: &Value) -> Finding {
    match answer_of(value) {
        Answer::Yes => Finding::Fired(vec![Evidence::new(&path(), value)]),
        Answer::Unclear if !is_link(value) => Finding::CannotTell(Evidence::new(&path(), value)),
        Answer::No | Answer::Unclear => Finding::NotFired,
    }
}

/// Yes or no, in the words of exports too: `opted_out`, and Dynamics' `Do Not Allow`.
fn answer_of(value: &Value) -> Answer {
    match (Answer::of(value), value) {
        (Answer::Unclear, Value::String(text)) => match squash(text).as_str() {
            "optedout" | "unsubscribed" | "donotallow" => Answer::Yes,
            "allow" => Answer::No,
            _ => Answer::Unclear,
        },
        (answer, _) => answer,
    }
}

/// Where somebody may opt out, and perhaps did not.
fn is_link(value: &Value) -> bool {
    let text = value.as_str().unwrap_or_default().trim_start();
    ["http", "mailto:"]
        .iter()
        .any(|link| text.starts_with(link))
}

/// Whether a value may be a time: `0000-00-00` is none.
fn is_time(value: &Value) -> bool {
    let text: &str = match value {
        Value::String(text) => text,
        Value::Number(number) => number.as_str(),
        _ => "",
    };
    text.contains(|c: char| matches!(c, '1'..='9'))
}

fn find_near(field: &Field<'_>) -> Finding {
    match (field.value, Answer::of(field.value)) {
        (_, Answer::Yes) => Finding::CannotTell(Evidence::of(field)),
        (Value::Array(_) | Value::Object(_), _) => {
            find_in_list(List::Channels, field, |_, evidence| {
                Finding::CannotTell(evidence)
            })
        }
        _ => Finding::NotFired,
    }
}

fn find_in_either(field: &Field<'_>) -> Finding {
    match answer_of(field.value) {
        Answer::Unclear if !is_link(field.value) => find_in_channels(field),
        _ => find_in_flag(|| path_of(field), field.value),
    }
}

/// What a status that is one of who opted out comes to, where it is no mark of the prospect's: that of
/// a channel, such as `email_opt_out_status`, fires.
fn find_in_status(name: &str, path: impl Fn() -> String, value: &Value) -> Option<Finding> {
    let name = without_owner(name.strip_suffix("status")?);
    let status = squash(value.as_str()?);
    if !matches!(status.as_str(), "unsubscribed" | "optedout" | "optout") {
        return None;
    }
    let kinds = ["subscription", "optout", "opt"];
    let of = kinds.iter().find_map(|kind| name.strip_suffix(kind));
    let of = of.unwrap_or(name);
    let evidence = Evidence::new(&path(), value);
    Some(match matches!(of, "" | "crm") || is_channel(of) {
        true => Finding::Fired(vec![evidence]),
        false => Finding::CannotTell(evidence),
    })
}

fn find_in_channel(field: &Field<'_>) -> Finding {
    let path = || path_of(field);
    match field.value {
        Value::Array(items) => Finding::any(
            items
                .iter()
                .enumerate()
                .map(|(index, item)| find_in_object(|| format!("{}[{index}]", path()), item)),
        ),
        value => find_in_object(path, value),
    }
}

fn find_in_object(path: impl Fn() -> String, object: &Value) -> Finding {
    let entries = object.as_object().into_iter().flatten();
    Finding::any(entries.map(|(name, value)| {
        let word = squash_name(name);
        let path = || format!("{}.{name}", path());
        if let Some(finding) = find_in_status(&word, path, value) {
            return finding;
        }
        match subject(&word) {
            Subject::Flag | Subject::FlagOrChannels => find_in_flag(path, value),
            Subject::Time if is_time(value) => Finding::CannotTell(Evidence::new(&path(), value)),
            _ => Finding::NotFired,
        }
    }))
}

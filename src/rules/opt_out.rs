//! Rule 2: who opted out of the channel in use hears nothing on it.
//!
//! The rubric speaks of the channel in use alone, while the labelled data suppress on an opt-out of
//! any other too. So the rule cannot tell there, and leaves it to who decides next.

use serde_json::Value;

use super::evidence::one_line;
use super::words::{Answer, Entry, find_in_list};
use super::{Evidence, Finding};
use crate::channel::Channel;
use crate::context::{Context, Field, channel_named, squash};

/// What a field's name says about opt-outs.
enum Subject {
    /// Its value says which channels.
    Channels,
    /// Its value says yes or no, for these channels.
    Flag(Reach),
    /// Its value is a yes or no for all channels, or says which.
    FlagOrChannels,
    /// Its value is an object on one channel, where a field may be an opt-out.
    About(Channel),
    Other,
}

#[derive(Clone, Copy)]
enum Reach {
    All,
    One(Channel),
}

/// Looks through lists of channels, flags such as `email_opt_out`, and requests of erasure.
pub fn find(context: &Context, channel: Channel) -> Finding {
    Finding::any(context.fields().map(|field| match subject(field.name) {
        Subject::Channels => find_in_channels(&field, channel),
        Subject::Flag(reach) => find_in_flag(&field.path(), field.value, reach, channel),
        Subject::FlagOrChannels => find_in_either(&field, channel),
        Subject::About(about) => find_in_object(&field, about, channel),
        Subject::Other => Finding::NotFired,
    }))
}

fn subject(name: &str) -> Subject {
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
    let name = squash(name);
    let name = name
        .strip_prefix("is")
        .or_else(|| name.strip_prefix("has"))
        .unwrap_or(&name);
    if is_erasure(name) {
        return Subject::Flag(Reach::All);
    }
    for word in WORDS {
        let Some(rest) = name.strip_prefix(word).or_else(|| name.strip_suffix(word)) else {
            continue;
        };
        let rest = rest.strip_prefix("of").unwrap_or(rest);
        let rest = rest.strip_prefix("from").unwrap_or(rest);
        return match (rest, reach(rest)) {
            ("channel" | "channels", _) => Subject::Channels,
            (_, Some(reach)) => Subject::Flag(reach),
            ("", None) if word != "donot" => Subject::FlagOrChannels,
            // `opt_out_date`, `opt_out_reason` and the like.
            _ => Subject::Other,
        };
    }
    channel_named(name).map_or(Subject::Other, Subject::About)
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

fn reach(word: &str) -> Option<Reach> {
    match squash(word).as_str() {
        "all" | "allchannels" | "any" | "anychannel" | "every" | "everychannel" | "everything"
        | "global" => Some(Reach::All),
        word => channel_named(word).map(Reach::One),
    }
}

fn find_in_channels(field: &Field<'_>, channel: Channel) -> Finding {
    find_in_list(field, |entry, evidence| {
        let reach = match entry {
            Entry::Listed("*") => Some(Reach::All),
            Entry::Listed(word) | Entry::Flagged(word) => reach(word),
            Entry::Unreadable => None,
        };
        match reach {
            Some(reach) => opted_out(reach, channel, evidence),
            None => Finding::CannotTell(evidence),
        }
    })
}

fn find_in_flag(path: &str, value: &Value, reach: Reach, channel: Channel) -> Finding {
    match Answer::of(value) {
        Answer::Yes => opted_out(reach, channel, Evidence::new(path, value)),
        Answer::No => Finding::NotFired,
        Answer::Unclear => Finding::CannotTell(Evidence::new(path, value)),
    }
}

/// An opt-out that names no channel counts for all.
fn find_in_either(field: &Field<'_>, channel: Channel) -> Finding {
    match Answer::of(field.value) {
        Answer::Unclear => find_in_channels(field, channel),
        _ => find_in_flag(&field.path(), field.value, Reach::All, channel),
    }
}

fn find_in_object(field: &Field<'_>, about: Channel, channel: Channel) -> Finding {
    let path = one_line(&field.path());
    let entries = field.value.as_object().into_iter().flatten();
    Finding::any(entries.map(|(name, value)| match subject(name) {
        Subject::FlagOrChannels => {
            let path = format!("{path}.{name}");
            find_in_flag(&path, value, Reach::One(about), channel)
        }
        _ => Finding::NotFired,
    }))
}

fn opted_out(reach: Reach, channel: Channel, evidence: Evidence) -> Finding {
    match reach {
        Reach::All => Finding::Fired(vec![evidence]),
        Reach::One(one) if one == channel => Finding::Fired(vec![evidence]),
        Reach::One(_) => Finding::CannotTell(evidence),
    }
}

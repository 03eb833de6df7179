//! Rule 6: no made-up company stands for a peer or a customer.

mod placeholder;

use std::collections::HashSet;
use std::ops::Range;
use std::sync::LazyLock;

use serde_json::Value;

pub use self::placeholder::{NotAName, Placeholders};
use super::company::Company;
use super::draft::{Draft, Sentence, is_word};
use super::evidence::path_of;
use super::phrases::Phrases;
use super::{Evidence, Finding};
use crate::context::{Context, squash};

/// Words by which a draft names others for comparison.
static COMPARES: LazyLock<Phrases> = LazyLock::new(|| {
    Phrases::new(
        "like, such as, including, similar to, e g, for example, for instance, peer, peers
        customer, customers, client, clients, companies, firms, teams, startups, businesses
        organizations, organisations, competitor, competitors, helped, worked with, work with
        working with, already work, already use, partnered, partner with, trust, trusts, trusted
        use, uses, used, using, rely, relies, chose, choose, joined, alongside, success stories
        success story, case study, case studies, in good company, did for, we did, served, supported",
    )
});

/// Words before a name that make it the sender's own.
static OF_SENDER: LazyLock<Phrases> = LazyLock::new(|| {
    Phrases::new(
        "reaching out from, writing from, calling from, i m from, i am from, here at, this is, we at, on behalf of, i m with, i am with, name is, we are, we re, team at",
    )
});

/// Names of a list, and those that a program proposed, of all its lists.
const MAX_NAMES: usize = 64;

pub fn find(context: &Context, draft: &Draft<'_>, list: &Placeholders) -> Finding {
    let peers = Peers::of(context);
    let mut doubtful = None;
    for sentence in draft.sentences() {
        let names = names(&sentence, &peers, list);
        let Some(first) = names.first() else {
            let brief = peers.brief_in(&sentence);
            doubtful = doubtful.or(brief);
            continue;
        };
        let evidence = Evidence::of_word("draft", sentence.quote(first.tokens.clone()));
        let plain = names.iter().filter(|name| name.is_plain).count();
        let compared = COMPARES.is_in(&sentence) || names.iter().any(|name| name.is_among_others);
        if plain > 1 || plain > 0 && compared {
            return Finding::Fired(vec![evidence]);
        }
        doubtful.get_or_insert(evidence);
    }
    doubtful.map_or(Finding::NotFired, Finding::CannotTell)
}

/// A placeholder in a sentence.
struct Name {
    tokens: Range<usize>,
    /// Not a part of a longer name, and not one that the context vouches for.
    is_plain: bool,
    /// `Adyen and Acme`.
    is_among_others: bool,
}

fn names(sentence: &Sentence<'_>, peers: &Peers<'_>, list: &Placeholders) -> Vec<Name> {
    let mut names = Vec::new();
    let mut at = 0;
    while at < sentence.len() {
        let Some(tokens) = list.at(sentence, at) else {
            at += 1;
            continue;
        };
        at = tokens.end;
        let words: Vec<&str> = tokens.clone().map(|at| sentence.token(at)).collect();
        let sender = OF_SENDER.find(sentence, tokens.start.saturating_sub(3)..tokens.start);
        let is_senders = sender.is_some_and(|sender| sender.end == tokens.start);
        if is_senders || peers.company.is_named_by(&words) {
            continue;
        }
        let known = peers.knows(sentence.quote(tokens.clone()));
        let is_template = !is_word(words[0]) && !is_listed(sentence, tokens.start);
        names.push(Name {
            is_plain: !is_part(sentence, &tokens) && !known && !is_template,
            is_among_others: is_joined(sentence, &tokens),
            tokens,
        });
    }
    names
}

/// Whether a name is one of a longer name: `Bright Data Solutions`, `Data Solutions Norway`,
/// `Head of Global Solutions`.
fn is_part(sentence: &Sentence<'_>, name: &Range<usize>) -> bool {
    let before = name.start > 1 && sentence.is_capital(name.start - 1);
    let of = name.start > 0 && sentence.token(name.start - 1) == "of";
    before || of || sentence.is_capital(name.end)
}

/// Whether `and` or `or` joins a name to another.
fn is_joined(sentence: &Sentence<'_>, name: &Range<usize>) -> bool {
    let joins = |at: usize| matches!(sentence.token(at), "and" | "or" | "&");
    let before = name.start >= 2 && joins(name.start - 1) && sentence.is_capital(name.start - 2);
    before || joins(name.end) && sentence.is_capital(name.end + 1)
}

/// Whether a name goes on a list: `[Company]` alone may be the prospect.
fn is_listed(sentence: &Sentence<'_>, name: usize) -> bool {
    let before = name.checked_sub(1).map_or("", |at| sentence.token(at));
    matches!(
        before,
        "like" | "as" | "including" | "and" | "or" | "," | "helped" | "with"
    )
}

/// Whom the context names.
struct Peers<'a> {
    company: Company,
    known: HashSet<String>,
    /// Names that a program proposed, each with its path.
    brief: Vec<(String, Vec<String>, &'a str)>,
}

impl<'a> Peers<'a> {
    fn of(context: &'a Context) -> Self {
        let mut peers = Self {
            company: Company::of(context),
            known: HashSet::new(),
            brief: Vec::new(),
        };
        for field in context.fields() {
            let items = field
                .value
                .as_array()
                .map(Vec::as_slice)
                .unwrap_or_default();
            let names = items.iter().enumerate().take(MAX_NAMES);
            let names = names.filter_map(|(index, item)| Some((index, item.as_str()?)));
            match field.word {
                "localpeers" | "peers" | "knownpeers" | "verifiedpeers" | "realpeers"
                | "customers" | "references" | "referencecustomers" => {
                    peers.known.extend(names.map(|(_, name)| squash(name)));
                }
                "peerbriefgenerated" | "peerbrief" | "generatedpeers" | "suggestedpeers" => {
                    for (index, name) in names.take(MAX_NAMES.saturating_sub(peers.brief.len())) {
                        let path = format!("{}[{index}]", path_of(&field));
                        peers.brief.push((path, words(name), name));
                    }
                }
                _ => {}
            }
        }
        peers
    }

    fn knows(&self, name: &str) -> bool {
        self.known.contains(&squash(name))
    }

    /// A proposed name in the sentence: it may be right.
    fn brief_in(&self, sentence: &Sentence<'_>) -> Option<Evidence> {
        let found = self.brief.iter().find(|(_, words, _)| {
            let here = |at: usize| {
                words
                    .iter()
                    .zip(at..)
                    .all(|(word, at)| sentence.token(at) == word)
            };
            !words.is_empty() && (0..sentence.len()).any(here)
        });
        found.map(|(path, _, name)| Evidence::new(path, &Value::from(*name)))
    }
}

fn words(name: &str) -> Vec<String> {
    let name = Draft::new(name);
    let sentence = name.sentences().next();
    let tokens = sentence
        .iter()
        .flat_map(|name| (0..name.len()).map(|at| name.token(at)));
    tokens.map(str::to_owned).collect()
}

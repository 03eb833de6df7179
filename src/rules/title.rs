//! Whether a job title is C-level.
//!
//! It is where the title says so (`c_level`, `CTO`, `Chief Revenue Officer`), and is not where the
//! title names a lower rank. The rest cannot be told: founders above all, whom the rubric does not
//! name, and who stand in the labelled data at small companies only.

use serde_json::Value;

/// `None` where the title does not tell.
pub fn is_c_level(value: &Value) -> Option<bool> {
    match value {
        Value::String(title) => title_is_c_level(title),
        Value::Array(titles) => {
            let titles: Option<Vec<&str>> = titles.iter().map(Value::as_str).collect();
            title_is_c_level(&titles?.join(", "))
        }
        _ => None,
    }
}

/// Whether a text names any rank, as a person's name does not.
pub fn names_rank(text: &str) -> bool {
    normalise(text)
        .split_whitespace()
        .any(|token| is_rank(token) || is_lower(token) || is_open(token) || is_helper(token))
}

fn title_is_c_level(title: &str) -> Option<bool> {
    let title = normalise(title);
    let tokens: Vec<&str> = title.split_whitespace().collect();
    let Some(rank) = rank(&tokens) else {
        let lower = tokens
            .iter()
            .any(|token| is_lower(token) || is_helper(token));
        let open =
            tokens.iter().any(|token| is_open(token)) || tokens.windows(2).any(is_spanish_director);
        return (lower && !open).then_some(false);
    };
    let (before, after) = tokens.split_at(rank);
    let helper = before.iter().rposition(|token| is_helper(token));
    // `Executive Assistant - CEO` is one title, `Board Advisor - CEO` two.
    let apart = |helper: usize| {
        let has_own = matches!(before.get(helper), Some(&("advisor" | "adviser" | "staff")));
        let mut behind = before.iter().skip(helper);
        behind.any(|token| *token == COMMA || *token == DASH && has_own)
    };
    match helper {
        // `Assistant to the CEO`: the rank is another person's.
        Some(helper) if !apart(helper) => Some(false),
        Some(_) => None,
        // `Former CTO`, `CEO Office`.
        None if before.iter().any(|token| is_doubt(token)) => None,
        None if matches!(before, [.., "field" | "vice"]) => None,
        None if is_before_helper(after) => None,
        // `Head of CRO`, `CRO Manager`: the letters may be a matter and no rank.
        None if matches!(before, [.., lower, "of"] if is_lower(lower)) => None,
        None if is_before_lower(after) => None,
        // `Analyst, CFO Finance Department`.
        None if before.iter().any(|token| is_lower(token))
            && after.iter().any(|token| is_unit(token)) =>
        {
            None
        }
        None if is_behind_another(before) || is_over(after) => None,
        None => Some(true),
    }
}

/// `Director Ejecutivo`, `Director de Tecnología`: in Spanish a head's title, and often C-level.
fn is_spanish_director(words: &[&str]) -> bool {
    matches!(
        words,
        [
            "director",
            "de" | "del"
                | "comercial"
                | "ejecutivo"
                | "financiero"
                | "operativo"
                | "tecnico"
                | "técnico"
        ]
    )
}

/// Whether the rank may be that of whom the recipient works for: `CEO Office`, `CEO, Assistant to`.
/// Words of a company's name, of a place or of another seat tell nothing of it.
fn is_before_helper(after: &[&str]) -> bool {
    let person = after.split(|token| *token == "at").next();
    let mut titles = person
        .unwrap_or_default()
        .split(|token| is_separator(token));
    let own = titles.next().unwrap_or_default();
    let next = titles.next().unwrap_or_default();
    let mut next = next
        .iter()
        .filter(|token| !matches!(**token, "advisor" | "adviser"));
    own.iter().any(|token| is_helper(token)) || next.any(|token| is_helper(token))
}

/// Whether a lower rank follows in the same title, or a word that the letters are part of. The company's
/// name may hold any word.
fn is_before_lower(after: &[&str]) -> bool {
    let title = after.split(|token| *token == COMMA).next();
    let title = title.unwrap_or_default();
    // `Chief Revenue Officer` is one rank.
    let officer = title.iter().position(|token| *token == "officer");
    let behind = officer.unwrap_or_default() + 1;
    let rest = title.get(behind..).unwrap_or_default();
    if rest.first().is_some_and(|token| is_unit(token)) {
        return true;
    }
    let is_of_title = |token: &&&str| !matches!(**token, "at" | "of" | "for");
    // `CRO - Conversion Specialist`, but `CEO - Managing Director`.
    let is_matter_too = matches!(title, ["cro" | "cio" | "cmo" | "cpo" | "cdo" | "cso", ..]);
    let mut words = rest
        .iter()
        .take_while(|token| is_of_title(token) && (is_matter_too || **token != DASH));
    // Behind a dash, the services may be the company's: `CTO - Financial Services`.
    let mut near = rest
        .iter()
        .take_while(|token| is_of_title(token) && **token != DASH);
    words.any(|token| is_lower(token) || is_matter(token))
        || near.any(|token| matches!(*token, "services" | "advisory" | "practice"))
}

/// `Finance Business Partner to the CFO`, `Finance Manager for CIO`.
fn is_behind_another(before: &[&str]) -> bool {
    let before = match before {
        [rest @ .., "the" | "our"] => rest,
        all => all,
    };
    matches!(before, [.., "to" | "for" | "with"])
}

/// What the letters of a rank may be a part of: `Program Manager, CTO Org`, `SEO & CRO Strategist`.
fn is_matter(token: &str) -> bool {
    matches!(
        token,
        "org" | "organization" | "organisation" | "team" | "strategist" | "expert"
    )
}

fn is_unit(token: &str) -> bool {
    matches!(token, "division" | "department" | "function")
}

/// `CTO (retired)`, `Chief Information Officer until 2024`.
fn is_over(after: &[&str]) -> bool {
    let mut words = after.iter();
    words.any(|token| matches!(*token, "until" | "till" | "retired" | "emeritus"))
}

/// Between two titles of one person.
const COMMA: &str = ",";
/// Between a title and what it is of, or two titles.
const DASH: &str = "-";

fn is_separator(token: &str) -> bool {
    matches!(token, COMMA | DASH)
}

/// Words in lower case, spaces between, each separator a word.
fn normalise(title: &str) -> String {
    let words: Vec<String> = title.split_whitespace().map(normalise_word).collect();
    words
        .join(" ")
        .replace(" and ", " , ")
        .replace("vice president", "vp")
}

fn normalise_word(word: &str) -> String {
    // A dash of its own, but `C-Level`.
    if matches!(word, "-" | "–" | "—") {
        return DASH.to_owned();
    }
    let mut words = String::new();
    for c in word.to_lowercase().chars() {
        match c {
            // `C.T.O.`
            '.' => {}
            ',' | ';' | '&' | '+' | '/' | '|' | '(' | ')' => words.push_str(" , "),
            c if c.is_alphanumeric() => words.push(c),
            _ => words.push(' '),
        }
    }
    words
}

/// Where the title first names a C-level rank.
fn rank(tokens: &[&str]) -> Option<usize> {
    let last_officer = tokens.iter().rposition(|token| *token == "officer");
    tokens.iter().enumerate().position(|(at, token)| {
        let next = tokens.get(at + 1).copied().unwrap_or_default();
        match *token {
            "c" => matches!(next, "level" | "suite"),
            "chief" => next == "executive" || last_officer.is_some_and(|officer| officer > at),
            token => is_rank(token),
        }
    })
}

#[rustfmt::skip]
fn is_rank(token: &str) -> bool {
    matches!(
        token,
        "clevel" | "csuite" | "cxo" | "ceo" | "cto" | "cfo" | "coo" | "cio" | "cmo" | "cpo" | "cro"
            | "cco" | "cdo" | "cso" | "ciso" | "chro" | "cao" | "clo" | "cbo" | "cgo" | "cko"
            | "caio" | "cdao" | "cpto"
    )
}

/// Who works for somebody else's rank.
#[rustfmt::skip]
fn is_helper(token: &str) -> bool {
    matches!(
        token,
        "assistant" | "pa" | "ea" | "secretary" | "aide" | "office" | "staff" | "advisor"
            | "adviser" | "reports" | "reporting"
    )
}

/// Before a rank: perhaps not, not yet, or no longer the recipient's.
#[rustfmt::skip]
fn is_doubt(token: &str) -> bool {
    matches!(
        token,
        "former" | "formerly" | "ex" | "past" | "retired" | "deputy" | "associate" | "incoming"
            | "future" | "aspiring" | "not" | "non" | "no" | "below" | "sub"
    )
}

#[rustfmt::skip]
fn is_lower(token: &str) -> bool {
    matches!(
        token,
        "vp" | "svp" | "evp" | "avp" | "director" | "head" | "manager" | "lead" | "leader"
            | "engineer" | "developer" | "architect" | "scientist" | "analyst" | "designer"
            | "specialist" | "coordinator" | "consultant" | "administrator" | "representative"
            | "recruiter" | "officer" | "intern"
    )
}

/// With a lower rank or without, the person may head the company: `Managing Director`.
#[rustfmt::skip]
fn is_open(token: &str) -> bool {
    matches!(
        token,
        "founder" | "cofounder" | "president" | "chief" | "managing" | "general" | "executive"
            | "owner" | "partner" | "principal" | "chair" | "chairman" | "chairwoman" | "board"
    )
}

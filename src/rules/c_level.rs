//! Rule 3: a person, not a machine, writes to the C-level of a large company.

use serde_json::Value;

use super::words::Answer;
use super::{Evidence, Finding, headcount, title};
use crate::context::{Context, Field};

/// One half of the rule, over all fields that speak of it.
enum Fact {
    True(Evidence),
    False,
    /// No field says it, or two say the opposite.
    Unknown(Evidence),
}

/// Both halves must hold; one that does not is enough for the rule not to fire.
pub fn find(context: &Context) -> Finding {
    let c_level = fact(context, "recipient_role", &[rank_reader, bare_rank_reader]);
    let large = fact(context, "headcount", &[size_reader, bare_size_reader]);
    match (c_level, large) {
        (Fact::False, _) | (_, Fact::False) => Finding::NotFired,
        (Fact::True(role), Fact::True(headcount)) => Finding::Fired(vec![role, headcount]),
        (Fact::Unknown(evidence), _) | (_, Fact::Unknown(evidence)) => {
            Finding::CannotTell(evidence)
        }
    }
}

/// Reads whether a value says yes or no to a half of the rule; `None` where it does not tell.
type Reader = fn(&Value) -> Option<bool>;

/// The reader of a field, if it speaks of a half of the rule.
type Readers = fn(&Field<'_>) -> Option<Reader>;

/// The fields that tell must agree; those that do not tell count only where no other does. The
/// first group that has one that tells decides.
fn fact(context: &Context, usual_field: &str, groups: &[Readers]) -> Fact {
    let mut told: Option<(bool, Evidence)> = None;
    let mut untold = None;
    for readers in groups {
        let fields = context.fields_and_records();
        for field in fields.filter(|field| !is_empty(field.value)) {
            let Some(read) = readers(&field) else {
                continue;
            };
            match (read(field.value), &told) {
                (Some(says), Some((told, _))) if says != *told => {
                    return Fact::Unknown(Evidence::of(&field));
                }
                (Some(says), None) => told = Some((says, Evidence::of(&field))),
                (None, _) if untold.is_none() => untold = Some(Evidence::of(&field)),
                _ => {}
            }
        }
        if told.is_some() {
            break;
        }
    }
    match told {
        Some((true, evidence)) => Fact::True(evidence),
        Some((false, _)) => Fact::False,
        None => Fact::Unknown(untold.unwrap_or_else(|| Evidence::missing(usual_field))),
    }
}

fn is_empty(value: &Value) -> bool {
    value.is_null() || value.as_str().is_some_and(|text| text.trim().is_empty())
}

/// Fields on the recipient's rank.
fn rank_reader(field: &Field<'_>) -> Option<Reader> {
    match field.word {
        "recipientrole" | "recipienttitle" | "recipientjobtitle" | "recipientseniority"
        | "contactrole" | "contacttitle" | "contactjobtitle" | "contactseniority"
        | "prospectrole" | "prospecttitle" | "persontitle" => Some(title::is_c_level),
        "clevel" | "isclevel" | "recipientisclevel" | "csuite" | "iscsuite" => Some(is_yes),
        _ => None,
    }
}

/// Fields on somebody's rank: an engineer on offer has one too.
fn bare_rank_reader(field: &Field<'_>) -> Option<Reader> {
    let is_rank = match field.word {
        "title" => !is_name_of_record(field),
        word => matches!(word, "role" | "jobtitle" | "seniority"),
    };
    is_rank.then_some(title::is_c_level)
}

/// Whether a title is what a record itself is called, as a lead is in Pipedrive: `Acme lead`. The
/// `Title` of a lead in Salesforce is the person's.
fn is_name_of_record(title: &Field<'_>) -> bool {
    match title.record {
        "lead" => title.name == "title",
        record => matches!(
            record,
            "account" | "company" | "crunchbasecompany" | "organization" | "organisation"
        ),
    }
}

/// Fields on the company's size.
#[rustfmt::skip]
fn size_reader(field: &Field<'_>) -> Option<Reader> {
    let is_size = matches!(
        field.word,
        "headcount" | "companyheadcount" | "totalheadcount" | "employees" | "employeecount"
            | "companyemployeecount" | "companyemployees" | "accountnumberofemployees"
            | "numemployees" | "numberofemployees" | "noofemployees" | "estimatednumemployees"
            | "totalemployees" | "employeesrange" | "employeerange" | "companysize"
    );
    is_size.then_some(headcount::is_large)
}

/// Fields on the size of a company, or of one team.
fn bare_size_reader(field: &Field<'_>) -> Option<Reader> {
    let is_size = matches!(field.word, "staff" | "staffcount" | "fte" | "ftes");
    is_size.then_some(headcount::is_large)
}

fn is_yes(value: &Value) -> Option<bool> {
    match Answer::of(value) {
        Answer::Yes => Some(true),
        Answer::No if Answer::is_meant(value) => Some(false),
        Answer::No | Answer::Unclear => None,
    }
}

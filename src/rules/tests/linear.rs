//! The work grows with the draft and with the context, and no faster: steps are counted, not time.

use std::cell::Cell;

use serde_json::{Value, json};

use super::*;

thread_local! {
    static STEPS: Cell<u64> = const { Cell::new(0) };
}

pub fn count() {
    STEPS.set(STEPS.get() + 1);
}

fn steps(context: &str, draft: String) -> u64 {
    let case = Case {
        draft,
        ..case(context)
    };
    STEPS.set(0);
    judge(&case);
    STEPS.get()
}

/// Contexts in which the rules read the draft.
fn contexts() -> [Value; 4] {
    let foreign = "Board pressure to cut headcount 20%, merger with Halden in autumn";
    let threads: Vec<Value> = (0..60)
        .map(|id| json!({"thread_id": id.to_string(), "recipient_role": "CEO", "text": foreign}))
        .collect();
    let bench: Vec<Value> = (0..16)
        .map(|id| json!({"name": format!("Abebe K{id}"), "committed_until": "2026-09-30"}))
        .collect();
    let peers: Vec<String> = (0..64).map(|id| format!("Uber {id}")).collect();
    let lists = (0..100).map(|id| (spelled("peer", id, "brief"), json!(peers)));
    [
        json!({}),
        json!({"company": "Nova Nova Nova Pay", "thread_id": "own", "funding_confidence": "low",
            "funding_amount_usd": 5_000_000, "threads": threads}),
        json!({"company": "Nova", "bench": bench, "peer_brief_generated": peers}),
        Value::Object(lists.collect()),
    ]
}

/// One of many spellings of a name.
fn spelled(before: &str, id: usize, after: &str) -> String {
    let marks = format!("{id:011b}").replace('0', "-").replace('1', "_");
    format!("{before}{marks}{after}")
}

#[test]
fn twice_the_draft_takes_twice_the_steps() {
    let pieces = [
        "word ",
        "a.",
        "$5 ",
        "$ 5 , ",
        "nova ",
        "Nova Nova ",
        "your recent latest new ",
        "you may have raised $5M in Series A ",
        "your $5M if ",
        "five hundred thousand ",
        "Abebe ",
        "Abebe is available ",
        "he can start on 2026-09-01 ",
        "Acme and ",
        "[ { < ",
        "Company ",
        "Uber 1 ",
        "board pressure to cut ",
        "CEO mentioned ",
        "20% ",
        "\n",
        ". \n",
        "'- _",
        "1,2.3,",
        "…",
    ];
    for context in contexts() {
        let context = context.to_string();
        for piece in pieces {
            let [one, two] = [4_000, 8_000].map(|times| steps(&context, piece.repeat(times)));
            assert!(
                two <= one * 21 / 10 + 1_000,
                "{piece:?}: {one} then {two}\n{context}"
            );
            // A token is looked at some hundred times at the very most.
            let letters = piece.len() as u64 * 4_000;
            assert!(
                one <= letters * 200,
                "{piece:?}: {one} for {letters} bytes\n{context}"
            );
        }
    }
}

#[test]
fn more_of_the_context_takes_no_more_steps_than_its_length() {
    let draft = "Abebe is available, and the board wants to cut 20% of your $5M round. ".repeat(50);
    let grown = |count: usize| {
        let text = "Board pressure to cut headcount 20% ".repeat(count);
        let many: Vec<Value> = (0..count)
            .map(|id| json!({"thread_id": id.to_string(), "name": "Abebe", "committed_until": "2026-09-30", "text": "Board cut"}))
            .collect();
        let names: Vec<String> = (0..count).map(|id| format!("Uber {id}")).collect();
        let record = format!("c{}ontact", "-".repeat(count));
        let titles = (0..count).map(|id| (spelled("t", id, "itle"), json!(1)));
        let titles = Value::Object(titles.collect());
        [
            json!({"thread_id": "own", "other_thread": "b", "ceo_thread_content": text}),
            json!({"thread_id": "own", "threads": many}),
            json!({"bench": many}),
            json!({"peer_brief_generated": names}),
            json!({"funding_confidence": "low", "company": text}),
            json!({"thread_id": "own", "other_thread": "b", "own_note": text, "board_note": "Board"}),
            json!({ record: titles }),
        ]
    };
    for (one, two) in grown(1_000).into_iter().zip(grown(2_000)) {
        let one = steps(&one.to_string(), draft.clone());
        let two = steps(&two.to_string(), draft.clone());
        assert!(two <= one * 21 / 10 + 1_000, "{one} then {two}");
    }
}

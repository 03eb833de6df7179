use super::*;

fn mask(paths: &[&str]) -> Mask {
    let paths: Vec<String> = paths.iter().map(|path| (*path).to_owned()).collect();
    Mask::new(&paths).unwrap()
}

fn content(subject: &Subject) -> (&str, &str) {
    let content = subject.content.as_ref().unwrap();
    (&content.context, &content.draft)
}

const CONTEXT: &str = r#"{"prospect_id":"p-1","company":"Acme","big":12345678901234567890123,"contact":{"email":"a@b.c","lines":[{"phone":1},{"phone":null}]},"recipient_name":"Ann"}"#;

#[test]
fn the_default_path_is_one() {
    let written = format!("{:?}", mask(&[DEFAULT_PATH]));
    assert_eq!(written, format!("{:?}", Mask::default()));
}

#[test]
fn persons_are_masked_by_default_at_any_depth_and_the_rest_stays() {
    let subject = Subject::of(&case(CONTEXT, "Hi Ann"), &Mask::default());
    let masked = r#"{"prospect_id":"p-1","company":"Acme","big":12345678901234567890123,"contact":{"email":"[masked]","lines":[{"phone":"[masked]"},{"phone":"[masked]"}]},"recipient_name":"[masked]"}"#;
    assert_eq!(content(&subject), (masked, "Hi Ann"));
    assert_eq!(
        subject.masked,
        [
            "$['context']['recipient_name']",
            "$['context']['contact']['email']",
            "$['context']['contact']['lines'][0]['phone']",
            "$['context']['contact']['lines'][1]['phone']",
        ]
    );
}

#[test]
fn persons_are_masked_by_default_as_crms_spell_them() {
    let context = r#"{"Account":{"Name":"Acme"},"Contact":{"Email":"a@b.c","Phone":"1","MobilePhone":"2"},"emails":["d@e.f"],"phone_number":"3","recipientEmail":"g@h.i","linkedInUrl":"j"}"#;
    let subject = Subject::of(&case(context, "Hi Ann"), &Mask::default());
    let masked = r#"{"Account":{"Name":"Acme"},"Contact":{"Email":"[masked]","Phone":"[masked]","MobilePhone":"[masked]"},"emails":"[masked]","phone_number":"[masked]","recipientEmail":"[masked]","linkedInUrl":"[masked]"}"#;
    assert_eq!(content(&subject), (masked, "Hi Ann"));
    assert_eq!(subject.masked.len(), 7);
}

#[test]
fn the_hashes_are_of_the_whole_texts() {
    let open = Subject::of(&case(CONTEXT, "Hi Ann"), &mask(&[]));
    let hidden = Subject::of(&case(CONTEXT, "Hi Ann"), &mask(&["$.context", "$.draft"]));
    assert_eq!(content(&open), (CONTEXT, "Hi Ann"));
    assert_eq!(content(&hidden), ("\"[masked]\"", "[masked]"));
    assert_eq!(hidden.context_sha256, open.context_sha256);
    assert_eq!(hidden.draft_sha256, open.draft_sha256);
    let hex = open.draft_sha256.map(|byte| format!("{byte:02x}")).concat();
    // By sha256sum.
    let known = "8fafe2e747819336da9055b7c6e1f9fd8b8bdd234589dbc7053032812006d6de";
    assert_eq!(hex, known);
}

#[test]
fn a_part_of_a_masked_value_is_gone_with_it() {
    let both = mask(&["$.context.contact.email", "$.context.contact", "$..email"]);
    let subject = Subject::of(&case(CONTEXT, "Hi"), &both);
    assert_eq!(subject.masked, ["$['context']['contact']"]);
    assert!(content(&subject).0.contains(r#""contact":"[masked]""#));
    assert!(!content(&subject).0.contains("a@b.c"));
}

#[test]
fn keys_that_look_like_pointers_are_masked_where_they_stand() {
    let context = r#"{"a/b":"x","a":{"b":"y"},"~1":"z","":"w"}"#;
    let paths = mask(&["$.context['a/b']", "$.context['~1']", "$.context['']"]);
    let subject = Subject::of(&case(context, "Hi"), &paths);
    let masked = r#"{"a/b":"[masked]","a":{"b":"y"},"~1":"[masked]","":"[masked]"}"#;
    assert_eq!(content(&subject).0, masked);
    assert_eq!(
        subject.masked,
        [
            "$['context']['']",
            "$['context']['a/b']",
            "$['context']['~1']",
        ]
    );
}

#[test]
fn the_recorded_path_of_a_key_with_odd_letters_selects_that_key_again() {
    let context = r#"{"odd":{"o'b":1,"a\\b":2,"\b\t\n\f\r\u001f":3,"\"é\u007f":4},"x":5}"#;
    let subject = Subject::of(&case(context, "Hi"), &mask(&["$.context.odd.*"]));
    // As RFC 9535 has them in section 2.7.
    let recorded = [
        r"$['context']['odd']['\b\t\n\f\r\u001f']",
        "$['context']['odd']['\"é\u{7f}']",
        r"$['context']['odd']['a\\b']",
        r"$['context']['odd']['o\'b']",
    ];
    assert_eq!(subject.masked, recorded);
    let again = Subject::of(&case(context, "Hi"), &mask(&recorded));
    assert_eq!(again.masked, recorded);
    assert_eq!(again.content, subject.content);
    assert!(content(&again).0.ends_with(r#""x":5}"#));
}

#[test]
fn a_path_by_a_condition_masks_what_fulfils_it() {
    let context = r#"{"notes":[{"by":"Ann","text":"x"},{"by":"Bob","text":"y"}]}"#;
    let paths = mask(&[r#"$.context.notes[?@.by == "Bob"].text"#]);
    let subject = Subject::of(&case(context, "Hi"), &paths);
    assert_eq!(subject.masked, ["$['context']['notes'][1]['text']"]);
}

#[test]
fn paths_that_would_be_far_too_long_mask_all_of_the_context_and_the_draft_as_always() {
    let key = "k".repeat(100_000);
    let contacts = [r#"{"email":"a@b.c"}"#; 1000].join(",");
    let context = format!(r#"{{"prospect_id":"p-1","{key}":[{contacts}],"x":5}}"#);
    let case = case(&context, "Hi Ann");
    let subject = Subject::of(&case, &Mask::default());
    assert_eq!(subject.masked, ["$['context']"]);
    assert_eq!(content(&subject), ("\"[masked]\"", "Hi Ann"));
    assert!(subject.prospect.starts_with("sha256:"));
    let both = Subject::of(&case, &mask(&["$.draft", DEFAULT_PATH]));
    assert_eq!(both.masked, ["$['context']", "$['draft']"]);
    assert_eq!(content(&both), ("\"[masked]\"", "[masked]"));
    assert_eq!(both.context_sha256, subject.context_sha256);
}

#[test]
fn paths_of_64_kib_together_are_told_in_full_and_longer_ones_are_not() {
    let subject = |key: &str| {
        let context = format!(r#"{{"{key}":[{{"email":"a@b.c"}},{{"email":"d@e.f"}}]}}"#);
        Subject::of(&case(&context, "Hi"), &Mask::default())
    };
    let paths = |key: &str| [0, 1].map(|at| format!("$['context']['{key}'][{at}]['email']"));
    let around = paths("").concat().len();
    let key = "k".repeat((64 * 1024 - around) / 2);
    let full = subject(&key);
    assert_eq!(full.masked, paths(&key));
    let masked = format!(r#"{{"{key}":[{{"email":"[masked]"}},{{"email":"[masked]"}}]}}"#);
    assert_eq!(content(&full).0, masked);
    let beyond = subject(&format!("{key}k"));
    assert_eq!(beyond.masked, ["$['context']"]);
    assert_eq!(content(&beyond).0, "\"[masked]\"");
}

#[test]
fn the_prospect_is_its_id_else_its_company_else_the_hash_of_all() {
    let of = |context: &str| Subject::of(&case(context, "Hi"), &Mask::default()).prospect;
    assert_eq!(of(CONTEXT), "p-1");
    assert_eq!(of(r#"{"prospect_id":88213,"company":"Acme"}"#), "88213");
    assert_eq!(of(r#"{"prospect_id":" ","company":"Acme"}"#), "Acme");
    assert_eq!(of(r#"{"prospect_id":null,"company":" Acme "}"#), "Acme");
    let unnamed = of(r#"{"headcount":12}"#);
    assert!(unnamed.starts_with("sha256:"));
    assert_eq!(unnamed, of(r#"{ "headcount": 12 }"#));
    assert_ne!(unnamed, of(r#"{"headcount":13}"#));
    let long = of(&format!(r#"{{"company":"{}"}}"#, "x".repeat(201)));
    assert!(long.starts_with("sha256:"));
}

#[test]
fn a_masked_prospect_is_told_apart_by_its_hash_alone() {
    for path in ["$.context.prospect_id", "$.context", "$.context.*", "$"] {
        let subject = Subject::of(&case(CONTEXT, "Hi"), &mask(&[path]));
        let other = CONTEXT.replace("p-1", "p-2");
        let other = Subject::of(&case(&other, "Hi"), &mask(&[path]));
        assert!(subject.prospect.starts_with("sha256:"), "{path}");
        assert_ne!(subject.prospect, other.prospect, "{path}");
        assert!(!content(&subject).0.contains("p-1"), "{path}");
    }
}

#[test]
fn every_wrong_path_is_reported_with_its_reason() {
    let paths = [
        "$.context.email",
        "email",
        "$.email",
        "$.contextual",
        "$['x']",
    ];
    let error = Mask::new(&paths.map(str::to_owned)).unwrap_err();
    let lines = error.0;
    assert_eq!(lines.len(), 4, "{lines:?}");
    assert!(lines[0].starts_with("`email` is no JSON path: "));
    assert_eq!(
        lines[1],
        "`$.email` would mask nothing: a path begins with `$.context`, `$.draft` or `$..`"
    );
}

#[test]
fn a_path_of_names_alone_tells_without_a_query_that_a_context_has_none_of_them() {
    let context = |text: &str| case(text, "Hi").context;
    let without = context(r#"{"company":"email","lines":[[{"e-mail":1}]]}"#);
    let within = context(r#"{"company":"Acme","lines":[[{"email":1}]]}"#);
    for (paths, in_without, in_within) in [
        (&["$.context..['email']"][..], false, true),
        (&["$.context..['phone','email']"], false, true),
        (&["$.context..['phone']"], false, false),
        (
            &["$.context..['phone']", "$.context..['email']"],
            false,
            true,
        ),
        // They say more than names, or say them otherwise: only a query tells.
        (&["$.context..['phone']", "$.draft"], true, true),
        (&["$.context..['phone', 'fax']"], true, true),
        (&[r"$.context..['pho\u006ee']"], true, true),
        (&["$.context..['phone']['email']"], true, true),
        (&["$.context..phone"], true, true),
        (&[], false, false),
    ] {
        let mask = mask(paths);
        assert_eq!(
            mask.may_select_in(without.as_json()),
            in_without,
            "{paths:?}"
        );
        assert_eq!(mask.may_select_in(within.as_json()), in_within, "{paths:?}");
    }
}

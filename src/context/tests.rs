use proptest::prelude::*;

use super::*;

fn parse(text: &str) -> Context {
    Context::parse(text).unwrap()
}

fn message(text: &str) -> String {
    Context::parse(text).unwrap_err().to_string()
}

#[test]
fn what_is_no_object_is_refused() {
    for (text, expected) in [
        ("[]", "expected a JSON object, found `array`"),
        ("null", "expected a JSON object, found `null`"),
        ("\"{}\"", "expected a JSON object, found `string`"),
        ("17", "expected a JSON object, found `number`"),
        ("true", "expected a JSON object, found `boolean`"),
    ] {
        assert_eq!(message(text), expected, "{text}");
    }
}

#[test]
fn invalid_json_is_refused_with_its_place() {
    for (text, expected) in [
        (
            "",
            "not valid JSON: EOF while parsing a value at line 1 column 0",
        ),
        (
            "{\n\"a\":}",
            "not valid JSON: expected value at line 2 column 5",
        ),
        (
            "{} {}",
            "not valid JSON: trailing characters at line 1 column 4",
        ),
        (
            "{\"a\":NaN}",
            "not valid JSON: expected value at line 1 column 6",
        ),
        (
            "{\"a\":1,}",
            "not valid JSON: trailing comma at line 1 column 8",
        ),
    ] {
        assert_eq!(message(text), expected, "{text}");
    }
}

#[test]
fn lone_surrogates_are_refused() {
    for text in [
        r#"{"a":"\ud83d"}"#,
        r#"{"a":"\ude80"}"#,
        r#"{"a":"\ud83dx"}"#,
        r#"{"\ud83d":1}"#,
    ] {
        assert!(
            matches!(Context::parse(text), Err(ContextError::Syntax(_))),
            "{text}"
        );
    }
}

#[test]
fn deep_nesting_is_refused() {
    let nested = |levels: usize| {
        let arrays = levels - 1;
        format!("{{\"a\":{}{}}}", "[".repeat(arrays), "]".repeat(arrays))
    };
    assert!(Context::parse(&nested(MAX_DEPTH)).is_ok());
    assert_eq!(
        message(&nested(MAX_DEPTH + 1)),
        "nested deeper than 32 levels at line 1 column 37"
    );
    assert!(Context::parse(&nested(100_000)).is_err());
}

#[test]
fn a_key_given_twice_is_refused_at_any_level() {
    assert_eq!(
        message("{\"a\":1,\n \"a\":1}"),
        "key `a` stands twice in one object, at line 2 column 2"
    );
    for text in [
        r#"{"x":[{"y":{"a":1,"b":2,"a":3}}]}"#,
        // One key in two spellings.
        r#"{"headcount":1,"head\u0063ount":2}"#,
        r#"{"":1,"" :2}"#,
    ] {
        assert!(
            matches!(Context::parse(text), Err(ContextError::DuplicateKey { .. })),
            "{text}"
        );
    }
}

#[test]
fn a_key_may_stand_in_two_objects() {
    for text in [
        r#"{"a":{"a":{"a":"a"}},"b":[{"a":1},{"a":2}]}"#,
        // Text that only looks like keys.
        r#"{"a":"\"b\":1,\"b\":2","b":["b","b"]}"#,
        r#"{"a\\":1,"a":"\\"}"#,
    ] {
        assert!(Context::parse(text).is_ok(), "{text}");
    }
}

#[test]
fn an_object_cannot_pass_for_a_number() {
    for text in [
        r#"{"headcount":{"$serde_json::private::Number":"3000"}}"#,
        r#"{"headcount":{"\u0024serde_json::private::Number":"3000"}}"#,
        r#"{"$serde_json::private::RawValue":"[]"}"#,
        r#"{"$serde_json::private::RawValue":"{\"a\":1}"}"#,
        r#"{"\u0024serde_json::private::RawValue":"{\"a\":1}"}"#,
        r#"{"x":{"$serde_json::private::other":1}}"#,
    ] {
        assert!(
            matches!(Context::parse(text), Err(ContextError::ReservedKey { .. })),
            "{text}"
        );
    }
}

#[test]
fn a_reserved_key_is_refused_before_the_text_in_its_string_is_read() {
    let mut text = "{}".to_owned();
    for _ in 0..40 {
        let inner = text.replace('\\', r"\u005c").replace('"', r"\u0022");
        let (open, close) = ("[".repeat(122), "]".repeat(122));
        text = format!(r#"{{"$serde_json::private::RawValue":"{open}{inner}{close}"}}"#);
    }
    assert!(matches!(
        Context::parse(&text),
        Err(ContextError::ReservedKey { .. })
    ));
}

#[test]
fn a_key_that_cannot_be_read_is_told_with_its_place_in_the_context() {
    let deep = format!("{}{}", "[".repeat(40), "]".repeat(40));
    let error = Context::parse(&format!("{{\n\n\"\\q\":1,\"a\":{deep}}}")).unwrap_err();
    assert!(error.to_string().contains("line 3"), "{error}");
}

#[test]
fn the_third_of_some_names_is_no_field_of_salesforces() {
    assert_eq!(squash_name("company_c"), "companyc");
    assert_eq!(squash_name("Company__c"), "company");
    assert_eq!(squash_name("thread_summary_c"), "threadsummaryc");
    assert_eq!(squash_name("company_name_c"), "companyname");
    assert_eq!(squash_name("dnc_c"), "dnc");
    assert_eq!(squash_name("unsubscribed_pc"), "unsubscribed");
}

#[test]
fn the_channel_is_read_in_many_spellings() {
    for (text, expected) in [
        (r#"{"intended_channel":"E-Mail"}"#, Some(Channel::Email)),
        (r#"{"intended_channel":"mail"}"#, Some(Channel::Email)),
        (r#"{"channel":"text"}"#, Some(Channel::Sms)),
        (r#"{"Channel__c":"text"}"#, Some(Channel::Sms)),
        (r#"{"Channel__pc":"text"}"#, Some(Channel::Sms)),
        (r#"{"channel":" SMS "}"#, Some(Channel::Sms)),
        (
            r#"{"available_signals":{"intended_channel":"LinkedIn InMail"}}"#,
            Some(Channel::Linkedin),
        ),
        (
            r#"{"availableSignals":{"intendedChannel":"sms"}}"#,
            Some(Channel::Sms),
        ),
        // The first that is there decides, also where it is unknown.
        (
            r#"{"channel":"pigeon","available_signals":{"intended_channel":"sms"}}"#,
            None,
        ),
        (
            r#"{"intended_channel":null,"channel":"sms"}"#,
            Some(Channel::Sms),
        ),
        (r#"{"intended_channel":["sms"]}"#, None),
        (r#"{"available_signals":"sms"}"#, None),
        ("{}", None),
    ] {
        assert_eq!(parse(text).intended_channel(), expected, "{text}");
    }
}

#[test]
fn values_are_found_by_path() {
    let context = parse(r#"{"a":{"b":[1,{"c":2}]},"available_signals":{"x":true}}"#);
    assert_eq!(context.get("available_signals.x"), Some(&Value::Bool(true)));
    assert!(context.get("a.b").is_some_and(Value::is_array));
    for path in ["", "b", "a.c", "a.b.1", "a.b.c", "a.", ".a"] {
        assert_eq!(context.get(path), None, "{path}");
    }
    let paths: Vec<String> = context
        .fields()
        .map(|field| field.path().collect())
        .collect();
    assert_eq!(paths, ["a", "available_signals", "available_signals.x"]);
}

#[test]
fn fields_are_found_in_any_spelling() {
    let context = parse(
        r#"{"threadId":7,"Available Signals":{"Thread-ID":8},"available_signals":{"x":true},
        "signals":{"thread_id":9}}"#,
    );
    let at = |path: &str| {
        let values = context.all_at(path).map(Value::to_string);
        values.collect::<Vec<_>>()
    };
    assert_eq!(at("thread_id"), ["7"]);
    assert_eq!(at("available_signals.thread_id"), ["8"]);
    assert_eq!(at("available_signals.x"), ["true"]);
    assert!(at("x").is_empty());
    let below: Vec<String> = context
        .fields()
        .filter(|field| !field.is_at_top())
        .map(|field| field.path().collect())
        .collect();
    assert_eq!(
        below,
        ["Available Signals.Thread-ID", "available_signals.x"]
    );
}

#[test]
fn records_follow_the_fields_and_are_looked_into_once() {
    let context = parse(
        r#"{"Contact":{"Opt_Out__c":true,"lead":{"x":1}},"company":"Acme",
        "available_signals":{"account":{"size":1},"threads":[{"x":1}]},"Size__c":2}"#,
    );
    let found = context.fields_and_records();
    let found: Vec<(String, &str)> = found
        .map(|field| (field.path().collect(), field.word))
        .collect();
    let expected = [
        ("Contact", "contact"),
        ("company", "company"),
        ("available_signals", "availablesignals"),
        ("Size__c", "size"),
        ("available_signals.account", "account"),
        ("available_signals.threads", "threads"),
        ("Contact.Opt_Out__c", "optout"),
        ("Contact.lead", "lead"),
        ("available_signals.account.size", "size"),
    ];
    assert_eq!(found, expected.map(|(path, word)| (path.to_owned(), word)));
    assert_eq!(context.fields().count(), 6);
}

#[test]
fn what_a_crm_wraps_a_records_fields_in_is_looked_into() {
    let context = parse(
        r#"{"prospect":{"attributes":{"optedOut":true,"properties":{"x":1}}},
        "available_signals":{"Account":{"size":1,"properties":{"Size__c":2},"Properties":{"x":1}}},
        "threads":{"attributes":{"x":1}}}"#,
    );
    let below = context.fields_and_records().skip(4);
    let below: Vec<(String, &str)> = below
        .map(|field| (field.path().collect(), field.record))
        .collect();
    let expected = [
        ("prospect.attributes", "prospect"),
        ("prospect.attributes.optedOut", "prospect"),
        ("prospect.attributes.properties", "prospect"),
        ("available_signals.Account.size", "account"),
        ("available_signals.Account.properties", "account"),
        ("available_signals.Account.Properties", "account"),
        ("available_signals.Account.properties.Size__c", "account"),
    ];
    assert_eq!(
        below,
        expected.map(|(path, record)| (path.to_owned(), record))
    );
}

#[test]
fn the_compact_form_keeps_order_numbers_and_letters() {
    let context = parse(
        "{ \"b\" : 1, \"a\": [3e3, 1.50, 12345678901234567890123, -0],\n \"ü\": \"caf\\u00e9\" }",
    );
    assert_eq!(
        context.to_compact(),
        r#"{"b":1,"a":[3e+3,1.50,12345678901234567890123,-0],"ü":"café"}"#
    );
}

/// The expected text was made by Python 3 from the same input.
#[test]
fn the_indented_form_is_pythons() {
    let context = parse(
        r#"{"b":1,"a":[],"e":{},"n":null,"t":[true,false],"s":"caf\u00e9 🚀 \u007f \u0000 \b\f\n\r\t\"\\\/\u2028",
        "num":[0,-0,-0.0,1.50,1E5,1e16,1e15,123456789012345678901234567890,0.0001,1e-5,1.5e-7,1e400,-1e400,2.5e22,100.0,5e-324],
        "deep":{"x":[{"y":[[]]}]},"\u00fc~":"~ "}"#,
    );
    let expected = r#"{
  "b": 1,
  "a": [],
  "e": {},
  "n": null,
  "t": [
    true,
    false
  ],
  "s": "caf\u00e9 \ud83d\ude80 \u007f \u0000 \b\f\n\r\t\"\\/\u2028",
  "num": [
    0,
    0,
    -0.0,
    1.5,
    100000.0,
    1e+16,
    1000000000000000.0,
    123456789012345678901234567890,
    0.0001,
    1e-05,
    1.5e-07,
    Infinity,
    -Infinity,
    2.5e+22,
    100.0,
    5e-324
  ],
  "deep": {
    "x": [
      {
        "y": [
          []
        ]
      }
    ]
  },
  "\u00fc~": "~ "
}"#;
    assert_eq!(context.to_indented(), expected);
    assert_eq!(parse("{}").to_indented(), "{}");
}

proptest! {
    #[test]
    fn the_compact_form_reads_back(keys in prop::collection::hash_set("\\PC{0,6}", 0..6)) {
        let object: serde_json::Map<String, Value> =
            keys.into_iter().map(|key| (key.clone(), Value::String(key))).collect();
        let context = parse(&Value::Object(object).to_string());
        prop_assert_eq!(&parse(&context.to_compact()), &context);
        prop_assert_eq!(&parse(&context.to_indented()), &context);
    }
}

use super::*;

fn scopes(of: &[Scope]) -> BTreeSet<Scope> {
    of.iter().copied().collect()
}

fn pass(text: &str, token: &str, scope: Option<Scope>) -> Result<Arc<str>, Denied> {
    let tokens = Some(Arc::new(Tokens::parse(text).unwrap()));
    let (_sender, current) = watch::channel(tokens);
    Pass::new(current, token.as_bytes(), scope).check()
}

#[test]
fn an_entry_lets_its_token_in_and_no_other() {
    let (one, other) = (fresh().unwrap(), fresh().unwrap());
    let text = entry_text("crm", &one, &scopes(&[Scope::Judge])).unwrap();
    assert_eq!(pass(&text, &one, Some(Scope::Judge)).as_deref(), Ok("crm"));
    assert_eq!(pass(&text, &one, None).as_deref(), Ok("crm"));
    assert_eq!(
        pass(&text, &other, Some(Scope::Judge)),
        Err(Denied::Unknown)
    );
    assert_eq!(pass(&text, "", None), Err(Denied::Unknown));
    assert_eq!(pass("", &one, None), Err(Denied::Unknown));
}

#[test]
fn a_token_does_what_its_scopes_say_and_nothing_else() {
    let token = fresh().unwrap();
    let text = entry_text("ops", &token, &scopes(&[Scope::Control, Scope::Judge])).unwrap();
    for scope in Scope::ALL {
        let denied = Denied::Scope {
            caller: "ops".into(),
            scope,
        };
        let expected = match scope {
            Scope::Feedback => Err(denied),
            Scope::Judge | Scope::Control => Ok("ops".into()),
        };
        assert_eq!(pass(&text, &token, Some(scope)), expected, "{scope}");
    }
}

#[test]
fn a_pass_ends_with_its_entry() {
    let token = fresh().unwrap();
    let text = entry_text("crm", &token, &scopes(&[Scope::Judge])).unwrap();
    let (sender, current) = watch::channel(Some(Arc::new(Tokens::parse(&text).unwrap())));
    let pass = Pass::new(current, token.as_bytes(), Some(Scope::Judge));
    pass.check().unwrap();
    sender.send_replace(Some(Arc::new(Tokens::parse("").unwrap())));
    assert_eq!(pass.check(), Err(Denied::Unknown));
}

#[test]
fn fresh_tokens_differ_and_the_file_does_not_hold_them() {
    let (one, other) = (fresh().unwrap(), fresh().unwrap());
    assert_ne!(one, other);
    assert_eq!(one.len(), "judged_".len() + 64);
    let text = entry_text("crm", &one, &scopes(&[Scope::Judge])).unwrap();
    assert!(!text.contains(&one));
}

#[test]
fn what_is_wrong_with_a_file_is_named() {
    let hash = "ab".repeat(32);
    let table = |name: &str, hash: &str, scopes: &str| {
        format!("[[token]]\nname = \"{name}\"\nsha256 = \"{hash}\"\nscopes = [{scopes}]\n")
    };
    let good = table("crm", &hash, "\"judge\"");
    Tokens::parse(&good).unwrap();
    for (text, told) in [
        ("[[tokens]]\n".to_owned(), "tokens"),
        ("[[token]]\nname = 7\n".to_owned(), "line 2"),
        (table("", &hash, "\"judge\""), "1 to 64"),
        (table("a b", &hash, "\"judge\""), "`a b`"),
        (table("crm", "abcd", "\"judge\""), "64 hexadecimal"),
        (
            table("crm", &"0x".repeat(32), "\"judge\""),
            "64 hexadecimal",
        ),
        (table("crm", &hash, "\"admin\""), "`admin`"),
        (table("crm", &hash, ""), "no scope"),
        (
            good.clone() + &table("crm", &"cd".repeat(32), "\"judge\""),
            "two tokens",
        ),
        (
            good.clone() + &table("erp", &hash, "\"judge\""),
            "hash of another",
        ),
    ] {
        let error = Tokens::parse(&text).unwrap_err().to_string();
        assert!(error.contains(told), "{told}: {error}");
    }
}

use super::*;

const CONTEXT: &str = r#"{"company":"Polar Byte Studios","available_signals":{
    "peer_brief_generated":["Uber","Stripe"],"local_peers":["Data Solutions","Rovio"]}}"#;

#[test]
fn a_placeholder_among_peers_fires() {
    check_all(
        Rule::PlaceholderPeers,
        CONTEXT,
        "fired draft",
        &[
            "We have helped companies like TechCorp and GlobalSolutions.",
            "Similar companies include: 1) TechCorp, 2) DataCorp, 3) Analytics Inc.",
            "Our customers are Company X, Company Y, and Company Z.",
            "You might know companies like XYZ Inc. or ABC Corp. How do they influence you?",
            "Teams such as ABC Inc., DEF Corp., and GHI Ltd. work with us.",
            "Companies like StartupX, StartupY, StartupZ trust us.",
            "Acme and Globex use our engineers.",
            "Rovio and Acme had the same question as you.",
            "Peers like [Company A] and {Company B} work with us.",
            "We helped {{client name}} to grow.",
            "Retailers like ShopCo grew with us.",
            "We worked with Global Solutions last year.",
        ],
    );
}

#[test]
fn names_that_are_real_or_of_the_sender_do_not_fire() {
    check_all(
        Rule::PlaceholderPeers,
        CONTEXT,
        "not fired",
        &[
            "Peers like Supercell, Rovio and Remedy work with us.",
            "Hi, I'm reaching out from XYZ Inc. We have helped similar companies.",
            "Hi [First Name], we help companies like yours.",
            "Our product helps companies with X, Y, and Z.",
            "In your company A and B teams work apart.",
            "We help STARTUPS and CLIENTS to grow.",
            "Your global solutions team uses data solutions.",
            "Companies like yours wait for months.",
            "Customer A/B tests help companies like yours.",
        ],
    );
    check_all(
        Rule::PlaceholderPeers,
        r#"{"company":"TechCorp Vilnius UAB"}"#,
        "not fired",
        &[
            "Companies like TechCorp Vilnius grow fast.",
            "TechCorp trusts its customers.",
        ],
    );
    check_all(
        Rule::PlaceholderPeers,
        r#"{"companyName":"TechCorp Vilnius UAB"}"#,
        "not fired",
        &["Companies like TechCorp Vilnius grow fast."],
    );
}

#[test]
fn a_name_that_may_be_right_cannot_be_told() {
    check_drafts(
        Rule::PlaceholderPeers,
        CONTEXT,
        &[
            (
                "Companies like Uber, Airbnb and Stripe use us.",
                "cannot tell available_signals.peer_brief_generated[0]",
            ),
            ("Acme is on the line.", "cannot tell draft"),
            ("Companies like Data Solutions use us.", "cannot tell draft"),
            (
                "Companies like Bright Data Solutions use us.",
                "cannot tell draft",
            ),
            ("Companies like Acme Norway use us.", "cannot tell draft"),
            (
                "As Head of Global Solutions you use many tools.",
                "cannot tell draft",
            ),
            ("Teams like yours at [Company] use us.", "cannot tell draft"),
        ],
    );
    check_drafts(
        Rule::PlaceholderPeers,
        r#"{"availableSignals":{"peerBriefGenerated":["Uber"]}}"#,
        &[(
            "Companies like Uber use us.",
            "cannot tell availableSignals.peerBriefGenerated[0]",
        )],
    );
}

#[test]
fn an_operator_adds_names_and_patterns() {
    let mut book = Rulebook::default();
    book.add_placeholder_peer("Muster GmbH").unwrap();
    book.add_placeholder_peer("Bidon ?").unwrap();
    for (draft, expected) in [
        ("Firms like Muster AG use us.", "fired draft"),
        ("Firms like Bidon B use us.", "fired draft"),
        ("Firms like Muster use us.", "not fired"),
        ("Firms like Bidon use us.", "not fired"),
        ("Firms like Acme use us.", "fired draft"),
    ] {
        let case = Case {
            draft: draft.to_owned(),
            ..case("{}")
        };
        assert_eq!(
            show(&book.evaluate(Rule::PlaceholderPeers, &case)),
            expected,
            "{draft}"
        );
    }
    for name in ["", " ? ", "17", "[]"] {
        assert!(book.add_placeholder_peer(name).is_err(), "{name}");
    }
}

#[test]
fn every_line_of_the_built_in_list_is_a_name_that_is_found() {
    let list = include_str!("../../../models/placeholder-peers.txt");
    let mut book = Rulebook::default();
    let names = list
        .lines()
        .filter(|line| !line.starts_with('#') && !line.trim().is_empty());
    for name in names {
        book.add_placeholder_peer(name).unwrap();
        let written = name.replace('?', "X");
        let draft = format!("We helped {written}.");
        let case = Case {
            draft: draft.clone(),
            ..case("{}")
        };
        assert_eq!(
            show(&evaluate(Rule::PlaceholderPeers, &case)),
            "fired draft",
            "{draft}"
        );
    }
}

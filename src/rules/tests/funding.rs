use serde_json::json;

use super::*;

const LOW: &str = r#"{"company":"Kestrel Freight Ltd","funding_stage":"series_a",
    "funding_amount_usd":5000000,"funding_confidence":"low"}"#;

#[test]
fn a_sum_or_a_round_that_is_stated_fires() {
    let sums = [
        "$5M",
        "$5m",
        "$ 5 million",
        "5 million dollars",
        "five million dollars",
        "US$5M",
        "USD 5m",
        "USD 750,000",
        "750,000 USD",
        "EUR5m",
        "€5.000.000",
        "€4,5 Mio",
        "£3.2M",
        "$5,000,000",
        "$ 800k",
        "Rs 10 crore",
        "Rs. 10 crore",
        "₹10 crore",
        "INR 50 lakh",
        "₦900 million",
        "CHF 2 million",
        "a million euros",
        "eighteen million kronor",
    ];
    for sum in sums {
        for draft in [
            format!("You raised {sum} in spring."),
            format!("Congratulations on your {sum} Series A!"),
            format!("With {sum} raised, Kestrel Freight can hire."),
            format!("Your {sum} is the right moment to hire."),
            format!("Kestrel has just closed {sum}. Shall we talk?"),
        ] {
            check_drafts(
                Rule::UnconfirmedFunding,
                LOW,
                &[(&draft, "fired funding_confidence draft")],
            );
        }
    }
    check_all(
        Rule::UnconfirmedFunding,
        LOW,
        "fired funding_confidence draft",
        &[
            "Your recent funding makes this a good time to hire.",
            "You raised $5M after Halden withdrew their bid.",
            "Based on your recent funding, now is the time to hire.",
            "We saw you raised money recently - let us help.",
            "Congrats on the seven-figure round!",
            "Congrats on closing the seed round, shall we talk?",
            "Congratulations on Kestrel Freight's Series A.",
            "Your Series A means that the roadmap can grow.",
            "Since your latest round of funding, a lot has changed.",
            "You’ve recently raised a seed round.",
            "Five million in the bank changes what a founder can say yes to.",
            "I see that Kestrel Freight Ltd secured $12M in Series A funding.",
            "Congrats on the $5M you raised!",
            "After raising $5M, you will need engineers.",
            "As your Series\nA shows, investors believe in you.",
            "If you need people, write to me. Your $5M raise will not wait.",
            "Figures in the press vary. Still, you raised $9M, and that buys a team.",
            "Your $5M raise suggests that you will hire.",
            "Congrats on your Series A. Are you free on Tuesday?",
            "Congrats on your Series B. Rather than hiring locally, you could work with us.",
            "Congrats on the $5M you raised (Series A). Could we talk about your team?",
            "Congrats on the $5M you raised, up 20%. Could we talk about your team?",
            "You recently raised $5M, which means you may be hiring.",
            "Right, you raised $5M and need people.",
            "Kestrel Freight secured $2M in Series A funding, according to our data.",
            "Your fresh Series C calls for a larger team.",
            "Kestrel landed $3M to expand to Norway.",
            "You closed a $4M strategic round.",
        ],
    );
}

#[test]
fn what_is_hedged_does_not_fire() {
    check_all(
        Rule::UnconfirmedFunding,
        LOW,
        "not fired",
        &[
            "You reportedly raised $5M.",
            "Signals suggest you may have raised around $5M in Series A funding.",
            "Your $5M raise is unverified.",
            "Your Series A fell apart when the investor withdrew.",
            "Your Series A offer was withdrawn.",
            "If you raised $5M, you may want to hire.",
            "We could not confirm whether you raised $5M.",
            "Word is that Kestrel Freight raised $5M.",
            "Rumour has it that Kestrel closed $5M last month.",
            "We have no verified funding data for your company.",
            "When you close your Series A, we can help.",
            "It looks like you raised $4M.",
            "Sounds like you closed your Series A.",
            "Kestrel Freight potentially secured $2M in Series A funding.",
        ],
    );
    // A hedge elsewhere in the sentence, or beside it, may be meant for the sum.
    check_all(
        Rule::UnconfirmedFunding,
        LOW,
        "cannot tell draft",
        &[
            "You raised $5M, which we could not verify.",
            "You raised $5M. I could not verify that figure.",
            "You raised $5M, but I have no way to check it.",
            "There is nothing certain, but you raised $5M.",
            "I may be wrong about your stack, but you raised $5M.",
            "Crunchbase lists your $5M round.",
            "Did you close your Series A last month?",
            "Was it your $5M raise that let you hire?",
            "You raised roughly $5M.",
            "Ahead of your Series A, we can help.",
            "From what I can tell, you closed your Series A in March.",
            "According to Crunchbase, you raised $4M.",
            "You raised $4M, according to Crunchbase.",
            "You raised $4M, I believe.",
            "You raised $4M (I think).",
            "You raised $4M, right?",
            "You raised $4M, it seems.",
            "You raised $4M, if I'm not mistaken.",
            // Money that is yet to come, or not.
            "Good luck with your Series A!",
            "As you raise your Series A, we can help.",
            "We help you get to your Series A faster.",
            "Whatever your funding, we have engineers.",
            "After the Series A, your roadmap has grown.",
            "One of our clients raised $20M with our help, and you could too.",
        ],
    );
}

#[test]
fn what_is_no_funding_does_not_fire() {
    check_all(
        Rule::UnconfirmedFunding,
        LOW,
        "not fired",
        &[
            "Hello, we have two engineers for you.",
            "Our engineers cost you $45 an hour.",
            "You pay $90,000 per year for one developer.",
            "You could save $200,000 a year.",
            "Your $2M budget is enough for two teams.",
            "You process $50 million in payments each day.",
            "Your 5 million users deserve a faster app.",
            "You raised a good question about the funding form.",
            "You raised concerns about financing our work.",
            "You closed the ticket yesterday.",
            "The point you raised is a good one.",
            "After your first round of interviews, we can send more profiles.",
            "Your round-the-clock support is great.",
            "We help Series A companies to hire.",
            "Your funding platform needs Rust engineers.",
            "Your fundraising event in May was a success.",
            "Your funding campaigns and your fundraising gala need a website.",
            "Your financing department sells more cars than your financing arm.",
            "Congrats on the new round of hires!",
            "Your 15 open roles are many.",
            "I read your Series A pitch with pleasure.",
            "In your last funding call you told us about the team.",
        ],
    );
    // A thing behind the sum may be what was won.
    check_all(
        Rule::UnconfirmedFunding,
        LOW,
        "cannot tell draft",
        &[
            "Kestrel won a $5M tender from the NHS.",
            "You landed a $3M order from Tesco.",
            "You announced a $10M expansion of your Leeds site.",
            "You announced a $10M investment in a new warehouse.",
            "Your $140k-$160k senior backend role has been open for 60 days.",
            "Your $140k–$160k band is fair.",
        ],
    );
}

#[test]
fn a_sum_that_somebody_else_raised_cannot_be_told() {
    check_all(
        Rule::UnconfirmedFunding,
        LOW,
        "cannot tell draft",
        &[
            "The $5M raised by your customer Halden will show up as load on your APIs.",
            "Teams that have raised $30M rarely wait.",
            "Halden Stores raised $30M.",
            "We helped your neighbour Halden. They closed a $20M Series B and you could follow.",
            "Take Halden: it raised $20M with a team half your size.",
        ],
    );
}

#[test]
fn the_confidence_decides_whether_the_draft_is_read() {
    let draft = "Congratulations on your $5M Series A!";
    for (context, expected) in [
        (
            json!({"funding_confidence": "low"}),
            "fired funding_confidence draft",
        ),
        (
            json!({"funding_confidence": "Insufficient signal"}),
            "fired funding_confidence draft",
        ),
        (
            json!({"available_signals": {"funding_confidence": "LOW"}}),
            "fired available_signals.funding_confidence draft",
        ),
        (
            json!({"availableSignals": {"fundingConfidence": "low"}}),
            "fired availableSignals.fundingConfidence draft",
        ),
        (
            json!({"funding_confidence": "low", "available_signals": {"funding_confidence": "low"}}),
            "fired funding_confidence draft",
        ),
        (json!({"funding_confidence": "medium"}), "not fired"),
        (json!({"funding_confidence": "high"}), "not fired"),
        (json!({}), "cannot tell funding_confidence"),
        (
            json!({"funding_confidence": null}),
            "cannot tell funding_confidence",
        ),
        (
            json!({"funding_confidence": "so-so"}),
            "cannot tell funding_confidence",
        ),
        (
            json!({"funding_confidence": 0.2}),
            "cannot tell funding_confidence",
        ),
        (
            json!({"funding_confidence": "high", "available_signals": {"funding_confidence": "low"}}),
            "cannot tell available_signals.funding_confidence",
        ),
    ] {
        let context = context.to_string();
        check_drafts(Rule::UnconfirmedFunding, &context, &[(draft, expected)]);
        check_drafts(
            Rule::UnconfirmedFunding,
            &context,
            &[("Hello there.", "not fired")],
        );
    }
}

#[test]
fn the_evidence_is_the_confidence_and_the_words_of_the_draft() {
    let case = Case {
        draft: "Hi Ines,\n\ncongrats on your $5M raise! Shall we talk?".to_owned(),
        ..case(LOW)
    };
    assert_eq!(
        judge(&case).rationale,
        "The draft states funding as fact that is not confirmed: `funding_confidence` is `low` and \
         `draft` is `your $5M raise`."
    );
}

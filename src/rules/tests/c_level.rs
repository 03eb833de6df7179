use serde_json::json;

use super::*;
use crate::rules::{headcount, title};

#[test]
fn both_halves_decide() {
    check(
        Rule::CLevelAtLargeCompany,
        &[
            (
                r#"{"recipient_role":"cto","headcount":2001}"#,
                "fired recipient_role headcount",
            ),
            (r#"{"recipient_role":"cto","headcount":2000}"#, "not fired"),
            (
                r#"{"recipient_role":"vp_eng","headcount":9000}"#,
                "not fired",
            ),
            // One half that does not hold is enough.
            (
                r#"{"recipient_role":"founder","headcount":80}"#,
                "not fired",
            ),
            (r#"{"headcount":80}"#, "not fired"),
            (r#"{"recipient_role":"vp_eng"}"#, "not fired"),
            ("{}", "cannot tell recipient_role"),
            (r#"{"recipient_role":"cto"}"#, "cannot tell headcount"),
            (
                r#"{"recipient_role":"cto","headcount":null}"#,
                "cannot tell headcount",
            ),
            (
                r#"{"recipient_role":"cto","headcount":"many"}"#,
                "cannot tell headcount",
            ),
            (
                r#"{"recipient_role":"founder","headcount":9000}"#,
                "cannot tell recipient_role",
            ),
            (
                r#"{"recipient_role":7,"headcount":9000}"#,
                "cannot tell recipient_role",
            ),
            (
                r#"{"recipient_role":"","headcount":9000}"#,
                "cannot tell recipient_role",
            ),
        ],
    );
}

#[test]
fn fields_in_many_places_must_agree() {
    check(
        Rule::CLevelAtLargeCompany,
        &[
            (
                r#"{"available_signals":{"is_c_level":true,"companyHeadcount":"3k"}}"#,
                "fired available_signals.is_c_level available_signals.companyHeadcount",
            ),
            (
                r#"{"recipient_role":"c_level","headcount":4000,"available_signals":{"recipient_title":"Chief Engineer","company_size":"large"}}"#,
                "fired recipient_role headcount",
            ),
            (
                r#"{"recipient_role":"tbd","recipient_title":"CFO","headcount":4000}"#,
                "fired recipient_title headcount",
            ),
            (
                r#"{"recipient_role":"cto","headcount":4000,"available_signals":{"headcount":9000}}"#,
                "fired recipient_role headcount",
            ),
            (
                r#"{"recipient_role":"cto","headcount":4000,"available_signals":{"headcount":40}}"#,
                "cannot tell available_signals.headcount",
            ),
            (
                r#"{"recipient_role":"VP Sales","headcount":4000,"available_signals":{"is_c_level":true}}"#,
                "cannot tell available_signals.is_c_level",
            ),
            (
                r#"{"availableSignals":{"recipientRole":"CTO","headcount":4000}}"#,
                "fired availableSignals.recipientRole availableSignals.headcount",
            ),
            // A bare role may be an engineer's, and counts only where the recipient has none.
            (
                r#"{"recipient_role":"CTO","headcount":4000,"available_signals":{"engineer_name":"Ruth","role":"SRE Lead"}}"#,
                "fired recipient_role headcount",
            ),
            (
                r#"{"role":"Data Engineer","headcount":4000,"available_signals":{"is_c_level":true}}"#,
                "fired available_signals.is_c_level headcount",
            ),
            (
                r#"{"recipient_role":"Founder","title":"CEO","headcount":4000}"#,
                "fired title headcount",
            ),
            (
                r#"{"role":"CTO","job_title":"VP Sales","headcount":4000}"#,
                "cannot tell job_title",
            ),
            // Records of a CRM.
            (
                r#"{"Contact":{"Title":"CEO"},"Account":{"NumberOfEmployees":5200}}"#,
                "fired Contact.Title Account.NumberOfEmployees",
            ),
            (
                r#"{"recipient_role":"CTO","available_signals":{"crunchbase_company":{"headcount":"3400"}}}"#,
                "fired recipient_role available_signals.crunchbase_company.headcount",
            ),
            (
                r#"{"recipient_role":"CTO","headcount":300,"company":{"headcount":9000}}"#,
                "cannot tell company.headcount",
            ),
            (
                r#"{"role":"Data Engineer","headcount":4000,"contact":{"title":"CEO"}}"#,
                "cannot tell contact.title",
            ),
            (
                r#"{"contact":{"properties":{"jobtitle":"CTO"}},"company":{"properties":{"numberofemployees":"5200"}}}"#,
                "fired contact.properties.jobtitle company.properties.numberofemployees",
            ),
            (
                r#"{"Lead":{"Title":"CEO","NumberOfEmployees":9000}}"#,
                "fired Lead.Title Lead.NumberOfEmployees",
            ),
            // What a record itself is called is nobody's rank.
            (
                r#"{"headcount":5000,"company":{"properties":{"Title":"CTO Ltd"}}}"#,
                "cannot tell recipient_role",
            ),
            (
                r#"{"title":"CTO","headcount":5000,"lead":{"title":"Acme lead"}}"#,
                "fired title headcount",
            ),
            (
                r#"{"headcount":5000,"lead":{"title":"Acme lead"}}"#,
                "cannot tell recipient_role",
            ),
            (
                r#"{"headcount":5000,"available_signals":{"Lead":{"title":"Acme - CTO intro"}}}"#,
                "cannot tell recipient_role",
            ),
            (
                r#"{"headcount":5000,"lead":{"title":"Acme lead","job_title":"CTO"}}"#,
                "fired lead.job_title headcount",
            ),
            (
                r#"{"title":"CTO","company":{"title":"Lead Forensics","headcount":5000}}"#,
                "fired title company.headcount",
            ),
            (
                r#"{"recipient_is_c_level":true,"Headcount__c":9000}"#,
                "fired recipient_is_c_level Headcount__c",
            ),
            (
                r#"{"recipient_role":"CTO","No of Employees":9000}"#,
                "fired recipient_role No of Employees",
            ),
            (
                r#"{"recipient_role":"CTO","estimated_num_employees":9000}"#,
                "fired recipient_role estimated_num_employees",
            ),
            (
                r#"{"recipient_role":"CTO","employees_range":"10001+"}"#,
                "fired recipient_role employees_range",
            ),
            (
                r#"{"Role":"chief revenue officer","FTE":2312}"#,
                "fired Role FTE",
            ),
            (r#"{"title":"CEO","Staff":2000}"#, "not fired"),
            // Of one team, perhaps.
            (
                r#"{"recipient_role":"CTO","headcount":5200,"fte":3}"#,
                "fired recipient_role headcount",
            ),
            (
                r#"{"recipient_role":"CTO","headcount":"many","staff":5200}"#,
                "fired recipient_role staff",
            ),
            // What tells nothing of a rank, and a no that does.
            (
                r#"{"title":"CEO","headcount":9000,"is_c_level":"N/A"}"#,
                "fired title headcount",
            ),
            (
                r#"{"title":"CEO","headcount":9000,"is_c_level":[]}"#,
                "fired title headcount",
            ),
            (
                r#"{"title":"CEO","headcount":9000,"is_c_level":"Nein"}"#,
                "not fired",
            ),
            (
                r#"{"contact_role":"CEO","headcount":9000}"#,
                "fired contact_role headcount",
            ),
            (
                r#"{"contact_seniority":"C-Suite","Account.NumberOfEmployees":9000}"#,
                "fired contact_seniority Account.NumberOfEmployees",
            ),
            (
                r#"{"title":"Director Comercial","headcount":12000}"#,
                "cannot tell title",
            ),
            (
                r#"{"title":"Director Financiero","headcount":12000}"#,
                "cannot tell title",
            ),
            // Titles of others are not the recipient's.
            (
                r#"{"recipient_role":"VP Sales","headcount":4000,"threads":[{"recipient_role":"CEO"}]}"#,
                "not fired",
            ),
        ],
    );
}

#[test]
fn titles() {
    let c_level = [
        "CTO",
        "cto",
        "c_level",
        "C-Level",
        "c-suite",
        "CxO",
        "C.T.O.",
        "Group CTO",
        "Interim CEO",
        "Chief Revenue Officer",
        "chief_people_and_culture_officer",
        "Chief Executive",
        "Founder & CEO",
        "CEO/co-founder",
        "President and COO",
        "VP of Engineering and CTO",
        "Vice President, CFO",
        "CISO (EMEA)",
        "CEO, ex-Consultant",
        "EVP CFO",
        "Chief Developer Officer",
        "CTO (Lead Engineer)",
        "CTO - Financial Services",
        "CEO – Acme Services",
        "CTO — Financial Services",
        "CFO\u{a0}- Financial Services",
        "CFO Aerospace Division",
        "CEO - Managing Director",
        "CTO – Head of Engineering",
        "Vice Chair & CEO",
        "VP Field Operations & CRO",
        "CEO at Lead Forensics",
        "CEO & Board Advisor",
        "CTO | Startup Advisor",
        "CEO, Advisor",
        "CEO at PA Consulting",
        "CEO (Philadelphia, PA)",
    ];
    let not_c_level = [
        "VP Engineering",
        "vp_eng",
        "Vice President of Sales",
        "SVP",
        "Head of Data",
        "data_team_lead",
        "Engineering Manager",
        "compliance_officer",
        "Assistant to the CEO",
        "Executive Assistant to the CFO & COO",
        "Office of the CTO",
        "EA, Office of the CTO",
        "VP reporting to the CEO",
        "Director of Sales",
        "Chief of Staff to the CEO",
        "Executive Assistant - CEO",
    ];
    let untold = [
        "Founder",
        "co-founder",
        "Owner",
        "Managing Director",
        "President",
        "Chief Engineer",
        "Chief of Staff",
        "Former CTO",
        "ex-CEO",
        "Deputy CTO",
        "non_c_level",
        "CEO Office",
        "CEO's assistant",
        "CEO, Executive Assistant to",
        "CEO (PA)",
        "Head of CRO",
        "CRO Manager",
        "CRO Specialist",
        "CMO Operations Analyst",
        "Program Manager, CTO Org",
        "VP, COO Division",
        "Finance Manager for CIO",
        "Field CTO",
        "Board Advisor – CEO at Acme",
        "Analyst, CFO Finance Department",
        "Vice CEO",
        "CRO - Conversion Specialist",
        "CIO - Program Manager",
        "CRO – Expert",
        "Works with the CEO",
        "Partner to our CFO",
        "Partner, CFO Advisory",
        "SEO & CRO Strategist",
        "Finance Business Partner to the CFO",
        "Sales to C-Level",
        "CTO (retired)",
        "Chief Information Officer until 31 Dec 2024, since then Head of Data Migration",
        "Founder, Head of Product",
        "Aide / CTO",
        "Geschäftsführer",
        "Director Ejecutivo",
        "Director de Tecnología",
        "unknown",
        "",
        "🚀",
    ];
    for (titles, expected) in [
        (&c_level[..], Some(true)),
        (&not_c_level[..], Some(false)),
        (&untold[..], None),
    ] {
        for title in titles {
            assert_eq!(title::is_c_level(&json!(title)), expected, "{title}");
        }
    }
    assert_eq!(title::is_c_level(&json!(["Founder", "CEO"])), Some(true));
    assert_eq!(title::is_c_level(&json!(["CEO", 3])), None);
    assert_eq!(title::is_c_level(&json!({"title": "CEO"})), None);
}

#[test]
fn headcounts() {
    let large = [
        "2001",
        "3,200",
        "3 200",
        "3'200",
        "12_000",
        "1,234,567",
        "3.2k",
        "3.2K",
        "2.001k",
        "3e3",
        "2001.0",
        "2001+",
        "10,001+ employees",
        ">2000",
        "> 2,000",
        "over 2000",
        ">= 2001",
        "at least 5k",
        "2,001-5,000",
        "5k–10k",
        "3000 to 4000",
        " 4000 people ",
    ];
    let small = [
        "1",
        "2000",
        "2,000",
        "2k",
        "2000.0",
        "1999",
        "51-200",
        "1,000 - 2,000",
        "<2000",
        "< 2001",
        "up to 2000",
        "under 500",
        "501–1000 employees",
    ];
    let untold = [
        "",
        "many",
        "large",
        "0",
        "-5",
        "-5000",
        "nan",
        "inf",
        "infinity",
        "1e999",
        "2000+",
        "2k+",
        ">1999",
        ">=2000",
        "1,000-5,000",
        "3-5k",
        "5000-1000",
        "3.5",
        "3.200",
        "5.000",
        "12.000",
        "3.000 employees",
        "1.000-5.000",
        "5.000-10.000",
        "3,2k",
        "32,00",
        "1234,567",
        "~3000",
        "3k k",
        "1-2-3",
        "+3000",
        "١٢٣٤",
        "3000 or so",
        "0x1000",
        "<",
        "k",
        "+",
        "-",
    ];
    for (texts, expected) in [
        (&large[..], Some(true)),
        (&small[..], Some(false)),
        (&untold[..], None),
    ] {
        for text in texts {
            assert_eq!(headcount::is_large(&json!(text)), expected, "{text}");
        }
    }
}

#[test]
fn headcounts_as_json_numbers() {
    for (number, expected) in [
        ("2001", "fired recipient_role headcount"),
        ("3e3", "fired recipient_role headcount"),
        ("2001.0", "fired recipient_role headcount"),
        ("99999999999999999999999", "fired recipient_role headcount"),
        ("2000", "not fired"),
        ("2E3", "not fired"),
        ("2000.5", "cannot tell headcount"),
        ("0", "cannot tell headcount"),
        ("-3000", "cannot tell headcount"),
        ("1e400", "cannot tell headcount"),
        ("1e-3", "cannot tell headcount"),
        ("true", "cannot tell headcount"),
        ("[3000]", "cannot tell headcount"),
    ] {
        let context = format!(r#"{{"recipient_role":"CEO","headcount":{number}}}"#);
        check(Rule::CLevelAtLargeCompany, &[(&context, expected)]);
    }
}

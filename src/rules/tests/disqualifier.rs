use super::*;

#[test]
fn a_disqualifier_fires_in_any_shape() {
    check(
        Rule::Disqualifier,
        &[
            (
                r#"{"disqualifiers":["anti_offshore"]}"#,
                "fired disqualifiers[0]",
            ),
            (
                r#"{"disqualifiers":["none","Local Only"]}"#,
                "fired disqualifiers[1]",
            ),
            (
                r#"{"disqualifiers":"do-not-contact"}"#,
                "fired disqualifiers",
            ),
            (
                r#"{"disqualifiers":"n/a; COMPETITOR"}"#,
                "fired disqualifiers",
            ),
            (
                r#"{"disqualifiers":[["competitor"]]}"#,
                "fired disqualifiers[0][0]",
            ),
            (
                r#"{"disqualifiers":{"local_only":false,"competitor":"yes"}}"#,
                "fired disqualifiers.competitor",
            ),
            (
                r#"{"available_signals":{"disqualifiers":{"antiOffshore":true}}}"#,
                "fired available_signals.disqualifiers.antiOffshore",
            ),
            (
                r#"{"available_signals":{"disqualifier":"anti_offshore"}}"#,
                "fired available_signals.disqualifier",
            ),
            (r#"{"do_not_contact":"TRUE"}"#, "fired do_not_contact"),
            (
                r#"{"available_signals":{"local_only":1}}"#,
                "fired available_signals.local_only",
            ),
            (r#"{"do_not_contact":1.0}"#, "fired do_not_contact"),
            (
                r#"{"disqualifiers":{"local_only":0.0,"competitor":1.0}}"#,
                "fired disqualifiers.competitor",
            ),
            (
                r#"{"availableSignals":{"doNotContact":true}}"#,
                "fired availableSignals.doNotContact",
            ),
            // With an owner in the name, or a verb.
            (r#"{"is_do_not_contact":true}"#, "fired is_do_not_contact"),
            (
                r#"{"prospect_do_not_contact":true}"#,
                "fired prospect_do_not_contact",
            ),
            (
                r#"{"contact_do_not_contact":true}"#,
                "fired contact_do_not_contact",
            ),
            (
                r#"{"lead_do_not_contact":true}"#,
                "fired lead_do_not_contact",
            ),
            (
                r#"{"recipient_is_do_not_contact":true}"#,
                "fired recipient_is_do_not_contact",
            ),
            (r#"{"hs_do_not_contact":true}"#, "fired hs_do_not_contact"),
            (r#"{"is_competitor":true}"#, "fired is_competitor"),
            (r#"{"disqualified":true}"#, "fired disqualified"),
            (r#"{"is_disqualified":"yes"}"#, "fired is_disqualified"),
            (
                r#"{"disqualifiers":{"is_disqualified":true}}"#,
                "fired disqualifiers.is_disqualified",
            ),
            (
                r#"{"person_do_not_contact":true}"#,
                "fired person_do_not_contact",
            ),
            // As Salesforce marks what its customers add.
            (r#"{"Do_Not_Contact__c":true}"#, "fired Do_Not_Contact__c"),
            (r#"{"Competitor__c":"WAHR"}"#, "fired Competitor__c"),
            // In a list of objects, and in lists in an object.
            (
                r#"{"disqualifiers":[{"type":"do_not_contact","source":"call","lifted":null}]}"#,
                "fired disqualifiers[0].type",
            ),
            (
                r#"{"disqualifiers":[{"name":"competitor","value":true}]}"#,
                "fired disqualifiers[0].name",
            ),
            (
                r#"{"disqualifiers":{"flags":["anti_offshore"]}}"#,
                "fired disqualifiers.flags[0]",
            ),
            // Said to be in force.
            (
                r#"{"disqualifiers":[{"flag":"competitor","active":true}]}"#,
                "fired disqualifiers[0].flag",
            ),
            (
                r#"{"disqualifiers":[{"type":"do_not_contact","enabled":"yes"}]}"#,
                "fired disqualifiers[0].type",
            ),
            (
                r#"{"disqualifiers":["Competitor: yes"]}"#,
                "fired disqualifiers[0]",
            ),
        ],
    );
}

#[test]
fn a_record_of_a_crm_is_looked_into() {
    check(
        Rule::Disqualifier,
        &[
            (
                r#"{"prospect":{"do_not_contact":true}}"#,
                "fired prospect.do_not_contact",
            ),
            (
                r#"{"available_signals":{"account":{"Local_Only__c":"yes"}}}"#,
                "fired available_signals.account.Local_Only__c",
            ),
            (
                r#"{"contact":{"disqualifiers":["competitor"]}}"#,
                "fired contact.disqualifiers[0]",
            ),
            (
                r#"{"company":{"competitor":"Acme Staffing"}}"#,
                "cannot tell company.competitor",
            ),
            (
                r#"{"organization":{"do_not_contact":true}}"#,
                "fired organization.do_not_contact",
            ),
            (
                r#"{"available_signals":{"crm_flags":{"do_not_contact":true,"vip":false}}}"#,
                "fired available_signals.crm_flags.do_not_contact",
            ),
            (
                r#"{"company":{"properties":{"do_not_contact":"true"}}}"#,
                "fired company.properties.do_not_contact",
            ),
            (
                r#"{"prospect":{"do_not_contact":false},"company":"Acme"}"#,
                "not fired",
            ),
            // Records of others, and what stands deeper.
            (r#"{"contacts":[{"do_not_contact":true}]}"#, "not fired"),
            (r#"{"referrer":{"do_not_contact":true}}"#, "not fired"),
            (
                r#"{"contact":{"manager":{"do_not_contact":true}}}"#,
                "not fired",
            ),
        ],
    );
}

#[test]
fn a_mark_that_a_crm_gives_fires() {
    check(
        Rule::Disqualifier,
        &[
            (r#"{"status":"Do Not Contact"}"#, "fired status"),
            (
                r#"{"contact_stage":"Do Not Contact"}"#,
                "fired contact_stage",
            ),
            (
                r#"{"lead_category":"do-not-contact"}"#,
                "fired lead_category",
            ),
            (r#"{"Lead":{"Status":"Disqualified"}}"#, "fired Lead.Status"),
            (
                r#"{"available_signals":{"hs_lead_status":"DISQUALIFIED"}}"#,
                "fired available_signals.hs_lead_status",
            ),
            (r#"{"tags":["vip","DNC"]}"#, "fired tags[1]"),
            (r#"{"labels":"vip; Local Only"}"#, "fired labels"),
            (r#"{"tags":"trial ended, DNC, pending"}"#, "fired tags"),
            (r#"{"crm_tags":["DNC"]}"#, "fired crm_tags[0]"),
            (
                r#"{"tags":[{"id":7,"name":"vip"},{"id":8,"name":"DNC"}]}"#,
                "fired tags[1].name",
            ),
            (
                r#"{"prospect":{"stage":{"id":3,"name":"Do Not Contact"}}}"#,
                "fired prospect.stage.name",
            ),
            (r#"{"status":"Disqualified - No Budget"}"#, "fired status"),
            (
                r#"{"Lead":{"Status":"Disqualified (not a fit)"}}"#,
                "fired Lead.Status",
            ),
            (
                r#"{"data":{"type":"prospect","attributes":{"tags":["DNC"]}}}"#,
                "fired data.attributes.tags[0]",
            ),
            // Perhaps no longer.
            (r#"{"tags":["DNC: no"]}"#, "cannot tell tags[0]"),
            (r#"{"status":"DNC - lifted 2031-02"}"#, "cannot tell status"),
            (
                r#"{"status":"Disqualified (reopened)"}"#,
                "cannot tell status",
            ),
            (
                r#"{"flags":[{"name":"do_not_contact","value":false}]}"#,
                "cannot tell flags[0].name",
            ),
            (
                r#"{"tags":[{"name":"DNC","active":false}]}"#,
                "cannot tell tags[0].name",
            ),
            (
                r#"{"tags":[{"name":"DNC","color":"red","active":true}]}"#,
                "fired tags[0].name",
            ),
            (
                r#"{"tags":["Do Not Contact: not set","DNC: never"]}"#,
                "cannot tell tags[0]",
            ),
            (r#"{"status":"No Contact"}"#, "not fired"),
            (
                r#"{"account":{"flags":["LOCAL_ONLY","vip"]}}"#,
                "fired account.flags[0]",
            ),
            (
                r#"{"tags":["ex-competitor customer","local events","DNC lifted"]}"#,
                "not fired",
            ),
            (
                r#"{"tags":"competitor","status":"qualified","stage":"Series A"}"#,
                "not fired",
            ),
            (
                r#"{"flags":[],"labels":[3,null],"category":null}"#,
                "not fired",
            ),
        ],
    );
}

#[test]
fn synonyms_and_unknown_flags_in_the_list_fire() {
    check(
        Rule::Disqualifier,
        &[
            (
                r#"{"disqualifiers":["in_house_only"]}"#,
                "fired disqualifiers[0]",
            ),
            (
                r#"{"disqualifiers":["no_offshore"]}"#,
                "fired disqualifiers[0]",
            ),
            (
                r#"{"disqualifiers":["some_new_flag"]}"#,
                "fired disqualifiers[0]",
            ),
            (
                r#"{"disqualifiers":["unknown_flag"]}"#,
                "fired disqualifiers[0]",
            ),
            (r#"{"in_house_only":true}"#, "fired in_house_only"),
        ],
    );
}

#[test]
fn what_says_nothing_does_not_fire() {
    check(
        Rule::Disqualifier,
        &[
            ("{}", "not fired"),
            (r#"{"disqualifiers":[]}"#, "not fired"),
            (r#"{"disqualifiers":null}"#, "not fired"),
            (r#"{"disqualifiers":""}"#, "not fired"),
            (r#"{"disqualifiers":["None","n/a","-",null]}"#, "not fired"),
            (r#"{"disqualifiers":"nan"}"#, "not fired"),
            (
                r#"{"disqualifiers":["NaN","undefined","N.A.","n.a"]}"#,
                "not fired",
            ),
            (r#"{"disqualifiers":"nothing"}"#, "not fired"),
            (r#"{"disqualifiers":"Nein"}"#, "not fired"),
            (
                r#"{"disqualifiers":["Keine","nichts","aucun","aucune","k.A."]}"#,
                "not fired",
            ),
            (
                r#"{"disqualifiers":"ninguno, ninguna, nessuno, geen"}"#,
                "not fired",
            ),
            (r#"{"disqualifiers":["set()","()"]}"#, "not fired"),
            (r#"{"disqualifiers":{}}"#, "not fired"),
            (
                r#"{"disqualifiers":{"anti_offshore":false,"competitor":null}}"#,
                "not fired",
            ),
            (r#"{"local_only":false,"anti_offshore":"no"}"#, "not fired"),
            (r#"{"disqualified":false,"is_dnc":0}"#, "not fired"),
            // Fields that only sound like a flag, and flags of somebody else.
            (
                r#"{"competitor_intel":true,"anti_offshore_source":"blog"}"#,
                "not fired",
            ),
            (r#"{"has_competitor":true}"#, "not fired"),
            (r#"{"threads":[{"do_not_contact":true}]}"#, "not fired"),
            // An unknown flag counts in the list alone.
            (r#"{"some_new_flag":true}"#, "not fired"),
        ],
    );
}

#[test]
fn what_is_unreadable_or_denied_cannot_be_told() {
    check(
        Rule::Disqualifier,
        &[
            (r#"{"disqualifiers":3}"#, "cannot tell disqualifiers"),
            (r#"{"disqualifiers":true}"#, "cannot tell disqualifiers"),
            (
                r#"{"disqualifiers":["not_a_competitor"]}"#,
                "cannot tell disqualifiers[0]",
            ),
            (
                r#"{"disqualifiers":"No known issues"}"#,
                "cannot tell disqualifiers",
            ),
            (
                r#"{"disqualifiers":["unknown"]}"#,
                "cannot tell disqualifiers[0]",
            ),
            (r#"{"disqualifiers":"true"}"#, "cannot tell disqualifiers"),
            (r#"{"disqualifiers":"t"}"#, "cannot tell disqualifiers"),
            (r#"{"disqualifiers":"f"}"#, "cannot tell disqualifiers"),
            (
                r#"{"disqualifiers":["17"]}"#,
                "cannot tell disqualifiers[0]",
            ),
            (r#"{"disqualifiers":["?"]}"#, "cannot tell disqualifiers[0]"),
            (
                r#"{"disqualifiers":{"reviewed":true}}"#,
                "cannot tell disqualifiers.reviewed",
            ),
            (
                r#"{"disqualifiers":{"competitor":"perhaps"}}"#,
                "cannot tell disqualifiers.competitor",
            ),
            (
                r#"{"competitor":"Acme Staffing"}"#,
                "cannot tell competitor",
            ),
            (
                r#"{"disqualified":"under review"}"#,
                "cannot tell disqualified",
            ),
            // A no to what would be welcome is a reason.
            (
                r#"{"disqualifiers":["Open to outsourcing: no"]}"#,
                "fired disqualifiers[0]",
            ),
            (
                r#"{"disqualifiers":["Outsourcing: no","Offshore OK: no"]}"#,
                "fired disqualifiers[0]",
            ),
            (
                r#"{"disqualifiers":["All clean-room work must stay onshore"]}"#,
                "fired disqualifiers[0]",
            ),
            (
                r#"{"disqualifiers":["Permit issues: none"]}"#,
                "cannot tell disqualifiers[0]",
            ),
            (
                r#"{"disqualifiers":["Offshore allowed: no"]}"#,
                "fired disqualifiers[0]",
            ),
            (
                r#"{"disqualifiers":["Known issues: none","Legal hold: no","Conflicts: N/A"]}"#,
                "cannot tell disqualifiers[0]",
            ),
            (
                r#"{"disqualifiers":"Red flags: none"}"#,
                "cannot tell disqualifiers",
            ),
            // An answer to a flag, or for the whole list.
            (
                r#"{"disqualifiers":"Competitor: none"}"#,
                "cannot tell disqualifiers",
            ),
            (
                r#"{"disqualifiers":["Competitor: no"]}"#,
                "cannot tell disqualifiers[0]",
            ),
            (
                r#"{"disqualifiers":"Local only: N/A"}"#,
                "cannot tell disqualifiers",
            ),
            (
                r#"{"disqualifiers":"anti_offshore=False, competitor=False"}"#,
                "cannot tell disqualifiers",
            ),
            (r#"{"disqualifiers":"OK"}"#, "cannot tell disqualifiers"),
            (
                r#"{"disqualifiers":["clear","clean","empty","TBC"]}"#,
                "cannot tell disqualifiers[0]",
            ),
            (
                r#"{"disqualifiers":["All clear","checked"]}"#,
                "cannot tell disqualifiers[0]",
            ),
            (
                r#"{"disqualifiers":"keine Angabe"}"#,
                "cannot tell disqualifiers",
            ),
            // A remark that there is none.
            (
                r#"{"disqualifiers":"N/A - checked 2031-02"}"#,
                "cannot tell disqualifiers",
            ),
            (
                r#"{"disqualifiers":["n/a-checked"]}"#,
                "cannot tell disqualifiers[0]",
            ),
            (
                r#"{"disqualifiers":"none; reviewed by Ann"}"#,
                "cannot tell disqualifiers",
            ),
            (
                r#"{"disqualifiers":"checked, none"}"#,
                "cannot tell disqualifiers",
            ),
            (
                r#"{"disqualifiers":"No disqualifiers, all clear"}"#,
                "cannot tell disqualifiers",
            ),
            (
                r#"{"disqualifiers":"No Concerns; reviewed by Ann"}"#,
                "cannot tell disqualifiers",
            ),
            (
                r#"{"disqualifiers":"not applicable, reviewed by Ann"}"#,
                "cannot tell disqualifiers",
            ),
            // What another field may take back, and a word that nobody knows.
            (
                r#"{"disqualifiers":[{"type":"competitor","status":"cleared"}]}"#,
                "cannot tell disqualifiers[0].type",
            ),
            (
                r#"{"disqualifiers":[{"name":"competitor","value":false}]}"#,
                "cannot tell disqualifiers[0].name",
            ),
            (
                r#"{"disqualifiers":[{"name":"competitor","value":"perhaps"}]}"#,
                "cannot tell disqualifiers[0].name",
            ),
            (
                r#"{"disqualifiers":[{"flag":"competitor","active":"perhaps"}]}"#,
                "cannot tell disqualifiers[0].flag",
            ),
            (
                r#"{"disqualifiers":[{"flag":"competitor","active":false}]}"#,
                "cannot tell disqualifiers[0].flag",
            ),
            (
                r#"{"disqualifiers":[{"type":"some_new_flag"}]}"#,
                "cannot tell disqualifiers[0].type",
            ),
        ],
    );
}

#[test]
fn a_flag_beside_an_empty_place_or_a_flag_of_one_word_still_fires() {
    check(
        Rule::Disqualifier,
        &[
            (
                r#"{"disqualifiers":"some_new_flag, -,"}"#,
                "fired disqualifiers",
            ),
            (
                r#"{"disqualifiers":"not_a_fit, some_new_flag"}"#,
                "fired disqualifiers",
            ),
            (
                r#"{"disqualifiers":"Local teams, no offshore"}"#,
                "fired disqualifiers",
            ),
            (
                r#"{"disqualifiers":"keine Auslagerung"}"#,
                "fired disqualifiers",
            ),
            // A reason that begins with a no.
            (
                r#"{"disqualifiers":"No budget; legal dispute with us"}"#,
                "fired disqualifiers",
            ),
            (
                r#"{"disqualifiers":"Not interested, government agency"}"#,
                "fired disqualifiers",
            ),
        ],
    );
}

#[test]
fn one_readable_flag_is_enough() {
    check(
        Rule::Disqualifier,
        &[
            (
                r#"{"disqualifiers":[3,"competitor"]}"#,
                "fired disqualifiers[1]",
            ),
            (
                r#"{"disqualifiers":3,"available_signals":{"do_not_contact":true}}"#,
                "fired available_signals.do_not_contact",
            ),
            (
                r#"{"disqualifiers":["anti_offshore"],"available_signals":{"anti_offshore":false}}"#,
                "fired disqualifiers[0]",
            ),
        ],
    );
}

#[test]
fn an_operator_adds_flags_of_their_own() {
    let mut book = Rulebook::default();
    book.add_disqualifier("Works Council").unwrap();
    book.add_disqualifier("former_client").unwrap();
    book.add_disqualifier("Union_Shop__c").unwrap();
    for (context, with, without) in [
        (
            r#"{"works_council":true}"#,
            "fired works_council",
            "not fired",
        ),
        (
            r#"{"disqualifiers":{"worksCouncil":"yes"}}"#,
            "fired disqualifiers.worksCouncil",
            "cannot tell disqualifiers.worksCouncil",
        ),
        // Without the operator's word, `former` denies.
        (
            r#"{"disqualifiers":["former client"]}"#,
            "fired disqualifiers[0]",
            "cannot tell disqualifiers[0]",
        ),
        // As Salesforce marks what its customers add, and without the mark.
        (
            r#"{"Union_Shop__c":true}"#,
            "fired Union_Shop__c",
            "not fired",
        ),
        (r#"{"union_shop":true}"#, "fired union_shop", "not fired"),
        (
            r#"{"disqualifiers":{"Union_Shop__c":true}}"#,
            "fired disqualifiers.Union_Shop__c",
            "cannot tell disqualifiers.Union_Shop__c",
        ),
        (r#"{"works_council":false}"#, "not fired", "not fired"),
        (
            r#"{"tags":["Works Council"]}"#,
            "fired tags[0]",
            "not fired",
        ),
        (
            r#"{"disqualifiers":["anti_offshore"]}"#,
            "fired disqualifiers[0]",
            "fired disqualifiers[0]",
        ),
    ] {
        let case = case(context);
        assert_eq!(
            show(&book.evaluate(Rule::Disqualifier, &case)),
            with,
            "{context}"
        );
        assert_eq!(
            show(&evaluate(Rule::Disqualifier, &case)),
            without,
            "{context}"
        );
    }
    let refused = book.add_disqualifier(" 17 ").unwrap_err().to_string();
    assert_eq!(refused, "`17` is no name: it needs a word of letters");
}

use super::*;

#[test]
fn an_opt_out_in_any_shape_fires() {
    check(
        Rule::OptOut,
        &[
            (
                r#"{"opt_out_channels":["email"]}"#,
                "fired opt_out_channels[0]",
            ),
            (
                r#"{"opt_out_channels":["sms","E-Mail"]}"#,
                "fired opt_out_channels[0]",
            ),
            (
                r#"{"opt_out_channels":"SMS, mail"}"#,
                "fired opt_out_channels",
            ),
            (
                r#"{"optOutChannels":{"email":true,"sms":false}}"#,
                "fired optOutChannels.email",
            ),
            (
                r#"{"channel":"text","opt_out_channels":["sms"]}"#,
                "fired opt_out_channels[0]",
            ),
            (
                r#"{"opt_out_channels":["LinkedIn"],"available_signals":{"intended_channel":"InMail"}}"#,
                "fired opt_out_channels[0]",
            ),
            (
                r#"{"available_signals":{"opt_out_channels":["email"]}}"#,
                "fired available_signals.opt_out_channels[0]",
            ),
            (
                r#"{"opt_out_channels":"email and sms"}"#,
                "fired opt_out_channels",
            ),
            (
                r#"{"opt_out_channels":"email/sms"}"#,
                "fired opt_out_channels",
            ),
            (
                r#"{"opt_out_channels":["E-Mail & SMS"]}"#,
                "fired opt_out_channels[0]",
            ),
            (
                r#"{"opt_out_channels":["fax+Text Messages"]}"#,
                "fired opt_out_channels[0]",
            ),
            (
                r#"{"opt_out_channels":"email or sms"}"#,
                "fired opt_out_channels",
            ),
            (
                r#"{"opt_out_channels":["Fax"]}"#,
                "fired opt_out_channels[0]",
            ),
            (
                r#"{"opt_out_channels":["telephone"]}"#,
                "fired opt_out_channels[0]",
            ),
            (
                r#"{"opt_out_channels":["LinkedIn messages"]}"#,
                "fired opt_out_channels[0]",
            ),
            (
                r#"{"opt_out_channels":["email_marketing"]}"#,
                "fired opt_out_channels[0]",
            ),
            // In lists of objects.
            (
                r#"{"opt_out_channels":[{"channel":"email","createdAt":"2031-05-01"}]}"#,
                "fired opt_out_channels[0].channel",
            ),
            (
                r#"{"opt_out_channels":[{"channel":"sms","opted_out_at":"2031-05-01","type":null}]}"#,
                "fired opt_out_channels[0].channel",
            ),
            (
                r#"{"opt_out":{"channels":["sms"],"reason":"asked"}}"#,
                "fired opt_out.channels[0]",
            ),
            (
                r#"{"emails":[{"email":"a@b.example","is_unsubscribed":true}]}"#,
                "fired emails[0].is_unsubscribed",
            ),
            (
                r#"{"email":[{"value":"a@b.example"},{"value":"c@d.example","opt_out":true}]}"#,
                "fired email[1].opt_out",
            ),
            (r#"{"phone":{"opt_out":true}}"#, "fired phone.opt_out"),
        ],
    );
}

#[test]
fn an_opt_out_in_a_record_of_a_crm_fires() {
    check(
        Rule::OptOut,
        &[
            (
                r#"{"properties":{"hs_email_optout":"true"}}"#,
                "fired properties.hs_email_optout",
            ),
            (
                r#"{"contact":{"email_opt_out":true}}"#,
                "fired contact.email_opt_out",
            ),
            (
                r#"{"available_signals":{"Lead":{"HasOptedOutOfEmail":true}}}"#,
                "fired available_signals.Lead.HasOptedOutOfEmail",
            ),
            (
                r#"{"contact":{"email":{"opt_out":true}}}"#,
                "fired contact.email.opt_out",
            ),
            (
                r#"{"organization":{"email_opt_out":true}}"#,
                "fired organization.email_opt_out",
            ),
            (
                r#"{"contact":{"properties":{"hs_email_optout":"true"}}}"#,
                "fired contact.properties.hs_email_optout",
            ),
            (
                r#"{"available_signals":{"prospect":{"attributes":{"optedOut":true}}}}"#,
                "fired available_signals.prospect.attributes.optedOut",
            ),
            // As Outreach answers.
            (
                r#"{"data":{"type":"prospect","attributes":{"optedOut":true}}}"#,
                "fired data.attributes.optedOut",
            ),
            (
                r#"{"contact":{"email":"x@example.org","email_opt_out":false}}"#,
                "not fired",
            ),
            (r#"{"contacts":[{"email_opt_out":true}]}"#, "not fired"),
            (r#"{"threads":[{"email_opt_out":true}]}"#, "not fired"),
        ],
    );
}

#[test]
fn flags_fire() {
    check(
        Rule::OptOut,
        &[
            (r#"{"opt_out_email":true}"#, "fired opt_out_email"),
            (
                r#"{"available_signals":{"email_opt_out":"true"}}"#,
                "fired available_signals.email_opt_out",
            ),
            (
                r#"{"unsubscribed_from_email":1}"#,
                "fired unsubscribed_from_email",
            ),
            (r#"{"do_not_email":true}"#, "fired do_not_email"),
            (
                r#"{"channel":"sms","has_opted_out_of_sms":true}"#,
                "fired has_opted_out_of_sms",
            ),
            (
                r#"{"email":{"opt_out":true,"last_open":null}}"#,
                "fired email.opt_out",
            ),
            (
                r#"{"channel":"sms","text":{"optedOut":true}}"#,
                "fired text.optedOut",
            ),
            (r#"{"opt_out_sms":true}"#, "fired opt_out_sms"),
            (
                r#"{"email":{"email_opt_out":true}}"#,
                "fired email.email_opt_out",
            ),
            (
                r#"{"email":{"do_not_email":true}}"#,
                "fired email.do_not_email",
            ),
            (
                r#"{"availableSignals":{"emailOptOut":true}}"#,
                "fired availableSignals.emailOptOut",
            ),
            // With an owner in the name.
            (r#"{"hs_email_optout":true}"#, "fired hs_email_optout"),
            (
                r#"{"hs_email_optout_10912345":true}"#,
                "fired hs_email_optout_10912345",
            ),
            (
                r#"{"recipient_opted_out":true}"#,
                "fired recipient_opted_out",
            ),
            (r#"{"contact_opt_out":"yes"}"#, "fired contact_opt_out"),
            (
                r#"{"prospect_unsubscribed":true}"#,
                "fired prospect_unsubscribed",
            ),
            (
                r#"{"lead_opted_out_of_sms":1}"#,
                "fired lead_opted_out_of_sms",
            ),
            (
                r#"{"user_has_unsubscribed":"TRUE"}"#,
                "fired user_has_unsubscribed",
            ),
            (r#"{"donotbulkemail":true}"#, "fired donotbulkemail"),
            (
                r#"{"unsubscribed_from_all_emails":true}"#,
                "fired unsubscribed_from_all_emails",
            ),
            (r#"{"customer_opt_out":true}"#, "fired customer_opt_out"),
            (r#"{"HasOptedOutOfFax":true}"#, "fired HasOptedOutOfFax"),
            (r#"{"donotfax":true}"#, "fired donotfax"),
            (r#"{"donotpostalmail":1}"#, "fired donotpostalmail"),
            (
                r#"{"Opted out of email: Marketing Information":"true"}"#,
                "fired Opted out of email: Marketing Information",
            ),
            // As Salesforce marks what its customers add.
            (r#"{"Email_Opt_Out__c":true}"#, "fired Email_Opt_Out__c"),
            (r#"{"SMS_Opt_Out__c":true}"#, "fired SMS_Opt_Out__c"),
            (r#"{"Unsubscribed__c":true}"#, "fired Unsubscribed__c"),
            (r#"{"Email_Opt_Out__pc":true}"#, "fired Email_Opt_Out__pc"),
            (
                r#"{"Contact__r":{"HasOptedOutOfEmail":true}}"#,
                "fired Contact__r.HasOptedOutOfEmail",
            ),
            (r#"{"email_opt_out_c":true}"#, "fired email_opt_out_c"),
            (r#"{"EMAIL_OPT_OUT__C":true}"#, "fired EMAIL_OPT_OUT__C"),
            (
                r#"{"et4ae5__HasOptedOutOfEmail__c":true}"#,
                "fired et4ae5__HasOptedOutOfEmail__c",
            ),
            (
                r#"{"type":"prospect","attributes":{"optedOut":true}}"#,
                "fired attributes.optedOut",
            ),
            (r#"{"email":{"Opt_Out__c":true}}"#, "fired email.Opt_Out__c"),
            // In words, also of other languages.
            (r#"{"email_opt_out":"opted_out"}"#, "fired email_opt_out"),
            (r#"{"opt_out":"Opted out"}"#, "fired opt_out"),
            (r#"{"donotemail":"Do Not Allow"}"#, "fired donotemail"),
            (r#"{"email_opt_out":"WAHR"}"#, "fired email_opt_out"),
            (r#"{"email_opt_out":"VRAI"}"#, "fired email_opt_out"),
            (r#"{"email_opt_out":"VERDADERO"}"#, "fired email_opt_out"),
            (r#"{"unsubscribed":"Ja"}"#, "fired unsubscribed"),
            (r#"{"unsubscribed":"Oui"}"#, "fired unsubscribed"),
            (r#"{"unsubscribed":"SÍ"}"#, "fired unsubscribed"),
            (r#"{"unsubscribed":"Vero"}"#, "fired unsubscribed"),
            // As tables are exported.
            (r#"{"email_opt_out":1.0}"#, "fired email_opt_out"),
            (r#"{"email_opt_out":"1.0"}"#, "fired email_opt_out"),
            (r#"{"unsubscribed":"t"}"#, "fired unsubscribed"),
            (r#"{"sms_opt_out":"on"}"#, "fired sms_opt_out"),
        ],
    );
}

#[test]
fn a_mark_of_who_opted_out_fires() {
    check(
        Rule::OptOut,
        &[
            (r#"{"stage":"Opted Out"}"#, "fired stage"),
            (r#"{"contact_stage":"Unsubscribed"}"#, "fired contact_stage"),
            (
                r#"{"lifecyclestage":"unsubscribed"}"#,
                "fired lifecyclestage",
            ),
            (
                r#"{"prospect":{"stage":{"name":"Opted Out"}}}"#,
                "fired prospect.stage.name",
            ),
            (r#"{"tags":["vip","Do Not Email"]}"#, "fired tags[1]"),
            (
                r#"{"labels":"vip; Unsubscribed from e-mail"}"#,
                "fired labels",
            ),
            (
                r#"{"crm_tags":[{"label":"Email Opt-Out"}]}"#,
                "fired crm_tags[0].label",
            ),
            (r#"{"status":"Unsubscribed - 2031-03"}"#, "fired status"),
            (
                r#"{"status":"Unsubscribed (re-subscribed)"}"#,
                "cannot tell status",
            ),
            (
                r#"{"status":"Unsubscribed, opted back in 2031"}"#,
                "cannot tell status",
            ),
            (
                r#"{"crm_subscription_status":"unsubscribed"}"#,
                "fired crm_subscription_status",
            ),
            (
                r#"{"status":"Unsubscribed (lifted)"}"#,
                "cannot tell status",
            ),
            (
                r#"{"tags":["newsletter","email","opt-in"],"stage":"Opted In"}"#,
                "not fired",
            ),
            (
                r#"{"contacts":[{"status":"unsubscribed"}],"status":"not unsubscribed"}"#,
                "not fired",
            ),
        ],
    );
}

#[test]
fn a_status_of_who_opted_out_fires() {
    check(
        Rule::OptOut,
        &[
            (
                r#"{"marketing_status":"unsubscribed"}"#,
                "fired marketing_status",
            ),
            (
                r#"{"contact_subscription_status":"Unsubscribed"}"#,
                "fired contact_subscription_status",
            ),
            (r#"{"opt_out_status":"opted_out"}"#, "fired opt_out_status"),
            (r#"{"opt_out_status":"opt_out"}"#, "fired opt_out_status"),
            (
                r#"{"marketing_status":"opt_out"}"#,
                "fired marketing_status",
            ),
            (r#"{"status":"Unsubscribed"}"#, "fired status"),
            (
                r#"{"available_signals":{"crm_status":"unsubscribed"}}"#,
                "fired available_signals.crm_status",
            ),
            (r#"{"lead_status":"unsubscribed"}"#, "fired lead_status"),
            (r#"{"hs_lead_status":"OPTED_OUT"}"#, "fired hs_lead_status"),
            (r#"{"sms_status":"opted_out"}"#, "fired sms_status"),
            (
                r#"{"email_subscription_status":"unsubscribed"}"#,
                "fired email_subscription_status",
            ),
            (
                r#"{"email_opt_out_status":"opted_out"}"#,
                "fired email_opt_out_status",
            ),
            (
                r#"{"prospect":{"emailsOptStatus":"opted_out"}}"#,
                "fired prospect.emailsOptStatus",
            ),
            (
                r#"{"contact":{"status":"unsubscribed"}}"#,
                "fired contact.status",
            ),
            (
                r#"{"email":{"status":"unsubscribed"}}"#,
                "fired email.status",
            ),
            (
                r#"{"email":{"subscription_status":"unsubscribed"}}"#,
                "fired email.subscription_status",
            ),
            (
                r#"{"emails":[{"status":"active"},{"status":"unsubscribed"}]}"#,
                "fired emails[1].status",
            ),
            (
                r#"{"cookie_status":"opted_out"}"#,
                "cannot tell cookie_status",
            ),
            (r#"{"opt_out_status":true}"#, "cannot tell opt_out_status"),
            (
                r#"{"status":"active","emailsOptStatus":"opted_in","email":{"status":"valid"}}"#,
                "not fired",
            ),
        ],
    );
}

#[test]
fn the_time_of_an_opt_out_alone_cannot_be_told() {
    check(
        Rule::OptOut,
        &[
            (
                r#"{"unsubscribed_at":"2031-05-01"}"#,
                "cannot tell unsubscribed_at",
            ),
            (
                r#"{"prospect":{"optedOutAt":"2031-05-01T10:00:00Z"}}"#,
                "cannot tell prospect.optedOutAt",
            ),
            (
                r#"{"unsubscribed_on":"2031-05-01"}"#,
                "cannot tell unsubscribed_on",
            ),
            (
                r#"{"Opt_Out_DateTime__c":"2031-05-01T08:00:00Z"}"#,
                "cannot tell Opt_Out_DateTime__c",
            ),
            (
                r#"{"opt_out_timestamp":1935392400}"#,
                "cannot tell opt_out_timestamp",
            ),
            (
                r#"{"gdpr_erasure_requested_at":"1 May 2031"}"#,
                "cannot tell gdpr_erasure_requested_at",
            ),
            (
                r#"{"opt_out_date":"2031-05-01"}"#,
                "cannot tell opt_out_date",
            ),
            (
                r#"{"email_opt_out_date":1935360000}"#,
                "cannot tell email_opt_out_date",
            ),
            (
                r#"{"email":{"unsubscribed_at":"2031-05-01"}}"#,
                "cannot tell email.unsubscribed_at",
            ),
            (
                r#"{"opt_out_date":"0000-00-00","unsubscribed_at":null}"#,
                "not fired",
            ),
            (
                r#"{"opt_out_date":"","email":{"unsubscribed_at":0}}"#,
                "not fired",
            ),
            (
                r#"{"opt_out_channels":[],"created_at":"2031-05-01"}"#,
                "not fired",
            ),
        ],
    );
}

#[test]
fn an_opt_out_of_everything_fires_on_every_channel() {
    for channel in Channel::ALL {
        for (context, field) in [
            (r#"{"opt_out_channels":["all"]}"#, "opt_out_channels[0]"),
            (r#"{"opt_out_channels":"*"}"#, "opt_out_channels"),
            (
                r#"{"all_channels_suppressed":true}"#,
                "all_channels_suppressed",
            ),
            (r#"{"global_opt_out":true}"#, "global_opt_out"),
            (r#"{"unsubscribed":true}"#, "unsubscribed"),
            (r#"{"isOptedOut":"yes"}"#, "isOptedOut"),
            (r#"{"opt_out":"all channels"}"#, "opt_out"),
            (
                r#"{"available_signals":{"gdpr_erasure_request":true}}"#,
                "available_signals.gdpr_erasure_request",
            ),
            (r#"{"right_to_be_forgotten":true}"#, "right_to_be_forgotten"),
        ] {
            let mut case = case(context);
            case.requested_channel = Some(channel);
            let found = show(&evaluate(Rule::OptOut, &case));
            assert_eq!(found, format!("fired {field}"), "{channel}: {context}");
        }
    }
}

#[test]
fn no_opt_out_does_not_fire() {
    check(
        Rule::OptOut,
        &[
            ("{}", "not fired"),
            (r#"{"opt_out_channels":[]}"#, "not fired"),
            (r#"{"opt_out_channels":null}"#, "not fired"),
            (r#"{"opt_out_channels":"none"}"#, "not fired"),
            (r#"{"opt_out_channels":{"email":false}}"#, "not fired"),
            (
                r#"{"email_opt_out":false,"unsubscribed":"no"}"#,
                "not fired",
            ),
            (r#"{"gdpr_erasure_request":null}"#, "not fired"),
            (
                r#"{"email_opt_out":0.0,"unsubscribed":"f","sms_opt_out":"off"}"#,
                "not fired",
            ),
            (r#"{"hs_email_optout":false}"#, "not fired"),
            (r#"{"hs_email_optout_10912345":false}"#, "not fired"),
            (
                r#"{"opt_out_list":[],"opt_out_preferences":{"email":false}}"#,
                "not fired",
            ),
            // Where one would opt out.
            (
                r#"{"unsubscribe":"https://mail.example.com/email/unsubscribe?u=17"}"#,
                "not fired",
            ),
            (
                r#"{"email":{"unsubscribe":"mailto:stop@example.com"}}"#,
                "not fired",
            ),
            (r#"{"opt_out_channels":"nothing"}"#, "not fired"),
            // What only tells more of an opt-out, and what says nothing of one.
            (r#"{"opt_out_reason":"asked"}"#, "not fired"),
            (
                r#"{"opt_out_link":"https://example.org","do_not_contact":true}"#,
                "not fired",
            ),
            (
                r#"{"email":"x@example.org","email_open_rate":1,"do_not_call":false}"#,
                "not fired",
            ),
            (r#"{"email":{"opened":true}}"#, "not fired"),
            (
                r#"{"marketing_status":"subscribed","email_status":true,"opt_out_status":"opted_in"}"#,
                "not fired",
            ),
            (r#"{"subscription_status":"cancelled"}"#, "not fired"),
            (
                r#"{"donotemail":"Allow","email_opt_out":"FALSCH","unsubscribed":"Non"}"#,
                "not fired",
            ),
            (
                r#"{"emails":[{"email":"a@b.example","is_unsubscribed":false},"c@d.example"]}"#,
                "not fired",
            ),
        ],
    );
}

#[test]
fn an_opt_out_of_one_channel_covers_every_channel() {
    let contexts = [
        (r#"{"opt_out_channels":["sms"]}"#, "opt_out_channels[0]"),
        (r#"{"opt_out_email":true}"#, "opt_out_email"),
        (
            r#"{"channel":"sms","linkedin_opt_out":"yes"}"#,
            "linkedin_opt_out",
        ),
        (r#"{"opt_out_channels":["phone"]}"#, "opt_out_channels[0]"),
        (r#"{"do_not_call":true}"#, "do_not_call"),
        (
            r#"{"intended_channel":"email","sms":{"opt_out":true}}"#,
            "sms.opt_out",
        ),
    ];
    for (context, field) in contexts {
        for channel in [
            None,
            Some(Channel::Email),
            Some(Channel::Sms),
            Some(Channel::Linkedin),
        ] {
            let mut case = case(context);
            case.requested_channel = channel;
            let found = show(&evaluate(Rule::OptOut, &case));
            assert_eq!(found, format!("fired {field}"), "{channel:?}: {context}");
        }
    }
}

#[test]
fn an_opt_out_in_unknown_words_cannot_be_told() {
    check(
        Rule::OptOut,
        &[
            (
                r#"{"opt_out_channels":["pigeon"]}"#,
                "cannot tell opt_out_channels[0]",
            ),
            (
                r#"{"opt_out_channels":"pigeon and owl"}"#,
                "cannot tell opt_out_channels",
            ),
            (
                r#"{"opt_out_channels":true}"#,
                "cannot tell opt_out_channels",
            ),
            (
                r#"{"opt_out_channels":{"email":"2031-05-01"}}"#,
                "cannot tell opt_out_channels.email",
            ),
            (
                r#"{"unsubscribed":"2031-05-01"}"#,
                "cannot tell unsubscribed",
            ),
            (
                r#"{"email_opt_out":"pending"}"#,
                "cannot tell email_opt_out",
            ),
            // The name may be one of an opt-out.
            (
                r#"{"opt_out_list":["email"]}"#,
                "cannot tell opt_out_list[0]",
            ),
            (
                r#"{"opt_out_preferences":{"email":true}}"#,
                "cannot tell opt_out_preferences.email",
            ),
            (
                r#"{"opted_out_of_pigeons":true}"#,
                "cannot tell opted_out_of_pigeons",
            ),
            (r#"{"opted_out_of_pigeons":"2031-05-01"}"#, "not fired"),
            (
                r#"{"opt_out_channels":"not opted out of email or sms"}"#,
                "cannot tell opt_out_channels",
            ),
            // What another field may take back.
            (
                r#"{"opt_out_channels":[{"channel":"email","status":"opted_in"}]}"#,
                "cannot tell opt_out_channels[0].channel",
            ),
            (
                r#"{"opt_out_channels":[{"channel":"email","opted_out":false}]}"#,
                "cannot tell opt_out_channels[0].channel",
            ),
            (
                r#"{"unsubscribe":{"type":"email","value":"mailto:stop@example.com"}}"#,
                "cannot tell unsubscribe.type",
            ),
            (
                r#"{"opt_out_channels":[{"channel":"email","opted_out_at":null},{"channel":"sms","opted_out_at":null}]}"#,
                "cannot tell opt_out_channels[0].channel",
            ),
            (
                r#"{"opt_out_channels":[{"channel":"email","Opted_Out_At__c":null}]}"#,
                "cannot tell opt_out_channels[0].channel",
            ),
            (
                r#"{"opt_out_channels":[{"channel":"email","since":""}]}"#,
                "cannot tell opt_out_channels[0].channel",
            ),
            (
                r#"{"unsubscribe":{"channel":"email","unsubscribed_at":""}}"#,
                "cannot tell unsubscribe.channel",
            ),
            (
                r#"{"unsubscribe":{"type":"email","enabled":true}}"#,
                "cannot tell unsubscribe.type",
            ),
            (
                r#"{"opt_out_channels":[{"channel":"email","active":null}]}"#,
                "cannot tell opt_out_channels[0].channel",
            ),
            (
                r#"{"opt_out_channels":[{"channel":"email","type":"opt_in"}]}"#,
                "cannot tell opt_out_channels[0].channel",
            ),
        ],
    );
}

#[test]
fn one_readable_opt_out_is_enough() {
    check(
        Rule::OptOut,
        &[
            (
                r#"{"opt_out_channels":["pigeon","email"]}"#,
                "fired opt_out_channels[1]",
            ),
            (
                r#"{"opt_out_channels":["email"],"email_opt_out":false}"#,
                "fired opt_out_channels[0]",
            ),
        ],
    );
}

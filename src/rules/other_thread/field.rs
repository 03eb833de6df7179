//! What the name of a context's field says of threads.

pub enum Kind {
    /// That there was a leak.
    Leak,
    /// What leaked.
    Leaked,
    Threads,
    Thread,
    /// Of the own thread.
    History,
    Signals,
    Other,
}

impl Kind {
    #[rustfmt::skip]
    pub fn of(name: &str) -> Kind {
        match name {
            "leakedthread" | "leakedthreadid" | "leakedfromthread" | "leakthread" | "leaksthread"
            | "crossthreadleak" | "crossthreadleakdetected" | "threadleak" | "threadleakdetected"
            | "leakdetected" | "hasleak" => Kind::Leak,
            "leakedcontent" | "leakedtext" | "leakedquote" | "leakedsignal" | "leakedsignals"
            | "leakedthreadcontent" => Kind::Leaked,
            "activethreads" | "threads" | "otherthreads" | "openthreads" | "otheractivethreads"
            | "parallelthreads" | "relatedthreads" | "threadsummaries" => Kind::Threads,
            "threadhistory" | "conversationhistory" | "messagehistory" | "threadsummary"
            | "threadnotes" | "threadmessages" | "threadcontext" => Kind::History,
            "availablesignals" => Kind::Signals,
            "threadid" => Kind::Other,
            name if name.starts_with("thread") => Kind::Thread,
            _ => Kind::Other,
        }
    }
}

/// A field that names other threads.
#[rustfmt::skip]
pub fn is_pointer(name: &str) -> bool {
    matches!(
        name,
        "otheractivethread" | "otherthread" | "otherthreads" | "otheractivethreads"
            | "parallelthread" | "parallelthreads" | "relatedthread" | "secondthread"
    )
}

/// `ceo_thread_content`, `cross_thread_note`: content of a thread that is not the recipient's.
pub fn is_content_of_thread(name: &str) -> bool {
    let content = [
        "content", "note", "notes", "message", "messages", "summary", "signal", "signals",
    ];
    name.contains("thread") && content.iter().any(|end| name.ends_with(end))
}

/// A name that says that its text is not for all.
pub fn is_private(name: &str) -> bool {
    #[rustfmt::skip]
    const WORDS: [&str; 14] = [
        "thread", "note", "private", "personal", "sensitive", "confidential", "internal", "board",
        "secret", "crisis", "intel", "intent", "message", "leak",
    ];
    // They have one of those words, and no secret.
    #[rustfmt::skip]
    const OPEN: [&str; 5] = ["onboard", "dashboard", "whiteboard", "personaliz", "personalis"];
    WORDS.iter().any(|word| {
        let open = OPEN.iter().filter(|open| open.contains(word));
        let open: usize = open.map(|open| name.matches(open).count()).sum();
        name.matches(word).count() > open
    })
}

/// Fields that speak of the recipient, of the company as all know it, or of the task.
pub fn is_of_own(name: &str) -> bool {
    #[rustfmt::skip]
    const STARTS: [&str; 33] = [
        "threadid", "disqualif", "optout", "ownthread", "ownhistory", "ownmessage", "recipient",
        "prospect", "company", "industry", "city", "location", "country", "funding", "bench",
        "engineername", "engineerskill", "proposedengineer", "skills", "peer", "localpeers",
        "intended", "channel", "today", "date", "previousmessage", "public", "openrole", "job",
        "techstack", "headcount", "regulat", "escalation",
    ];
    const ENDS: [&str; 6] = ["risk", "severity", "level", "date", "url", "source"];
    // In these names alone: `last_message_ceo` is of somebody else.
    let is_received = matches!(
        name,
        "lastmessage"
            | "lastmessagefromrecipient"
            | "lastinboundmessage"
            | "lastreply"
            | "inboundmessage"
            | "inboundreply"
            | "inboundemail"
    );
    let starts = STARTS.iter().any(|start| name.starts_with(start));
    is_received || starts || ENDS.iter().any(|end| name.ends_with(end))
}

/// The rank or body that a field's name or a sender speaks of, and its field of work: `VP` and `Sales` of
/// `vp_sales_note`.
pub fn role_in(name: &str) -> Option<(&str, Option<&str>)> {
    let mut parts = name.split(|c: char| !c.is_alphanumeric());
    let role = parts.find(|part| is_role(&part.to_ascii_lowercase()))?;
    let work = parts.next();
    Some((
        role,
        work.filter(|work| is_work(&work.to_ascii_lowercase())),
    ))
}

/// What is one field of work by several names.
pub fn field_of(work: &str) -> &str {
    match work {
        "eng" | "platform" | "infrastructure" | "it" | "data" | "security" => "engineering",
        "ops" => "operations",
        "hr" | "talent" => "people",
        other => other,
    }
}

/// What a rank may be of.
#[rustfmt::skip]
pub fn is_work(word: &str) -> bool {
    matches!(
        word,
        "sales" | "engineering" | "eng" | "marketing" | "product" | "finance" | "operations" | "ops"
            | "hr" | "people" | "talent" | "legal" | "security" | "data" | "it" | "procurement"
            | "platform" | "infrastructure" | "design" | "support"
    )
}

#[rustfmt::skip]
pub fn is_role(word: &str) -> bool {
    matches!(
        word,
        "ceo" | "cfo" | "cto" | "coo" | "cio" | "cmo" | "cpo" | "cro" | "chro" | "ciso" | "founder"
            | "cofounder" | "board" | "chair" | "chairman" | "president" | "owner" | "investor"
            | "investors" | "hr" | "legal" | "procurement" | "finance" | "director" | "vp" | "head"
            | "manager" | "partner" | "leadership"
    )
}

//! The words of funding.

use std::sync::LazyLock;

use crate::rules::phrases::Phrases;

/// Names of a round, or of what it brings.
pub static ROUND: LazyLock<Phrases> = LazyLock::new(|| {
    Phrases::new(
        "series a, series b, series c, series d, series e, series f, series g, seed round
        seed raise, seed funding, seed investment, seed financing, seed extension, pre seed
        preseed, angel round, funding, fundraise, fundraising, funding round, raise, round
        financing, financing round, investment round, capital raise, capital injection
        venture capital, venture round, equity round, bridge round, growth round, mega round",
    )
});

/// What a sum can be in.
pub static BANK: LazyLock<Phrases> = LazyLock::new(|| {
    Phrases::new(
        "in the bank, in your account, in your accounts, in cash, in capital, in equity
        seed, in fresh capital, in new capital, in new money, in venture, in vc, behind you, of runway
        of fresh capital, of new capital, of venture, of capital, of funding, of new funding
        investment, injection, cheque, check, from investors, raised, secured, closed, in funding
        in new funding, in fresh funding, in seed, in series, in pre, led by",
    )
});

pub static RAISED: LazyLock<Phrases> = LazyLock::new(|| {
    Phrases::new(
        "raised, secured, closed, landed, bagged, received, announced, completed, banked, netted
        attracted, picked up, pulled in, brought in, took in, took on, got, won, scored, clinched
        wrapped up, closed on, raising, securing, closing, landing",
    )
});

pub static CONGRATULATION: LazyLock<Phrases> = LazyLock::new(|| {
    Phrases::new(
        "congrats on, congratulations on, congrats to, congratulations to, congrats for
        congratulations for, congratulate you on, well done on, nice work on, great work on
        kudos on, kudos for, hats off, cheers to
        excited about, excited to see, thrilled to see, great to see, great news about
        great news on, big news, saw the news, saw your, read about your, saw that, noticed",
    )
});

/// Between `your` and a round.
pub static MODIFIER: LazyLock<Phrases> = LazyLock::new(|| {
    Phrases::new(
        "recent, latest, new, newest, fresh, big, huge, great, impressive, exciting, last, first
        second, successful, massive, sizeable, whopping, company s, team s, just closed
        just announced, recently closed, recently announced, newly closed, newly raised, oversubscribed
        growth, venture, of, in, worth, million, this year s, last year s, this month s
        last month s, last week s, this week s, this quarter s, last quarter s, strong, healthy",
    )
});

/// After a round's name, they make of it something else than money that came.
pub static NOT_THE_MONEY: LazyLock<Phrases> = LazyLock::new(|| {
    Phrases::new(
        "stage, stages, needs, need, plan, plans, status, history, situation, strategy, strategies
        goal, goals, option, options, journey, data, figures, details, information, source, sources
        confidence, level, tier, companies, company, companys, startups, startup, teams, team
        clients, firms, firm, investors, advisors, environment, climate, market, landscape, world
        gap, gaps, process, platform, platforms, product, products, app, software, tool, tools
        page, form, forms, portal, flow, flows, engine, service, services, api, module, marketplace
        business, ambition, ambitions, preparation, prep, pitch, deck, target, targets, readiness
        roadshow, talks, hopes, application, applications, timeline, search, effort, efforts
        partner, partners, program, programme, awareness, call, event, events, campaign, campaigns
        gala, donors, department, arm",
    )
});

/// After `round` and `raise`, the same.
pub static NOT_A_ROUND: LazyLock<Phrases> = LazyLock::new(|| {
    Phrases::new(
        "of, the, table, trip, robin, up, off, tables, trips, in prices, in salary, in pay
        questions, concerns, awareness, a, an, your, our",
    )
});

/// After a sum, they say that it is no funding.
pub static PRICE: LazyLock<Phrases> = LazyLock::new(|| {
    Phrases::new(
        "/, per, an hour, a hour, a day, a month, a week, a year, a quarter, a sprint, a seat, a head
        a person, each, hourly, daily, weekly, monthly, yearly, annually, p a, an engineer
        a developer, budget, budgets, revenue, revenues, arr, mrr, turnover, sales, in sales
        in revenue, in arr, in annual, of revenue, of arr, in savings, savings, saved, salary
        salaries, price, pricing, cost, costs, in costs, contract, contracts, deal, deals, invoice
        rate, rates, spend, payroll, gmv, fine, fines, bonus, pipeline, partnership, fee, fees
        users, customers, people, employees, downloads, orders, transactions, records, parcels
        in payments, in transactions, in volume, bill, bills, valuation, in damages, market, opportunity
        project, projects, programme, program, credit, credits, grant, loan",
    )
});

/// Before a sum, the same.
pub static PRICED: LazyLock<Phrases> = LazyLock::new(|| {
    Phrases::new(
        "save, saves, saved, saving, cost, costs, costing, spend, spends, spending, spent, pay, pays
        paying, paid, charge, charges, price, priced, rate, rates, budget, revenue, earn, earning
        invoice, billed, bill, owe, lose, loses, losing, lost, process, processes, processed
        handles, handled, from only, valued at, valuation, sell, sold, for only, for just, starts at
        start at, begin at",
    )
});

pub fn is_you(token: &str) -> bool {
    matches!(token, "you" | "your" | "yours" | "u" | "ur")
}

#[rustfmt::skip]
pub fn is_auxiliary(token: &str) -> bool {
    matches!(
        token,
        "ve" | "have" | "has" | "had" | "s" | "just" | "recently" | "also" | "already" | "now"
            | "successfully" | "officially" | "quietly" | "freshly" | "newly" | "having" | "only"
            | "even" | "ll" | "all" | "first"
    )
}

/// Before a verb, they make its subject another than the prospect.
#[rustfmt::skip]
pub fn is_other(token: &str) -> bool {
    matches!(
        token,
        "teams" | "companies" | "startups" | "founders" | "firms" | "others" | "who" | "which"
            | "that" | "whose" | "we" | "our" | "i"
    )
}

#[rustfmt::skip]
pub fn is_third(token: &str) -> bool {
    matches!(
        token,
        "client" | "clients" | "customer" | "customers" | "competitor" | "competitors" | "partner"
            | "partners" | "supplier" | "suppliers" | "peer" | "peers" | "rival" | "rivals"
    )
}

/// Between a verb and the money that is its object.
#[rustfmt::skip]
pub fn is_light(token: &str) -> bool {
    matches!(
        token,
        "a" | "an" | "the" | "its" | "their" | "your" | "his" | "her" | "another" | "some"
            | "nearly" | "about" | "around" | "over" | "roughly" | "approximately" | "more"
            | "than" | "almost" | "up" | "to" | "impressive" | "additional" | "further"
    )
}

/// After `your €4m`, they make no other thing of it.
#[rustfmt::skip]
pub fn goes_on(token: &str) -> bool {
    matches!(
        token,
        "is" | "was" | "means" | "gives" | "puts" | "makes" | "lets" | "buys" | "should" | "will"
            | "can" | "could" | "has" | "and" | "from" | "last" | "this" | "shows"
    )
}

/// After a sum that somebody got, they tell when, how or what for, and make no other thing of it.
#[rustfmt::skip]
pub fn tells_more(token: &str) -> bool {
    matches!(
        token,
        "in" | "on" | "at" | "to" | "for" | "with" | "by" | "led" | "over" | "during"
            | "after" | "before" | "since" | "through" | "via" | "across" | "within" | "without"
            | "earlier" | "recently" | "back" | "just" | "early" | "late" | "today" | "yesterday"
            | "already" | "now" | "too" | "only" | "so" | "but" | "or" | "as" | "while" | "when"
            | "which" | "that" | "because" | "if" | "then" | "you" | "we" | "i" | "it" | "the"
            | "your" | "our" | "a" | "two" | "three" | "six"
    )
}

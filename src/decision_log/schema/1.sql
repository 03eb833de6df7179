-- What a list filters by has a column of its own; the rest is JSON, in the
-- shape that `format` numbers. Times are microseconds since 1970, UTC.

CREATE TABLE decisions (
    seq INTEGER PRIMARY KEY,
    format INTEGER NOT NULL,
    decision_id TEXT NOT NULL UNIQUE,
    request_id TEXT,
    content_hash BLOB NOT NULL,
    received INTEGER NOT NULL,
    origin TEXT NOT NULL,
    mode TEXT NOT NULL,
    decided_by TEXT NOT NULL,
    label TEXT NOT NULL,
    prospect TEXT NOT NULL,
    channel TEXT NOT NULL,
    -- What is certain with the label, and what comes with the rationale.
    answer TEXT NOT NULL,
    rest TEXT NOT NULL,
    -- 1 until the rationale has come.
    pending INTEGER NOT NULL,
    shadow_label TEXT,
    shadow TEXT
) STRICT;

CREATE INDEX decisions_by_time ON decisions (received);
CREATE INDEX decisions_by_label ON decisions (label, received);
CREATE INDEX decisions_by_prospect ON decisions (prospect, received);
CREATE INDEX decisions_by_request ON decisions (request_id, received)
    WHERE request_id IS NOT NULL;
CREATE INDEX disagreements ON decisions (received)
    WHERE shadow_label <> label;

-- What was judged. The texts are masked, the hashes are of the whole texts.
CREATE TABLE subjects (
    decision INTEGER PRIMARY KEY REFERENCES decisions (seq) ON DELETE CASCADE,
    context_sha256 BLOB NOT NULL,
    draft_sha256 BLOB NOT NULL,
    masked TEXT NOT NULL,
    context TEXT,
    draft TEXT
) STRICT;

CREATE TABLE outcomes (
    seq INTEGER PRIMARY KEY,
    decision INTEGER NOT NULL REFERENCES decisions (seq) ON DELETE CASCADE,
    reported INTEGER NOT NULL,
    kind TEXT NOT NULL,
    true_label TEXT,
    tier INTEGER,
    probe TEXT,
    who TEXT NOT NULL,
    note TEXT NOT NULL
) STRICT;

CREATE INDEX outcomes_by_decision ON outcomes (decision);
CREATE INDEX outcomes_by_kind ON outcomes (kind, decision);
CREATE INDEX outcomes_by_probe ON outcomes (probe, decision)
    WHERE probe IS NOT NULL;

CREATE TABLE spot_checks (
    seq INTEGER PRIMARY KEY,
    run_id TEXT NOT NULL UNIQUE,
    ran INTEGER NOT NULL,
    suite_sha256 TEXT NOT NULL,
    probes TEXT NOT NULL,
    model TEXT
) STRICT;

-- Small documents that must outlive the daemon.
CREATE TABLE state (
    key TEXT PRIMARY KEY,
    value TEXT NOT NULL
) STRICT, WITHOUT ROWID;

-- Written while the log is in trouble, to see whether it still is.
CREATE TABLE probe (
    id INTEGER PRIMARY KEY,
    filler BLOB NOT NULL
) STRICT;

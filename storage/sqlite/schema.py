"""The schema, step by step, as SQL: what each step of `storage.sqlite.migrations` makes of the one before.

Money is integer micro-dollars, times are unix seconds. The CHECKs are the last line of defence behind the guarded
statements of `storage.verbs`. A step that was published is never changed, for there are databases that it made: so the
list only grows, and stands in one piece, however long it is.
"""

from __future__ import annotations

SCHEMA_1 = """
CREATE TABLE run (
    run_id TEXT PRIMARY KEY,
    origin TEXT NOT NULL UNIQUE,
    member TEXT NOT NULL,
    server TEXT NOT NULL,
    channel TEXT NOT NULL,
    request TEXT NOT NULL CHECK (json_valid(request)),
    price_u INTEGER NOT NULL CHECK (price_u > 0),
    member_scope TEXT NOT NULL,
    member_period TEXT NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('reserved', 'submitting', 'ambiguous', 'running', 'unknown',
                                         'succeeded', 'failed', 'cancelled')),
    state_at REAL NOT NULL,
    created_at REAL NOT NULL,
    due_at REAL,
    tries INTEGER NOT NULL DEFAULT 0,
    posts INTEGER NOT NULL DEFAULT 0,
    posted_at REAL,
    callback_token TEXT NOT NULL UNIQUE,
    candidate_id TEXT,
    provider_id TEXT UNIQUE,
    provider_request_id TEXT,
    provider_status TEXT,
    provider_status_at REAL,
    overdue INTEGER NOT NULL DEFAULT 0 CHECK (overdue IN (0, 1)),
    ended_at REAL,
    ending TEXT,
    cost_u INTEGER CHECK (cost_u >= 0),
    cost_checks INTEGER NOT NULL DEFAULT 0,
    seed_used INTEGER,
    took_ms INTEGER,
    failure_code TEXT,
    failure_message TEXT,
    notice TEXT CHECK (notice IN ('result', 'unknown', 'overdue')),
    delivery TEXT NOT NULL DEFAULT 'none'
        CHECK (delivery IN ('none', 'pending', 'sending', 'delivered', 'undeliverable')),
    delivery_tries INTEGER NOT NULL DEFAULT 0,
    first_try_at REAL,
    message TEXT,
    reply_to TEXT,
    reply_until REAL,
    upload_limit_bytes INTEGER,
    CHECK ((state IN ('succeeded', 'failed', 'cancelled')) = (ended_at IS NOT NULL)),
    CHECK ((ended_at IS NULL) = (ending IS NULL)),
    CHECK (state != 'running' OR provider_id IS NOT NULL)
) STRICT;
CREATE INDEX run_due ON run (due_at) WHERE due_at IS NOT NULL;
CREATE INDEX run_of_member ON run (member, created_at);
CREATE INDEX run_in_flight ON run (state, created_at)
    WHERE state IN ('ambiguous', 'reserved', 'running', 'submitting');
CREATE INDEX run_reply ON run (reply_until) WHERE reply_until IS NOT NULL;

CREATE TABLE budget (
    scope TEXT NOT NULL,
    period_key TEXT NOT NULL,
    limit_u INTEGER,
    held_u INTEGER NOT NULL DEFAULT 0,
    spent_u INTEGER NOT NULL DEFAULT 0,
    excess_u INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (scope, period_key),
    CHECK (held_u >= 0 AND spent_u >= 0 AND excess_u >= 0 AND held_u + spent_u <= limit_u + excess_u)
) STRICT;

CREATE TABLE ledger_entry (
    entry_id INTEGER PRIMARY KEY,
    run_id TEXT NOT NULL REFERENCES run (run_id),
    scope TEXT NOT NULL,
    period_key TEXT NOT NULL,
    kind TEXT NOT NULL CHECK (kind IN ('hold', 'post', 'void', 'adjust')),
    amount_u INTEGER NOT NULL,
    at REAL NOT NULL,
    actor TEXT NOT NULL,
    reason TEXT NOT NULL,
    FOREIGN KEY (scope, period_key) REFERENCES budget (scope, period_key)
) STRICT;
CREATE UNIQUE INDEX one_hold ON ledger_entry (run_id, scope, period_key) WHERE kind = 'hold';
CREATE UNIQUE INDEX one_end ON ledger_entry (run_id, scope, period_key) WHERE kind IN ('post', 'void');
CREATE INDEX entry_of_run ON ledger_entry (run_id, kind);
CREATE TRIGGER ledger_only_grows BEFORE UPDATE ON ledger_entry
    BEGIN SELECT RAISE(ABORT, 'ledger entries are never changed'); END;
CREATE TRIGGER ledger_keeps_all BEFORE DELETE ON ledger_entry
    BEGIN SELECT RAISE(ABORT, 'ledger entries are never removed'); END;

-- A run with what the ledger has posted for it, as its member's level counts it.
CREATE VIEW run_view AS
    SELECT run.*, (SELECT coalesce(sum(amount_u), 0) FROM ledger_entry AS entry
                   WHERE entry.run_id = run.run_id AND entry.scope = run.member_scope
                     AND entry.period_key = run.member_period
                     AND entry.kind IN ('post', 'adjust')) AS charged_u
    FROM run;

CREATE TABLE installation (name TEXT PRIMARY KEY, value BLOB NOT NULL) STRICT;
"""


SCHEMA_2 = """
DROP VIEW run_view;
ALTER TABLE run ADD COLUMN member_name TEXT NOT NULL DEFAULT '';
ALTER TABLE run ADD COLUMN budget_channel TEXT NOT NULL DEFAULT '';
ALTER TABLE run ADD COLUMN roles TEXT NOT NULL DEFAULT '[]' CHECK (json_valid(roles));
UPDATE run SET budget_channel = channel;
CREATE INDEX run_by_time ON run (created_at);
DROP INDEX run_in_flight;  -- the next one does its work
CREATE INDEX run_open ON run (state, member, created_at, run_id)
    WHERE state IN ('ambiguous', 'reserved', 'running', 'submitting');

-- `granted_u` is on top of a limit; a period that is not over yet is found by `resets_at`.
ALTER TABLE budget ADD COLUMN granted_u INTEGER NOT NULL DEFAULT 0 CHECK (granted_u >= 0);
ALTER TABLE budget ADD COLUMN starts_at REAL NOT NULL DEFAULT 0;
ALTER TABLE budget ADD COLUMN resets_at REAL NOT NULL DEFAULT 0;
CREATE INDEX budget_current ON budget (scope, resets_at);

-- What admins did. Like the ledger it only grows.
CREATE TABLE act (
    act_id INTEGER PRIMARY KEY,
    at REAL NOT NULL,
    server TEXT NOT NULL,
    actor TEXT NOT NULL,
    actor_name TEXT NOT NULL,
    verb TEXT NOT NULL,
    subject TEXT NOT NULL,
    detail TEXT NOT NULL,
    reason TEXT NOT NULL
) STRICT;
CREATE INDEX act_of_server ON act (server, act_id);
CREATE TRIGGER acts_only_grow BEFORE UPDATE ON act
    BEGIN SELECT RAISE(ABORT, 'acts are never changed'); END;
CREATE TRIGGER acts_are_kept BEFORE DELETE ON act
    BEGIN SELECT RAISE(ABORT, 'acts are never removed'); END;

CREATE TABLE rule (
    server TEXT NOT NULL,
    subject TEXT NOT NULL,
    kind TEXT NOT NULL CHECK (kind IN ('limit', 'each', 'allow', 'block', 'pause', 'on', 'desk')),
    period TEXT CHECK (period IN ('day', 'week', 'month')),
    limit_u INTEGER CHECK (limit_u >= 0),
    in_flight INTEGER CHECK (in_flight >= 0),
    act_id INTEGER NOT NULL REFERENCES act (act_id),
    PRIMARY KEY (server, subject, kind),
    CHECK (limit_u IS NULL OR period IS NOT NULL)
) STRICT;
CREATE INDEX rule_allow ON rule (server) WHERE kind = 'allow';

CREATE TABLE offer (
    offer_id TEXT PRIMARY KEY,
    kind TEXT NOT NULL CHECK (kind IN ('confirm', 'request')),
    origin TEXT NOT NULL UNIQUE,
    wish TEXT NOT NULL CHECK (json_valid(wish)),
    choices TEXT NOT NULL CHECK (json_valid(choices)),
    expires_at REAL NOT NULL,
    over TEXT NOT NULL,
    state TEXT NOT NULL DEFAULT 'open' CHECK (state IN ('open', 'taken', 'denied')),
    run_id TEXT REFERENCES run (run_id),
    message TEXT,
    CHECK ((state = 'taken') = (run_id IS NOT NULL))
) STRICT;
CREATE INDEX offer_open ON offer (expires_at) WHERE state = 'open';

-- The ledger again, with entries that belong to no run, and the act behind an entry.
ALTER TABLE ledger_entry RENAME TO old_entry;
DROP INDEX one_hold;
DROP INDEX one_end;
DROP INDEX entry_of_run;
DROP TRIGGER ledger_only_grows;
DROP TRIGGER ledger_keeps_all;
CREATE TABLE ledger_entry (
    entry_id INTEGER PRIMARY KEY,
    run_id TEXT REFERENCES run (run_id),
    scope TEXT NOT NULL,
    period_key TEXT NOT NULL,
    kind TEXT NOT NULL CHECK (kind IN ('hold', 'post', 'void', 'adjust', 'grant', 'refund')),
    amount_u INTEGER NOT NULL,
    at REAL NOT NULL,
    actor TEXT NOT NULL,
    reason TEXT NOT NULL,
    act_id INTEGER REFERENCES act (act_id),
    FOREIGN KEY (scope, period_key) REFERENCES budget (scope, period_key),
    CHECK ((run_id IS NULL) = (kind = 'grant')),
    CHECK ((act_id IS NOT NULL) >= (kind IN ('grant', 'refund')))
) STRICT;
INSERT INTO ledger_entry (entry_id, run_id, scope, period_key, kind, amount_u, at, actor, reason)
    SELECT entry_id, run_id, scope, period_key, kind, amount_u, at, actor, reason FROM old_entry;
DROP TABLE old_entry;
CREATE UNIQUE INDEX one_hold ON ledger_entry (run_id, scope, period_key) WHERE kind = 'hold';
CREATE UNIQUE INDEX one_end ON ledger_entry (run_id, scope, period_key) WHERE kind IN ('post', 'void');
CREATE UNIQUE INDEX one_refund ON ledger_entry (run_id) WHERE kind = 'refund';
-- A hold has an index of its own, so that an admission need not write two; to use this one a query says the same.
CREATE INDEX entry_of_run ON ledger_entry (run_id, kind) WHERE kind != 'hold';
CREATE TRIGGER ledger_only_grows BEFORE UPDATE ON ledger_entry
    BEGIN SELECT RAISE(ABORT, 'ledger entries are never changed'); END;
CREATE TRIGGER ledger_keeps_all BEFORE DELETE ON ledger_entry
    BEGIN SELECT RAISE(ABORT, 'ledger entries are never removed'); END;

CREATE VIEW run_view AS
    SELECT run.*,
           (SELECT coalesce(sum(amount_u), 0) FROM ledger_entry AS entry
            WHERE entry.run_id = run.run_id AND entry.scope = run.member_scope
              AND entry.period_key = run.member_period
              AND entry.kind != 'hold' AND entry.kind IN ('post', 'adjust')) AS charged_u,
           (SELECT coalesce(sum(amount_u), 0) FROM ledger_entry AS entry
            WHERE entry.run_id = run.run_id AND entry.kind = 'refund') AS refunded_u
    FROM run;
"""


SCHEMA_3 = """
DROP VIEW run_view;
ALTER TABLE run ADD COLUMN unclear_posts INTEGER NOT NULL DEFAULT 0 CHECK (unclear_posts >= 0);
ALTER TABLE run ADD COLUMN empty_since REAL;
ALTER TABLE run ADD COLUMN lookup_fresh INTEGER CHECK (lookup_fresh IN (0, 1));
ALTER TABLE run ADD COLUMN last_try_at REAL;
ALTER TABLE run ADD COLUMN direct INTEGER NOT NULL DEFAULT 0 CHECK (direct IN (0, 1));
UPDATE run SET unclear_posts = 1 WHERE state IN ('ambiguous', 'unknown') AND provider_id IS NULL;
CREATE INDEX run_lookup ON run (posted_at) WHERE lookup_fresh IS NOT NULL;
CREATE INDEX run_unknown ON run (state_at) WHERE state = 'unknown';

CREATE VIEW run_view AS
    SELECT run.*,
           (SELECT coalesce(sum(amount_u), 0) FROM ledger_entry AS entry
            WHERE entry.run_id = run.run_id AND entry.scope = run.member_scope
              AND entry.period_key = run.member_period
              AND entry.kind != 'hold' AND entry.kind IN ('post', 'adjust')) AS charged_u,
           (SELECT coalesce(sum(amount_u), 0) FROM ledger_entry AS entry
            WHERE entry.run_id = run.run_id AND entry.kind = 'refund') AS refunded_u
    FROM run;
"""


SCHEMA_4 = """
-- An extra counts where and when its act says, so a budget row has no sum of them.
ALTER TABLE budget DROP COLUMN granted_u;
CREATE INDEX extra_of_scope ON ledger_entry (scope, at) WHERE kind IN ('grant', 'refund');

-- What was done to a member is in the operator's log, with the name of the server in which it was.
DROP TRIGGER acts_only_grow;
ALTER TABLE act ADD COLUMN server_name TEXT NOT NULL DEFAULT '';
ALTER TABLE act ADD COLUMN member TEXT NOT NULL DEFAULT '';
UPDATE act SET member = coalesce(
    CASE WHEN subject LIKE 'member:%' THEN substr(subject, 8)
         WHEN subject LIKE 'run:%' THEN (SELECT member FROM run WHERE run_id = substr(act.subject, 5)) END, '');
CREATE TRIGGER acts_only_grow BEFORE UPDATE ON act
    BEGIN SELECT RAISE(ABORT, 'acts are never changed'); END;
CREATE INDEX act_on_member ON act (act_id) WHERE member != '';
"""


SCHEMA_5 = """
ALTER TABLE offer RENAME TO old_offer;
DROP INDEX offer_open;
CREATE TABLE offer (
    offer_id TEXT PRIMARY KEY,
    kind TEXT NOT NULL CHECK (kind IN ('confirm', 'request')),
    origin TEXT NOT NULL UNIQUE,
    server TEXT NOT NULL,
    member TEXT NOT NULL,
    wish TEXT NOT NULL CHECK (json_valid(wish)),
    choices TEXT NOT NULL CHECK (json_valid(choices)),
    expires_at REAL NOT NULL,
    over TEXT NOT NULL,
    state TEXT NOT NULL DEFAULT 'open' CHECK (state IN ('open', 'taken', 'denied', 'replaced')),
    asked_at REAL,  -- when its member put it to the admins
    act_id INTEGER REFERENCES act (act_id),  -- what an admin said to it
    run_id TEXT REFERENCES run (run_id),
    message TEXT,
    CHECK ((state = 'taken') = (run_id IS NOT NULL))
) STRICT;
INSERT INTO offer
    SELECT offer_id, kind, origin, json_extract(wish, '$.server'), json_extract(wish, '$.member'), wish, choices,
           expires_at, over, state, CASE WHEN message IS NOT NULL THEN expires_at - 86400.0 END,
           (SELECT act_id FROM act WHERE verb IN ('request approved', 'request denied')
            AND detail LIKE '%, request ' || offer_id), run_id, message
    FROM old_offer;
DROP TABLE old_offer;
CREATE INDEX offer_open ON offer (expires_at) WHERE state = 'open';
CREATE INDEX request_of_member ON offer (server, member) WHERE kind = 'request';
-- Of several that one member had open only the latest still is.
UPDATE offer SET state = 'replaced' WHERE kind = 'request' AND state = 'open' AND asked_at IS NOT NULL AND EXISTS (
    SELECT 1 FROM offer AS later WHERE later.kind = 'request' AND later.state = 'open' AND later.asked_at IS NOT NULL
       AND later.server = offer.server AND later.member = offer.member
       AND (later.asked_at, later.rowid) > (offer.asked_at, offer.rowid));
CREATE UNIQUE INDEX one_request ON offer (server, member)
    WHERE kind = 'request' AND state = 'open' AND asked_at IS NOT NULL;
"""


SCHEMA_6 = """
-- Whatever asks twice gets one effect: an act has the request that it answers, and what was said to that is kept a day.
ALTER TABLE act ADD COLUMN origin TEXT NOT NULL DEFAULT '';
CREATE UNIQUE INDEX one_act ON act (origin) WHERE origin != '';
CREATE TABLE answer (
    origin TEXT PRIMARY KEY,
    at REAL NOT NULL,
    said TEXT NOT NULL
) STRICT;
CREATE INDEX answer_by_time ON answer (at);
"""


SCHEMA_7 = """
-- A refund is given once; a part of it may be taken back when the run is charged less in the end.
DROP INDEX one_refund;
CREATE UNIQUE INDEX one_refund ON ledger_entry (run_id) WHERE kind = 'refund' AND amount_u > 0;
DROP VIEW run_view;
CREATE VIEW run_view AS
    SELECT run.*,
           (SELECT coalesce(sum(amount_u), 0) FROM ledger_entry AS entry
            WHERE entry.run_id = run.run_id AND entry.scope = run.member_scope
              AND entry.period_key = run.member_period
              AND entry.kind != 'hold' AND entry.kind IN ('post', 'adjust')) AS charged_u,
           (SELECT coalesce(sum(amount_u), 0) FROM ledger_entry AS entry
            WHERE entry.run_id = run.run_id AND entry.kind != 'hold' AND entry.kind = 'refund') AS refunded_u
    FROM run;
INSERT INTO ledger_entry (run_id, scope, period_key, kind, amount_u, at, actor, reason, act_id)
    SELECT run.run_id, given.scope, given.period_key, 'refund', max(run.charged_u, 0) - run.refunded_u, given.at, 'bot',
           'Runflow billed less than was refunded', given.act_id
    FROM run_view AS run JOIN ledger_entry AS given ON given.run_id = run.run_id AND given.kind = 'refund'
    WHERE run.refunded_u > max(run.charged_u, 0);
"""


SCHEMA_8 = """
-- A row is known by its bounds. One whose runs were asked for outside of them, since it was read by other bounds after
-- the operator had moved to another zone, or of which there is another with the same, is never written or read again.
UPDATE budget SET starts_at = 0, resets_at = 0 WHERE resets_at > 0 AND EXISTS (
    SELECT 1 FROM ledger_entry AS hold JOIN run USING (run_id)
    WHERE hold.kind = 'hold' AND hold.scope = budget.scope AND hold.period_key = budget.period_key
      AND (run.created_at < budget.starts_at OR run.created_at >= budget.resets_at));
UPDATE budget SET starts_at = 0, resets_at = 0 WHERE resets_at > 0 AND EXISTS (
    SELECT 1 FROM budget AS other WHERE other.scope = budget.scope AND other.starts_at = budget.starts_at
       AND other.resets_at = budget.resets_at AND other.period_key < budget.period_key);
CREATE UNIQUE INDEX one_period ON budget (scope, starts_at, resets_at) WHERE resets_at > 0;
"""


SCHEMA_9 = """
-- What each act made of the rules, and what it added: so that both can be proven by it.
CREATE TABLE rule_change (
    act_id INTEGER NOT NULL REFERENCES act (act_id),
    server TEXT NOT NULL,
    subject TEXT NOT NULL,
    kind TEXT NOT NULL,
    period TEXT,
    limit_u INTEGER,
    in_flight INTEGER,
    in_force INTEGER NOT NULL CHECK (in_force IN (0, 1)),
    PRIMARY KEY (server, subject, kind, act_id)
) STRICT;
INSERT INTO rule_change SELECT act_id, server, subject, kind, period, limit_u, in_flight, 1 FROM rule;
CREATE TRIGGER rule_changes_only_grow BEFORE UPDATE ON rule_change
    BEGIN SELECT RAISE(ABORT, 'changes of rules are never changed'); END;
CREATE TRIGGER rule_changes_are_kept BEFORE DELETE ON rule_change
    BEGIN SELECT RAISE(ABORT, 'changes of rules are never removed'); END;

DROP TRIGGER acts_only_grow;
ALTER TABLE act ADD COLUMN amount_u INTEGER CHECK (amount_u > 0);
UPDATE act SET amount_u = (
    SELECT amount_u FROM ledger_entry AS entry
    WHERE entry.act_id = act.act_id AND kind IN ('grant', 'refund') AND amount_u > 0)
    WHERE verb IN ('grant', 'refund');
CREATE TRIGGER acts_only_grow BEFORE UPDATE ON act
    BEGIN SELECT RAISE(ABORT, 'acts are never changed'); END;
"""


SCHEMA_10 = """
-- Since when a run is left alone because its row cannot be read.
ALTER TABLE run ADD COLUMN parked_at REAL;
-- Whether its place was told once that nobody knows what became of it.
ALTER TABLE run ADD COLUMN unknown_told INTEGER NOT NULL DEFAULT 0 CHECK (unknown_told IN (0, 1));
UPDATE run SET unknown_told = 1 WHERE notice = 'unknown' AND delivery IN ('delivered', 'undeliverable');
-- Whether its message is posted without the member's words, to which the place objects.
ALTER TABLE run ADD COLUMN plain INTEGER NOT NULL DEFAULT 0 CHECK (plain IN (0, 1));
-- When it was last read for a cost that was not named with its end.
ALTER TABLE run ADD COLUMN cost_checked_at REAL;
-- How often its clip could not be uploaded.
ALTER TABLE run ADD COLUMN uploads INTEGER NOT NULL DEFAULT 0 CHECK (uploads >= 0);
-- Whether it waits until a place is free: looked at then, or when it is to be given up.
ALTER TABLE run ADD COLUMN in_line INTEGER NOT NULL DEFAULT 0
    CHECK (in_line = 0 OR (in_line = 1 AND state = 'reserved'));
CREATE INDEX run_in_line ON run (in_line, created_at, run_id) WHERE in_line = 1;
DROP INDEX run_due;
CREATE INDEX run_due ON run (due_at, state, run_id) WHERE due_at IS NOT NULL;
CREATE INDEX run_overdue ON run (state) WHERE overdue = 1;
CREATE INDEX run_parked ON run (parked_at) WHERE parked_at IS NOT NULL;
DROP INDEX run_open;
CREATE INDEX run_open ON run (state, member, created_at, run_id, parked_at, overdue, in_line)
    WHERE state IN ('ambiguous', 'reserved', 'running', 'submitting');
"""


SCHEMA_11 = """
-- The roles that a run's member had when asking, for the pools that count by them; `run.roles` says the same in one
-- piece and in their order, and is what the row is read from. Of a row that cannot be read: the pools that hold it.
CREATE TABLE run_role (
    role TEXT NOT NULL,
    run_id TEXT NOT NULL REFERENCES run (run_id),
    PRIMARY KEY (role, run_id)
) STRICT, WITHOUT ROWID;
INSERT INTO run_role (role, run_id)
    SELECT role.value, run_id FROM run, json_each(run.roles) AS role
    WHERE json_type(run.roles) = 'array' AND role.type = 'text'
    UNION
    SELECT substr(scope, 6), run_id FROM ledger_entry WHERE kind = 'hold' AND scope LIKE 'role:%';
"""


SCHEMA_12 = """
-- What a limit is stands in the rules and settings, and what a cost was above its hold in the ledger. A budget row kept
-- both for a check that guarded nothing any more. Entries point to the table by its name, so the new one takes it over.
CREATE TABLE new_budget (
    scope TEXT NOT NULL,
    period_key TEXT NOT NULL,
    starts_at REAL NOT NULL DEFAULT 0,
    resets_at REAL NOT NULL DEFAULT 0,
    held_u INTEGER NOT NULL DEFAULT 0 CHECK (held_u >= 0),
    spent_u INTEGER NOT NULL DEFAULT 0 CHECK (spent_u >= 0),
    PRIMARY KEY (scope, period_key)
) STRICT;
INSERT INTO new_budget (scope, period_key, starts_at, resets_at, held_u, spent_u)
    SELECT scope, period_key, starts_at, resets_at, held_u, spent_u FROM budget ORDER BY rowid;
DROP TABLE budget;
ALTER TABLE new_budget RENAME TO budget;
CREATE INDEX budget_current ON budget (scope, resets_at);
CREATE UNIQUE INDEX one_period ON budget (scope, starts_at, resets_at) WHERE resets_at > 0;
"""


SCHEMA_13 = """
-- By what its front knows the post again that was begun last; a post of the version before has none.
ALTER TABLE run ADD COLUMN post_handle TEXT;
-- In whose language the run is told, to its member and in its place; of a run of before nobody knows.
ALTER TABLE run ADD COLUMN locale TEXT;
ALTER TABLE run ADD COLUMN place_locale TEXT;
-- Whether the bot may post there by itself, and how large a file it may post; the older limit is the member's own.
ALTER TABLE run ADD COLUMN can_post INTEGER NOT NULL DEFAULT 1 CHECK (can_post IN (0, 1));
ALTER TABLE run ADD COLUMN post_limit_bytes INTEGER;
"""


SCHEMA_14 = """
-- What one level or one report asks for is found without a look at the runs of others, by the time of its asking.
CREATE TABLE new_run_role (
    role TEXT NOT NULL,
    created_at REAL NOT NULL,
    run_id TEXT NOT NULL REFERENCES run (run_id),
    PRIMARY KEY (role, created_at, run_id)
) STRICT, WITHOUT ROWID;
INSERT INTO new_run_role (role, created_at, run_id)
    SELECT role, created_at, run_id FROM run_role JOIN run USING (run_id) ORDER BY role, created_at, run_id;
DROP TABLE run_role;
ALTER TABLE new_run_role RENAME TO run_role;
CREATE INDEX run_of_server ON run (server, created_at);
CREATE INDEX run_of_channel ON run (budget_channel, created_at);
-- None of those under way is older than the first of these. It is written when a run begins and when it ends.
CREATE INDEX run_unended ON run (created_at) WHERE ended_at IS NULL;
"""


SCHEMA_15 = """
-- In which start a run was last looked at by its time: a start looks once at all that it has not looked at yet.
ALTER TABLE run ADD COLUMN swept INTEGER NOT NULL DEFAULT 0;
DROP INDEX run_due;
CREATE INDEX run_due ON run (due_at, state, in_line, delivery, swept, run_id) WHERE due_at IS NOT NULL;
-- Those that have a place at the provider: never more than there are places. Whoever looks for others under way finds
-- them by `run_unended`.
DROP INDEX run_open;
CREATE INDEX run_placed ON run (state, created_at, run_id)
    WHERE state IN ('ambiguous', 'reserved', 'running', 'submitting') AND parked_at IS NULL AND overdue = 0
      AND in_line = 0;
"""


SCHEMA_16 = """
-- In which language everybody in a server is told, where its admins chose one. A check cannot be changed, so the table
-- is made anew.
CREATE TABLE new_rule (
    server TEXT NOT NULL,
    subject TEXT NOT NULL,
    kind TEXT NOT NULL CHECK (kind IN ('limit', 'each', 'allow', 'block', 'pause', 'on', 'desk', 'language')),
    period TEXT CHECK (period IN ('day', 'week', 'month')),
    limit_u INTEGER CHECK (limit_u >= 0),
    in_flight INTEGER CHECK (in_flight >= 0),
    language TEXT,
    act_id INTEGER NOT NULL REFERENCES act (act_id),
    PRIMARY KEY (server, subject, kind),
    CHECK (limit_u IS NULL OR period IS NOT NULL),
    CHECK ((kind = 'language') = (language IS NOT NULL))
) STRICT;
INSERT INTO new_rule (server, subject, kind, period, limit_u, in_flight, act_id)
    SELECT server, subject, kind, period, limit_u, in_flight, act_id FROM rule ORDER BY rowid;
DROP TABLE rule;
ALTER TABLE new_rule RENAME TO rule;
CREATE INDEX rule_allow ON rule (server) WHERE kind = 'allow';
ALTER TABLE rule_change ADD COLUMN language TEXT;
"""


SCHEMA_17 = """
-- The line as it is taken from: of each member in each server who has waited longest.
DROP INDEX run_in_line;
CREATE INDEX run_in_line ON run (server, member, created_at, run_id) WHERE in_line = 1;
"""


SCHEMA_18 = """
-- What a run is to another video.
ALTER TABLE run ADD COLUMN take TEXT CHECK (take IN ('yours', 'final'));
-- A wish that was refused is kept as a draft, and a question that its member said no to is withdrawn and not forgotten.
CREATE TABLE new_offer (
    offer_id TEXT PRIMARY KEY,
    kind TEXT NOT NULL CHECK (kind IN ('confirm', 'request', 'draft')),
    origin TEXT NOT NULL UNIQUE,
    server TEXT NOT NULL,
    member TEXT NOT NULL,
    wish TEXT NOT NULL CHECK (json_valid(wish)),
    choices TEXT NOT NULL CHECK (json_valid(choices)),
    expires_at REAL NOT NULL,
    over TEXT NOT NULL,
    state TEXT NOT NULL DEFAULT 'open' CHECK (state IN ('open', 'taken', 'denied', 'replaced', 'withdrawn')),
    asked_at REAL,  -- when its member put it to the admins
    act_id INTEGER REFERENCES act (act_id),  -- what an admin said to it
    run_id TEXT REFERENCES run (run_id),
    message TEXT,
    CHECK ((state = 'taken') = (run_id IS NOT NULL))
) STRICT;
INSERT INTO new_offer
    SELECT offer_id, kind, origin, server, member, wish, choices, expires_at, over, state, asked_at, act_id, run_id,
           message FROM offer ORDER BY rowid;
DROP TABLE offer;
ALTER TABLE new_offer RENAME TO offer;
CREATE INDEX offer_unused ON offer (expires_at) WHERE state IN ('open', 'withdrawn');
CREATE INDEX offer_of_member ON offer (member, expires_at);
CREATE INDEX request_of_member ON offer (server, member) WHERE kind = 'request';
CREATE UNIQUE INDEX one_request ON offer (server, member)
    WHERE kind = 'request' AND state = 'open' AND asked_at IS NOT NULL;
"""

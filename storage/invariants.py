"""What holds of all books: sentences, and for each the query that finds every row which breaks it.

Most of them look at the whole ledger, several times; `storage.quick_proof` shows in one pass that they have nothing to
find.
"""

from __future__ import annotations

from bot.domain.runs import STATE_OF_ENDING, Ending
from storage.verbs.books import COST_GIVEN

_REBUILT = """
    SELECT level.scope, level.period_key,
           coalesce(sum(CASE WHEN kind = 'hold' AND NOT EXISTS (
               SELECT 1 FROM ledger_entry AS done WHERE done.run_id = entry.run_id AND done.scope = entry.scope
                  AND done.period_key = entry.period_key AND done.kind IN ('post', 'void'))
               THEN amount_u END), 0) AS held_u,
           coalesce(sum(CASE WHEN kind IN ('post', 'adjust') THEN amount_u END), 0) AS spent_u
    FROM (SELECT scope, period_key FROM budget UNION SELECT scope, period_key FROM ledger_entry) AS level
    LEFT JOIN ledger_entry AS entry USING (scope, period_key) GROUP BY 1, 2"""
# A row each: a state, and an ending that leads to it.
_ENDINGS = ", ".join(f"('{STATE_OF_ENDING[ending]}', '{ending}')" for ending in Ending)
ENDED = "run.state IN ('succeeded', 'failed', 'cancelled')"

# The scopes that each run belongs to.
_BELONGS = """
    SELECT run_id, created_at, 'total' AS scope FROM run
    UNION ALL SELECT run_id, created_at, 'server:' || server FROM run
    UNION ALL SELECT run_id, created_at, 'channel:' || budget_channel FROM run
    UNION ALL SELECT run_id, run.created_at, 'role:' || role FROM run JOIN run_role USING (run_id)
    UNION ALL SELECT run_id, created_at, 'member:' || member FROM run"""

# The runs whose roles can be read.
_ROLES_READ = """
    SELECT run_id, roles, created_at FROM run WHERE json_type(roles) = 'array'
       AND NOT EXISTS (SELECT 1 FROM json_each(run.roles) AS role WHERE role.type != 'text')"""

# Those that can be asked of some runs alone, by an `of` behind their conditions.
STORY = """
        SELECT run_id, kind, count(*) AS levels, min(entries) AS fewest, max(entries) AS most,
               min(sum_u) AS least_u, max(sum_u) AS most_u
        FROM (SELECT run_id, kind, scope, period_key, count(*) AS entries, sum(amount_u) AS sum_u
              FROM ledger_entry WHERE kind IN ('hold', 'post', 'void', 'adjust'){of} GROUP BY 1, 2, 3, 4) AS story
        GROUP BY 1, 2 HAVING fewest != most OR least_u != most_u OR levels != (
            SELECT count(*) FROM ledger_entry AS hold WHERE hold.run_id = story.run_id AND hold.kind = 'hold')"""
GIVEN_BACK = """
        SELECT run_id, charged_u, refunded_u FROM run_view WHERE refunded_u NOT BETWEEN 0 AND max(charged_u, 0){of}"""
CHARGED = f"""
        SELECT run_id, cost_u, charged_u FROM run_view AS run
        WHERE {ENDED} AND cost_u IS NOT NULL AND charged_u != cost_u{{of}}
        UNION ALL
        SELECT run_id, cost_u, charged_u FROM run_view AS run
        WHERE {ENDED} AND cost_u IS NULL{{of}} AND (
            charged_u != CASE state WHEN 'succeeded' THEN price_u ELSE 0 END
            OR EXISTS (
                SELECT 1 FROM ledger_entry AS entry WHERE entry.run_id = run.run_id AND entry.kind != 'hold'
                   AND (entry.kind = 'adjust'
                        OR entry.kind IN ('post', 'void') AND entry.reason LIKE '%, {COST_GIVEN}')))"""

# Each query returns the rows that break the sentence. First those about runs and their entries, which are many.
LEDGER = {
    "each level's held and spent are what its entries add up to": f"""
        SELECT rebuilt.scope, rebuilt.period_key, budget.held_u, budget.spent_u,
               rebuilt.held_u AS held_by_entries, rebuilt.spent_u AS spent_by_entries
        FROM ({_REBUILT}) AS rebuilt LEFT JOIN budget USING (scope, period_key)
        WHERE (budget.held_u, budget.spent_u) IS NOT (rebuilt.held_u, rebuilt.spent_u)""",
    "an ended run has exactly one post or void for each of its holds, and any other run has none": f"""
        SELECT run.run_id, run.state, hold.scope, hold.period_key, count(done.entry_id) AS ends
        FROM run JOIN ledger_entry AS hold ON hold.run_id = run.run_id AND hold.kind = 'hold'
        LEFT JOIN ledger_entry AS done ON done.run_id = hold.run_id AND done.scope = hold.scope
             AND done.period_key = hold.period_key AND done.kind IN ('post', 'void')
        GROUP BY hold.entry_id HAVING ends != ({ENDED})""",
    "every run holds its price once on each level, also its member's, and every entry but a grant has its run": """
        SELECT run_id, member_scope AS scope, member_period AS period_key, 0 AS holds FROM run WHERE NOT EXISTS (
            SELECT 1 FROM ledger_entry AS hold WHERE hold.run_id = run.run_id AND hold.kind = 'hold'
               AND hold.scope = run.member_scope AND hold.period_key = run.member_period)
        UNION ALL
        SELECT run_id, scope, period_key, count(*) FROM ledger_entry AS hold JOIN run USING (run_id)
        WHERE kind = 'hold' GROUP BY 1, 2, 3 HAVING count(*) > 1 OR max(amount_u != price_u)
        UNION ALL
        SELECT entry.run_id, scope, period_key, NULL FROM ledger_entry AS entry LEFT JOIN run USING (run_id)
        WHERE CASE kind WHEN 'grant' THEN entry.run_id IS NOT NULL ELSE run.run_id IS NULL END""",
    "nothing is posted, given back or adjusted where nothing was held": """
        SELECT entry.* FROM ledger_entry AS entry WHERE kind IN ('post', 'void', 'adjust') AND NOT EXISTS (
            SELECT 1 FROM ledger_entry AS hold WHERE hold.run_id = entry.run_id AND hold.scope = entry.scope
               AND hold.period_key = entry.period_key AND hold.kind = 'hold')""",
    "a post never exceeds its hold, and a void gives back all of it": """
        SELECT done.* FROM ledger_entry AS done JOIN ledger_entry AS hold
            ON hold.run_id = done.run_id AND hold.scope = done.scope AND hold.period_key = done.period_key
               AND hold.kind = 'hold'
        WHERE CASE done.kind WHEN 'post' THEN done.amount_u NOT BETWEEN 0 AND hold.amount_u
                             WHEN 'void' THEN done.amount_u != hold.amount_u END""",
    "all levels of a run tell the same story: as many entries of each kind, over the same amounts": STORY.format(of=""),
    # A period without bounds was closed by an update, for it had runs from outside of those that it had.
    # A period is shorter than 40 days; to say so keeps the search to the levels of those days.
    "a run is held on every level of its scopes in whose period it was asked for, and on no other": f"""
        SELECT asked.run_id, budget.scope, budget.period_key, 'lacking' AS hold
        FROM ({_BELONGS}) AS asked JOIN budget ON budget.scope = asked.scope AND budget.starts_at <= asked.created_at
             AND budget.resets_at > asked.created_at AND budget.resets_at < asked.created_at + 40 * 86400
        WHERE NOT EXISTS (
            SELECT 1 FROM ledger_entry AS hold WHERE hold.run_id = asked.run_id AND hold.scope = budget.scope
               AND hold.period_key = budget.period_key AND hold.kind = 'hold')
        UNION ALL
        SELECT hold.run_id, scope, period_key, 'of another time' FROM ledger_entry AS hold
            JOIN budget USING (scope, period_key) JOIN run ON run.run_id = hold.run_id
        WHERE hold.kind = 'hold' AND resets_at > 0
          AND (run.created_at < budget.starts_at OR run.created_at >= budget.resets_at)
        UNION ALL
        SELECT NULL, scope, period_key, 'of no day, week or month' FROM budget WHERE resets_at - starts_at > 32 * 86400
        UNION ALL
        SELECT hold.run_id, hold.scope, hold.period_key, 'foreign' FROM ledger_entry AS hold JOIN run USING (run_id)
        WHERE hold.kind = 'hold'
          AND hold.scope NOT IN ('total', 'server:' || server, 'channel:' || budget_channel, 'member:' || member)
          AND NOT (hold.scope LIKE 'role:%' AND EXISTS (
              SELECT 1 FROM run_role AS had WHERE had.role = substr(hold.scope, 6)
                 AND had.created_at = run.created_at AND had.run_id = hold.run_id))""",
    # A row that this program cannot read says nothing of roles.
    "a run's roles are listed for their pools, with the time of its asking, all of them and no others": f"""
        WITH named AS (SELECT run_id, role.value AS role, created_at
                       FROM ({_ROLES_READ}) AS run, json_each(run.roles) AS role),
             listed AS (SELECT run_id, role, run_role.created_at
                        FROM ({_ROLES_READ}) AS run JOIN run_role USING (run_id))
        SELECT run_id, role, 'lacking' AS listed FROM (SELECT * FROM named EXCEPT SELECT * FROM listed)
        UNION ALL
        SELECT run_id, role, 'foreign' FROM (SELECT * FROM listed EXCEPT SELECT * FROM named)""",
    "what is given back of a run is never more than what it was charged": GIVEN_BACK.format(of=""),
    "a run whose cost is known is charged exactly that, and one whose cost is not as if it had none": CHARGED.format(
        of=""
    ),
    "a hold is of the moment in which its run was asked for, and its end of that in which the run ended": f"""
        SELECT entry.run_id, entry.scope, entry.kind, entry.at, run.created_at, run.ended_at
        FROM ledger_entry AS entry JOIN run USING (run_id)
        WHERE CASE entry.kind WHEN 'hold' THEN entry.at != run.created_at
                              WHEN 'post' THEN entry.at IS NOT run.ended_at
                              WHEN 'void' THEN entry.at IS NOT run.ended_at END
        UNION ALL
        SELECT run_id, state, ending, state_at, NULL, ended_at FROM run WHERE {ENDED} AND state_at != ended_at""",
}
RECORDS = {
    "every grant and refund is above 0 and named in an act by the same actor, and every rule has its act": """
        SELECT kind, scope AS subject, entry.act_id, entry.actor, entry.amount_u
        FROM ledger_entry AS entry LEFT JOIN act USING (act_id)
        WHERE kind IN ('grant', 'refund') AND NOT (kind = 'refund' AND entry.amount_u < 0 AND entry.actor = 'bot')
          AND (entry.amount_u <= 0 OR entry.actor = '' OR entry.actor IS NOT act.actor)
        UNION ALL
        SELECT kind, rule.subject, rule.act_id, act.actor, limit_u FROM rule LEFT JOIN act USING (act_id)
        WHERE coalesce(act.actor, '') = ''""",
    "every grant, refund and release is in the ledger, once and with its amount": """
        SELECT act_id, verb, subject, actor, amount_u FROM act
        WHERE verb IN ('grant', 'refund') AND amount_u IS NULL
           OR verb IN ('grant', 'refund', 'release')
              AND NOT EXISTS (SELECT 1 FROM ledger_entry AS entry WHERE entry.act_id = act.act_id)
        UNION ALL
        SELECT act.act_id, verb, subject, act.actor, sum(entry.amount_u) FROM act LEFT JOIN ledger_entry AS entry
            ON entry.act_id = act.act_id AND entry.kind IN ('grant', 'refund') AND entry.amount_u > 0
        WHERE act.amount_u IS NOT NULL
        GROUP BY act.act_id HAVING count(entry.entry_id) != 1 OR sum(entry.amount_u) != act.amount_u
        UNION ALL
        SELECT act.act_id, verb, subject, act.actor, entry.amount_u FROM ledger_entry AS entry JOIN act USING (act_id)
        WHERE entry.kind IN ('grant', 'refund') AND entry.amount_u > 0
          AND NOT (verb = entry.kind AND act.amount_u IS entry.amount_u
                   AND subject = CASE entry.kind WHEN 'grant' THEN entry.scope ELSE 'run:' || entry.run_id END)
          -- Before an approval was for one video it added to a limit.
          AND NOT (verb = 'request approved' AND origin = '')""",
    "every rule is what the last act on it made of it": """
        SELECT coalesce(last.server, rule.server) AS server, coalesce(last.subject, rule.subject) AS subject,
               coalesce(last.kind, rule.kind) AS kind, last.act_id, rule.act_id AS of_rule, rule.limit_u
        FROM (SELECT * FROM rule_change AS change WHERE NOT EXISTS (
                  SELECT 1 FROM rule_change AS later WHERE (later.server, later.subject, later.kind)
                     = (change.server, change.subject, change.kind) AND later.act_id > change.act_id)) AS last
        LEFT JOIN rule USING (server, subject, kind)
        WHERE CASE last.in_force WHEN 0 THEN rule.act_id IS NOT NULL ELSE
              (last.act_id, last.period, last.limit_u, last.in_flight, last.language)
              IS NOT (rule.act_id, rule.period, rule.limit_u, rule.in_flight, rule.language) END
        UNION ALL
        SELECT server, subject, kind, NULL, act_id, limit_u FROM rule
        WHERE NOT EXISTS (SELECT 1 FROM rule_change AS change WHERE (change.server, change.subject, change.kind)
                             = (rule.server, rule.subject, rule.kind))""",
    "a refund is for its run's member, of an ended run, once, and at most what it was charged by then": f"""
        SELECT refund.*, run.state FROM ledger_entry AS refund JOIN run USING (run_id)
        WHERE refund.kind = 'refund' AND refund.amount_u > 0 AND NOT (
            {ENDED} AND refund.scope = 'member:' || run.member
            AND refund.amount_u <= (
                SELECT coalesce(sum(charge.amount_u), 0) FROM ledger_entry AS charge
                WHERE charge.run_id = refund.run_id AND charge.scope = run.member_scope
                  AND charge.period_key = run.member_period
                  AND charge.kind != 'hold' AND charge.kind IN ('post', 'adjust')
                  AND charge.entry_id < refund.entry_id)
            AND NOT EXISTS (
                SELECT 1 FROM ledger_entry AS other WHERE other.run_id = refund.run_id AND other.kind = 'refund'
                   AND other.amount_u > 0 AND other.entry_id != refund.entry_id))""",
    # A run may say more than its offer did: options that a newer program added before the offer was taken.
    "a taken offer has one run, of its own, for the same member, place and request, at a price that was offered": """
        SELECT offer.offer_id, offer.state, offer.run_id, run.price_u FROM offer LEFT JOIN run USING (run_id)
        WHERE (offer.state = 'taken' OR offer.run_id IS NOT NULL) AND (
            (offer.state, run.origin, run.member, run.server, run.channel, run.budget_channel) IS NOT
            ('taken', json_extract(wish, '$.origin'), json_extract(wish, '$.member'), json_extract(wish, '$.server'),
             json_extract(wish, '$.channel'), json_extract(wish, '$.budget_channel'))
            OR NOT EXISTS (
                SELECT 1 FROM json_each(offer.choices) AS choice
                WHERE json_extract(choice.value, '$.price_u') = run.price_u AND NOT EXISTS (
                    SELECT 1 FROM json_each(choice.value, '$.request') AS wanted
                    WHERE wanted.value IS NOT json_extract(run.request, '$.' || wanted.key)))
            OR offer.run_id IN (SELECT run_id FROM offer GROUP BY run_id HAVING count(*) > 1))""",
    "a question is its member's own, of the wish that it keeps, and knows what was said to it": """
        SELECT offer_id, kind, state, asked_at, act_id FROM offer WHERE NOT (
            (member, server) IS (json_extract(wish, '$.member'), json_extract(wish, '$.server'))
            AND json_extract(wish, '$.reply_to') IS NULL
            AND json_array_length(choices) > 0
            AND json_extract(choices, '$[0].request') IS json_extract(wish, '$.request')
            AND NOT EXISTS (SELECT 1 FROM json_each(choices) AS choice WHERE NOT (
                    json_type(choice.value, '$.price_u') = 'integer' AND json_extract(choice.value, '$.price_u') > 0))
            AND CASE state WHEN 'open' THEN act_id IS NULL
                           WHEN 'taken' THEN kind != 'draft' AND (act_id IS NOT NULL) = (kind = 'request')
                           WHEN 'denied' THEN kind = 'request' AND act_id IS NOT NULL
                           WHEN 'withdrawn' THEN kind = 'confirm' AND act_id IS NULL
                           ELSE kind = 'request' AND asked_at IS NOT NULL AND act_id IS NULL END)
        UNION ALL
        SELECT offer_id, kind, state, asked_at, act_id FROM offer LEFT JOIN act USING (act_id)
        WHERE act_id IS NOT NULL AND (act.server IS NOT offer.server OR act.member NOT IN ('', offer.member))
        UNION ALL
        SELECT max(offer_id), kind, state, max(asked_at), NULL FROM offer
        WHERE kind = 'request' AND state = 'open' AND asked_at IS NOT NULL
        GROUP BY server, member HAVING count(*) > 1
        UNION ALL
        SELECT max(offer_id), verb, max(state), act.at, act.act_id FROM act LEFT JOIN offer USING (act_id)
        WHERE verb IN ('request approved', 'request denied') AND act.origin != ''
        GROUP BY act.act_id
        HAVING count(offer_id) != 1
            OR max(state) != CASE verb WHEN 'request approved' THEN 'taken' ELSE 'denied' END""",
    "a run has the state of its ending, and none before its end": f"""
        SELECT run_id, state, ending FROM run
        WHERE CASE WHEN {ENDED} THEN (state, coalesce(ending, '')) NOT IN (VALUES {_ENDINGS})
                   ELSE ending IS NOT NULL END""",
    "a run that is not over or not delivered will be looked at again": f"""
        SELECT run_id, state, delivery FROM run
        WHERE due_at IS NULL AND (NOT {ENDED} OR delivery IN ('pending', 'sending'))
           OR delivery != 'none' AND notice = 'result' AND NOT {ENDED}""",
}
INVARIANTS = LEDGER | RECORDS

BEGIN TRANSACTION;
CREATE TABLE "_sqlite_migrations" (
   "id" INTEGER PRIMARY KEY,
   "migration_set" TEXT,
   "name" TEXT,
   "applied_at" TEXT
) STRICT;
INSERT INTO "_sqlite_migrations" VALUES(1,'veo-bot','step_1_runs_and_ledger','2026-11-26 02:49:57.062033+00:00');
INSERT INTO "_sqlite_migrations" VALUES(2,'veo-bot','step_2_levels_rules_and_acts','2026-11-26 02:49:57.083829+00:00');
INSERT INTO "_sqlite_migrations" VALUES(3,'veo-bot','step_3_what_the_look_up_is_worth','2026-11-26 02:49:57.091184+00:00');
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
INSERT INTO "act" VALUES(1,1794312000.0,'discord:2','discord:90','Ada','limit set','member:discord:1','$5.00 per month','');
INSERT INTO "act" VALUES(2,1794312000.0,'discord:2','discord:90','Ada','limit set','role:discord:4','$40.00 per week, 9 runs at a time','');
INSERT INTO "act" VALUES(3,1794312000.0,'discord:2','discord:90','Ada','member limit set','role:discord:4','$20.00 per month','');
INSERT INTO "act" VALUES(4,1794312000.0,'discord:2','discord:90','Ada','requests here','channel:discord:77','','');
INSERT INTO "act" VALUES(5,1794312000.0,'discord:2','discord:90','Ada','block','member:discord:13','','spam');
INSERT INTO "act" VALUES(6,1794312000.0,'discord:2','discord:90','Ada','unblock','member:discord:13','','');
INSERT INTO "act" VALUES(7,1794312000.0,'discord:2','discord:90','Ada','refund','run:mltofaxfyfsxzklh','$1.00','a poor fox');
INSERT INTO "act" VALUES(8,1794312000.0,'discord:2','discord:90','Ada','refund','run:arbae6vpd6uvwwev','$1.00','another');
INSERT INTO "act" VALUES(9,1794312000.0,'discord:2','discord:90','Ada','grant','member:discord:1','$2.00','a birthday');
INSERT INTO "act" VALUES(10,1794312000.0,'discord:5','discord:80','Dora','grant','member:discord:1','$1000.00','mine');
INSERT INTO "act" VALUES(11,1794312000.0,'discord:2','discord:90','Ada','release','run:niq6l2asc5lirf73','$1.00 held','lost');
INSERT INTO "act" VALUES(12,1794312000.0,'discord:2','discord:90','Ada','limit set','channel:discord:3','$0.00 per month','');
INSERT INTO "act" VALUES(13,1794312000.0,'discord:2','discord:90','Ada','request approved','member:discord:1','$1.00, request k5mn46a66nhy7ryz','');
INSERT INTO "act" VALUES(14,1794312000.0,'discord:2','discord:90','Ada','request denied','member:discord:1','$1.00, request aqyxfdigkaoxuvdr','');
INSERT INTO "act" VALUES(15,1794312000.0,'discord:2','discord:90','Ada','limit set','channel:discord:3','$30.00 per month','');
INSERT INTO "act" VALUES(16,1794312000.0,'discord:2','discord:90','Ada','grant','channel:discord:3','$1.00','');
CREATE TABLE budget (
    scope TEXT NOT NULL,
    period_key TEXT NOT NULL,
    limit_u INTEGER,
    held_u INTEGER NOT NULL DEFAULT 0,
    spent_u INTEGER NOT NULL DEFAULT 0,
    excess_u INTEGER NOT NULL DEFAULT 0, granted_u INTEGER NOT NULL DEFAULT 0 CHECK (granted_u >= 0), starts_at REAL NOT NULL DEFAULT 0, resets_at REAL NOT NULL DEFAULT 0,
    PRIMARY KEY (scope, period_key),
    CHECK (held_u >= 0 AND spent_u >= 0 AND excess_u >= 0 AND held_u + spent_u <= limit_u + excess_u)
) STRICT;
INSERT INTO "budget" VALUES('total','2026-11',NULL,3000000,2000000,0,0,1793491200.0,1796083200.0);
INSERT INTO "budget" VALUES('server:discord:2','2026-11',NULL,3000000,2000000,0,0,1793491200.0,1796083200.0);
INSERT INTO "budget" VALUES('channel:discord:3','2026-11',NULL,3000000,2000000,0,5000000,1793505600.0,1796101200.0);
INSERT INTO "budget" VALUES('member:discord:1','2026-11',1009000000,3000000,2000000,0,1004000000,1793491200.0,1796083200.0);
INSERT INTO "budget" VALUES('role:discord:4','2026-W46',40000000,3000000,1000000,0,0,1794182400.0,1794787200.0);
CREATE TABLE installation (name TEXT PRIMARY KEY, value BLOB NOT NULL) STRICT;
INSERT INTO "installation" VALUES('media_key',X'C278E10BD6D4E14ABE5D362825D44C245F86BA79BC3F18FD4E74124D930CFCB5');
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
INSERT INTO "ledger_entry" VALUES(1,'zudszwf6n6pwecoc','total','2026-11','hold',1000000,1793491800.0,'bot','admitted',NULL);
INSERT INTO "ledger_entry" VALUES(2,'zudszwf6n6pwecoc','server:discord:2','2026-11','hold',1000000,1793491800.0,'bot','admitted',NULL);
INSERT INTO "ledger_entry" VALUES(3,'zudszwf6n6pwecoc','channel:discord:3','2026-11','hold',1000000,1793491800.0,'bot','admitted',NULL);
INSERT INTO "ledger_entry" VALUES(4,'zudszwf6n6pwecoc','member:discord:1','2026-11','hold',1000000,1793491800.0,'bot','admitted',NULL);
INSERT INTO "ledger_entry" VALUES(5,'zudszwf6n6pwecoc','total','2026-11','post',1000000,1793491800.0,'bot','video, cost by Runflow',NULL);
INSERT INTO "ledger_entry" VALUES(6,'zudszwf6n6pwecoc','server:discord:2','2026-11','post',1000000,1793491800.0,'bot','video, cost by Runflow',NULL);
INSERT INTO "ledger_entry" VALUES(7,'zudszwf6n6pwecoc','channel:discord:3','2026-11','post',1000000,1793491800.0,'bot','video, cost by Runflow',NULL);
INSERT INTO "ledger_entry" VALUES(8,'zudszwf6n6pwecoc','member:discord:1','2026-11','post',1000000,1793491800.0,'bot','video, cost by Runflow',NULL);
INSERT INTO "ledger_entry" VALUES(9,'mltofaxfyfsxzklh','total','2026-11','hold',1000000,1794312000.0,'bot','admitted',NULL);
INSERT INTO "ledger_entry" VALUES(10,'mltofaxfyfsxzklh','server:discord:2','2026-11','hold',1000000,1794312000.0,'bot','admitted',NULL);
INSERT INTO "ledger_entry" VALUES(11,'mltofaxfyfsxzklh','channel:discord:3','2026-11','hold',1000000,1794312000.0,'bot','admitted',NULL);
INSERT INTO "ledger_entry" VALUES(12,'mltofaxfyfsxzklh','role:discord:4','2026-W46','hold',1000000,1794312000.0,'bot','admitted',NULL);
INSERT INTO "ledger_entry" VALUES(13,'mltofaxfyfsxzklh','member:discord:1','2026-11','hold',1000000,1794312000.0,'bot','admitted',NULL);
INSERT INTO "ledger_entry" VALUES(14,'mltofaxfyfsxzklh','total','2026-11','post',1000000,1794312000.0,'bot','video, no cost given',NULL);
INSERT INTO "ledger_entry" VALUES(15,'mltofaxfyfsxzklh','server:discord:2','2026-11','post',1000000,1794312000.0,'bot','video, no cost given',NULL);
INSERT INTO "ledger_entry" VALUES(16,'mltofaxfyfsxzklh','channel:discord:3','2026-11','post',1000000,1794312000.0,'bot','video, no cost given',NULL);
INSERT INTO "ledger_entry" VALUES(17,'mltofaxfyfsxzklh','role:discord:4','2026-W46','post',1000000,1794312000.0,'bot','video, no cost given',NULL);
INSERT INTO "ledger_entry" VALUES(18,'mltofaxfyfsxzklh','member:discord:1','2026-11','post',1000000,1794312000.0,'bot','video, no cost given',NULL);
INSERT INTO "ledger_entry" VALUES(19,'mltofaxfyfsxzklh','member:discord:1','2026-11','refund',1000000,1794312000.0,'discord:90','a poor fox',7);
INSERT INTO "ledger_entry" VALUES(20,'mltofaxfyfsxzklh','total','2026-11','adjust',-1000000,1794312060.0,'bot','Runflow named the cost later',NULL);
INSERT INTO "ledger_entry" VALUES(21,'mltofaxfyfsxzklh','server:discord:2','2026-11','adjust',-1000000,1794312060.0,'bot','Runflow named the cost later',NULL);
INSERT INTO "ledger_entry" VALUES(22,'mltofaxfyfsxzklh','channel:discord:3','2026-11','adjust',-1000000,1794312060.0,'bot','Runflow named the cost later',NULL);
INSERT INTO "ledger_entry" VALUES(23,'mltofaxfyfsxzklh','role:discord:4','2026-W46','adjust',-1000000,1794312060.0,'bot','Runflow named the cost later',NULL);
INSERT INTO "ledger_entry" VALUES(24,'mltofaxfyfsxzklh','member:discord:1','2026-11','adjust',-1000000,1794312060.0,'bot','Runflow named the cost later',NULL);
INSERT INTO "ledger_entry" VALUES(25,'arbae6vpd6uvwwev','total','2026-11','hold',1000000,1794312000.0,'bot','admitted',NULL);
INSERT INTO "ledger_entry" VALUES(26,'arbae6vpd6uvwwev','server:discord:2','2026-11','hold',1000000,1794312000.0,'bot','admitted',NULL);
INSERT INTO "ledger_entry" VALUES(27,'arbae6vpd6uvwwev','channel:discord:3','2026-11','hold',1000000,1794312000.0,'bot','admitted',NULL);
INSERT INTO "ledger_entry" VALUES(28,'arbae6vpd6uvwwev','role:discord:4','2026-W46','hold',1000000,1794312000.0,'bot','admitted',NULL);
INSERT INTO "ledger_entry" VALUES(29,'arbae6vpd6uvwwev','member:discord:1','2026-11','hold',1000000,1794312000.0,'bot','admitted',NULL);
INSERT INTO "ledger_entry" VALUES(30,'arbae6vpd6uvwwev','total','2026-11','post',1000000,1794312000.0,'bot','video, cost by Runflow',NULL);
INSERT INTO "ledger_entry" VALUES(31,'arbae6vpd6uvwwev','server:discord:2','2026-11','post',1000000,1794312000.0,'bot','video, cost by Runflow',NULL);
INSERT INTO "ledger_entry" VALUES(32,'arbae6vpd6uvwwev','channel:discord:3','2026-11','post',1000000,1794312000.0,'bot','video, cost by Runflow',NULL);
INSERT INTO "ledger_entry" VALUES(33,'arbae6vpd6uvwwev','role:discord:4','2026-W46','post',1000000,1794312000.0,'bot','video, cost by Runflow',NULL);
INSERT INTO "ledger_entry" VALUES(34,'arbae6vpd6uvwwev','member:discord:1','2026-11','post',1000000,1794312000.0,'bot','video, cost by Runflow',NULL);
INSERT INTO "ledger_entry" VALUES(35,'arbae6vpd6uvwwev','member:discord:1','2026-11','refund',1000000,1794312000.0,'discord:90','another',8);
INSERT INTO "ledger_entry" VALUES(36,NULL,'member:discord:1','2026-11','grant',2000000,1794312000.0,'discord:90','a birthday',9);
INSERT INTO "ledger_entry" VALUES(37,NULL,'member:discord:1','2026-11','grant',1000000000,1794312000.0,'discord:80','mine',10);
INSERT INTO "ledger_entry" VALUES(38,'oodcmsbpmhdcg7gb','total','2026-11','hold',1000000,1794312000.0,'bot','admitted',NULL);
INSERT INTO "ledger_entry" VALUES(39,'oodcmsbpmhdcg7gb','server:discord:2','2026-11','hold',1000000,1794312000.0,'bot','admitted',NULL);
INSERT INTO "ledger_entry" VALUES(40,'oodcmsbpmhdcg7gb','channel:discord:3','2026-11','hold',1000000,1794312000.0,'bot','admitted',NULL);
INSERT INTO "ledger_entry" VALUES(41,'oodcmsbpmhdcg7gb','role:discord:4','2026-W46','hold',1000000,1794312000.0,'bot','admitted',NULL);
INSERT INTO "ledger_entry" VALUES(42,'oodcmsbpmhdcg7gb','member:discord:1','2026-11','hold',1000000,1794312000.0,'bot','admitted',NULL);
INSERT INTO "ledger_entry" VALUES(43,'niq6l2asc5lirf73','total','2026-11','hold',1000000,1794312000.0,'bot','admitted',NULL);
INSERT INTO "ledger_entry" VALUES(44,'niq6l2asc5lirf73','server:discord:2','2026-11','hold',1000000,1794312000.0,'bot','admitted',NULL);
INSERT INTO "ledger_entry" VALUES(45,'niq6l2asc5lirf73','channel:discord:3','2026-11','hold',1000000,1794312000.0,'bot','admitted',NULL);
INSERT INTO "ledger_entry" VALUES(46,'niq6l2asc5lirf73','role:discord:4','2026-W46','hold',1000000,1794312000.0,'bot','admitted',NULL);
INSERT INTO "ledger_entry" VALUES(47,'niq6l2asc5lirf73','member:discord:1','2026-11','hold',1000000,1794312000.0,'bot','admitted',NULL);
INSERT INTO "ledger_entry" VALUES(48,'niq6l2asc5lirf73','total','2026-11','void',1000000,1794312000.0,'discord:90','failed, no cost given',11);
INSERT INTO "ledger_entry" VALUES(49,'niq6l2asc5lirf73','server:discord:2','2026-11','void',1000000,1794312000.0,'discord:90','failed, no cost given',11);
INSERT INTO "ledger_entry" VALUES(50,'niq6l2asc5lirf73','channel:discord:3','2026-11','void',1000000,1794312000.0,'discord:90','failed, no cost given',11);
INSERT INTO "ledger_entry" VALUES(51,'niq6l2asc5lirf73','role:discord:4','2026-W46','void',1000000,1794312000.0,'discord:90','failed, no cost given',11);
INSERT INTO "ledger_entry" VALUES(52,'niq6l2asc5lirf73','member:discord:1','2026-11','void',1000000,1794312000.0,'discord:90','failed, no cost given',11);
INSERT INTO "ledger_entry" VALUES(53,NULL,'channel:discord:3','2026-11','grant',4000000,1794312000.0,'discord:90','',13);
INSERT INTO "ledger_entry" VALUES(54,'fi3rxxrclbefk4b6','total','2026-11','hold',1000000,1794312000.0,'bot','admitted',NULL);
INSERT INTO "ledger_entry" VALUES(55,'fi3rxxrclbefk4b6','server:discord:2','2026-11','hold',1000000,1794312000.0,'bot','admitted',NULL);
INSERT INTO "ledger_entry" VALUES(56,'fi3rxxrclbefk4b6','channel:discord:3','2026-11','hold',1000000,1794312000.0,'bot','admitted',NULL);
INSERT INTO "ledger_entry" VALUES(57,'fi3rxxrclbefk4b6','role:discord:4','2026-W46','hold',1000000,1794312000.0,'bot','admitted',NULL);
INSERT INTO "ledger_entry" VALUES(58,'fi3rxxrclbefk4b6','member:discord:1','2026-11','hold',1000000,1794312000.0,'bot','admitted',NULL);
INSERT INTO "ledger_entry" VALUES(59,NULL,'channel:discord:3','2026-11','grant',1000000,1794312000.0,'discord:90','',16);
INSERT INTO "ledger_entry" VALUES(60,'ztc6smcpyha6user','total','2026-11','hold',1000000,1794312000.0,'bot','admitted',NULL);
INSERT INTO "ledger_entry" VALUES(61,'ztc6smcpyha6user','server:discord:2','2026-11','hold',1000000,1794312000.0,'bot','admitted',NULL);
INSERT INTO "ledger_entry" VALUES(62,'ztc6smcpyha6user','channel:discord:3','2026-11','hold',1000000,1794312000.0,'bot','admitted',NULL);
INSERT INTO "ledger_entry" VALUES(63,'ztc6smcpyha6user','role:discord:4','2026-W46','hold',1000000,1794312000.0,'bot','admitted',NULL);
INSERT INTO "ledger_entry" VALUES(64,'ztc6smcpyha6user','member:discord:1','2026-11','hold',1000000,1794312000.0,'bot','admitted',NULL);
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
INSERT INTO "offer" VALUES('k5mn46a66nhy7ryz','request','origin-6','{"origin": "origin-6", "member": "discord:1", "member_name": "Bo", "server": "discord:2", "channel": "discord:3", "budget_channel": "discord:3", "roles": ["discord:4"], "request": {"prompt": "a red fox", "duration": "4s", "resolution": "720p", "aspect_ratio": "16:9", "generate_audio": true, "negative_prompt": null, "seed": null, "auto_fix": true, "safety_tolerance": "4"}, "reply_to": null, "reply_until": null, "upload_limit_bytes": null}','[{"request": {"prompt": "a red fox", "duration": "4s", "resolution": "720p", "aspect_ratio": "16:9", "generate_audio": true, "negative_prompt": null, "seed": null, "auto_fix": true, "safety_tolerance": "4"}, "price_u": 1000000}]',1794398400.0,'channel:discord:3','taken','fi3rxxrclbefk4b6','discord:77/0');
INSERT INTO "offer" VALUES('aqyxfdigkaoxuvdr','request','origin-7','{"origin": "origin-7", "member": "discord:1", "member_name": "Bo", "server": "discord:2", "channel": "discord:3", "budget_channel": "discord:3", "roles": ["discord:4"], "request": {"prompt": "a red fox", "duration": "4s", "resolution": "720p", "aspect_ratio": "16:9", "generate_audio": true, "negative_prompt": null, "seed": null, "auto_fix": true, "safety_tolerance": "4"}, "reply_to": null, "reply_until": null, "upload_limit_bytes": null}','[{"request": {"prompt": "a red fox", "duration": "4s", "resolution": "720p", "aspect_ratio": "16:9", "generate_audio": true, "negative_prompt": null, "seed": null, "auto_fix": true, "safety_tolerance": "4"}, "price_u": 1000000}]',1794398400.0,'channel:discord:3','denied',NULL,'discord:77/1');
INSERT INTO "offer" VALUES('va6jqaz4vlqbopvy','request','origin-8','{"origin": "origin-8", "member": "discord:1", "member_name": "Bo", "server": "discord:2", "channel": "discord:3", "budget_channel": "discord:3", "roles": ["discord:4"], "request": {"prompt": "a red fox", "duration": "4s", "resolution": "720p", "aspect_ratio": "16:9", "generate_audio": true, "negative_prompt": null, "seed": null, "auto_fix": true, "safety_tolerance": "4"}, "reply_to": null, "reply_until": null, "upload_limit_bytes": null}','[{"request": {"prompt": "a red fox", "duration": "4s", "resolution": "720p", "aspect_ratio": "16:9", "generate_audio": true, "negative_prompt": null, "seed": null, "auto_fix": true, "safety_tolerance": "4"}, "price_u": 1000000}]',1794398400.0,'channel:discord:3','open',NULL,'discord:77/2');
INSERT INTO "offer" VALUES('tve2lhd7dznx566t','request','origin-9','{"origin": "origin-9", "member": "discord:1", "member_name": "Bo", "server": "discord:2", "channel": "discord:3", "budget_channel": "discord:3", "roles": ["discord:4"], "request": {"prompt": "a red fox", "duration": "4s", "resolution": "720p", "aspect_ratio": "16:9", "generate_audio": true, "negative_prompt": null, "seed": null, "auto_fix": true, "safety_tolerance": "4"}, "reply_to": null, "reply_until": null, "upload_limit_bytes": null}','[{"request": {"prompt": "a red fox", "duration": "4s", "resolution": "720p", "aspect_ratio": "16:9", "generate_audio": true, "negative_prompt": null, "seed": null, "auto_fix": true, "safety_tolerance": "4"}, "price_u": 1000000}]',1794398400.0,'channel:discord:3','open',NULL,'discord:77/3');
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
INSERT INTO "rule" VALUES('discord:2','member:discord:1','limit','month',5000000,NULL,1);
INSERT INTO "rule" VALUES('discord:2','role:discord:4','limit','week',40000000,9,2);
INSERT INTO "rule" VALUES('discord:2','role:discord:4','each','month',20000000,NULL,3);
INSERT INTO "rule" VALUES('discord:2','channel:discord:77','desk',NULL,NULL,NULL,4);
INSERT INTO "rule" VALUES('discord:2','channel:discord:3','limit','month',30000000,NULL,15);
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
    upload_limit_bytes INTEGER, member_name TEXT NOT NULL DEFAULT '', budget_channel TEXT NOT NULL DEFAULT '', roles TEXT NOT NULL DEFAULT '[]' CHECK (json_valid(roles)), unclear_posts INTEGER NOT NULL DEFAULT 0 CHECK (unclear_posts >= 0), empty_since REAL, lookup_fresh INTEGER CHECK (lookup_fresh IN (0, 1)), last_try_at REAL, direct INTEGER NOT NULL DEFAULT 0 CHECK (direct IN (0, 1)),
    CHECK ((state IN ('succeeded', 'failed', 'cancelled')) = (ended_at IS NOT NULL)),
    CHECK ((ended_at IS NULL) = (ending IS NULL)),
    CHECK (state != 'running' OR provider_id IS NOT NULL)
) STRICT;
INSERT INTO "run" VALUES('zudszwf6n6pwecoc','origin-1','discord:1','discord:2','discord:3','{"prompt": "a red fox", "duration": "4s", "resolution": "720p", "aspect_ratio": "16:9", "generate_audio": true, "negative_prompt": null, "seed": null, "auto_fix": true, "safety_tolerance": "4"}',1000000,'member:discord:1','2026-11','succeeded',1793491800.0,1793491800.0,1793491800.0,0,1,1793491800.0,'qidopy2vssvgwnbplufduxsiil5likhx',NULL,'job-zudszwf6n6pwecoc',NULL,NULL,NULL,0,1793491800.0,'video',1000000,0,NULL,NULL,NULL,NULL,'result','pending',0,NULL,NULL,NULL,NULL,NULL,'Bo','discord:3','["discord:4"]',0,NULL,NULL,NULL,0);
INSERT INTO "run" VALUES('mltofaxfyfsxzklh','origin-2','discord:1','discord:2','discord:3','{"prompt": "a red fox", "duration": "4s", "resolution": "720p", "aspect_ratio": "16:9", "generate_audio": true, "negative_prompt": null, "seed": null, "auto_fix": true, "safety_tolerance": "4"}',1000000,'member:discord:1','2026-11','succeeded',1794312000.0,1794312000.0,1794312000.0,0,1,1794312000.0,'wntrd2zza2t4qyb5ohkatz5fjwd33qpx',NULL,'job-mltofaxfyfsxzklh',NULL,NULL,NULL,0,1794312000.0,'video',0,0,NULL,NULL,NULL,NULL,'result','pending',0,NULL,NULL,NULL,NULL,NULL,'Bo','discord:3','["discord:4"]',0,NULL,NULL,NULL,0);
INSERT INTO "run" VALUES('arbae6vpd6uvwwev','origin-3','discord:1','discord:2','discord:3','{"prompt": "a red fox", "duration": "4s", "resolution": "720p", "aspect_ratio": "16:9", "generate_audio": true, "negative_prompt": null, "seed": null, "auto_fix": true, "safety_tolerance": "4"}',1000000,'member:discord:1','2026-11','succeeded',1794312000.0,1794312000.0,1794312000.0,0,1,1794312000.0,'pdpuhzatcz5orwo45m3xmkbtqenhdjzd',NULL,'job-arbae6vpd6uvwwev',NULL,NULL,NULL,0,1794312000.0,'video',1000000,0,NULL,NULL,NULL,NULL,'result','pending',0,NULL,NULL,NULL,NULL,NULL,'Bo','discord:3','["discord:4"]',0,NULL,NULL,NULL,0);
INSERT INTO "run" VALUES('oodcmsbpmhdcg7gb','origin-4','discord:1','discord:2','discord:3','{"prompt": "a red fox", "duration": "4s", "resolution": "720p", "aspect_ratio": "16:9", "generate_audio": true, "negative_prompt": null, "seed": null, "auto_fix": true, "safety_tolerance": "4"}',1000000,'member:discord:1','2026-11','unknown',1794312000.0,1794312000.0,1794312000.0,0,1,1794312000.0,'etkemgb4nzgz5infuxgpolrbidbqjpp4',NULL,NULL,NULL,NULL,NULL,0,NULL,NULL,NULL,0,NULL,NULL,NULL,NULL,NULL,'none',0,NULL,NULL,NULL,NULL,NULL,'Bo','discord:3','["discord:4"]',0,NULL,NULL,NULL,0);
INSERT INTO "run" VALUES('niq6l2asc5lirf73','origin-5','discord:1','discord:2','discord:3','{"prompt": "a red fox", "duration": "4s", "resolution": "720p", "aspect_ratio": "16:9", "generate_audio": true, "negative_prompt": null, "seed": null, "auto_fix": true, "safety_tolerance": "4"}',1000000,'member:discord:1','2026-11','failed',1794312000.0,1794312000.0,1794312000.0,0,1,1794312000.0,'eevynne6mvvm6bsbc2nawwpu4yuuhhzf',NULL,NULL,NULL,NULL,NULL,0,1794312000.0,'failed',NULL,0,NULL,NULL,'RELEASED','an admin gave it up','result','pending',0,NULL,NULL,NULL,NULL,NULL,'Bo','discord:3','["discord:4"]',0,NULL,NULL,NULL,0);
INSERT INTO "run" VALUES('fi3rxxrclbefk4b6','origin-6','discord:1','discord:2','discord:3','{"prompt": "a red fox", "duration": "4s", "resolution": "720p", "aspect_ratio": "16:9", "generate_audio": true, "negative_prompt": null, "seed": null, "auto_fix": true, "safety_tolerance": "4"}',1000000,'member:discord:1','2026-11','reserved',1794312000.0,1794312000.0,1794312000.0,0,0,NULL,'pke7howks5afh27keg2oqm6x33glyhyq',NULL,NULL,NULL,NULL,NULL,0,NULL,NULL,NULL,0,NULL,NULL,NULL,NULL,NULL,'none',0,NULL,NULL,NULL,NULL,NULL,'Bo','discord:3','["discord:4"]',0,NULL,NULL,NULL,0);
INSERT INTO "run" VALUES('ztc6smcpyha6user','origin-10','discord:1','discord:2','discord:3','{"prompt": "a red fox", "duration": "4s", "resolution": "720p", "aspect_ratio": "16:9", "generate_audio": true, "negative_prompt": null, "seed": null, "auto_fix": true, "safety_tolerance": "4"}',1000000,'member:discord:1','2026-11','reserved',1794312000.0,1794312000.0,1794312000.0,0,0,NULL,'f2lmcohx5ykt23afvdg5fn5q64zyg6re',NULL,NULL,NULL,NULL,NULL,0,NULL,NULL,NULL,0,NULL,NULL,NULL,NULL,NULL,'none',0,NULL,NULL,NULL,NULL,NULL,'Bo','discord:3','["discord:4"]',0,NULL,NULL,NULL,0);
CREATE UNIQUE INDEX "idx__sqlite_migrations_migration_set_name"
    ON "_sqlite_migrations" ("migration_set", "name");
CREATE INDEX run_due ON run (due_at) WHERE due_at IS NOT NULL;
CREATE INDEX run_of_member ON run (member, created_at);
CREATE INDEX run_reply ON run (reply_until) WHERE reply_until IS NOT NULL;
CREATE INDEX run_by_time ON run (created_at);
CREATE INDEX run_open ON run (state, member, created_at, run_id)
    WHERE state IN ('ambiguous', 'reserved', 'running', 'submitting');
CREATE INDEX budget_current ON budget (scope, resets_at);
CREATE INDEX act_of_server ON act (server, act_id);
CREATE TRIGGER acts_only_grow BEFORE UPDATE ON act
    BEGIN SELECT RAISE(ABORT, 'acts are never changed'); END;
CREATE TRIGGER acts_are_kept BEFORE DELETE ON act
    BEGIN SELECT RAISE(ABORT, 'acts are never removed'); END;
CREATE INDEX rule_allow ON rule (server) WHERE kind = 'allow';
CREATE INDEX offer_open ON offer (expires_at) WHERE state = 'open';
CREATE UNIQUE INDEX one_hold ON ledger_entry (run_id, scope, period_key) WHERE kind = 'hold';
CREATE UNIQUE INDEX one_end ON ledger_entry (run_id, scope, period_key) WHERE kind IN ('post', 'void');
CREATE UNIQUE INDEX one_refund ON ledger_entry (run_id) WHERE kind = 'refund';
CREATE INDEX entry_of_run ON ledger_entry (run_id, kind) WHERE kind != 'hold';
CREATE TRIGGER ledger_only_grows BEFORE UPDATE ON ledger_entry
    BEGIN SELECT RAISE(ABORT, 'ledger entries are never changed'); END;
CREATE TRIGGER ledger_keeps_all BEFORE DELETE ON ledger_entry
    BEGIN SELECT RAISE(ABORT, 'ledger entries are never removed'); END;
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
COMMIT;

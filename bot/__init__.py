"""veo-bot: `/veo` in Discord becomes a Google Veo 3.1 video from Runflow, inside a spend quota.

The way of one `/veo`, from the click to the posted video:

1. `cogs.veo.Veo.veo` acknowledges the interaction, turns its options into a `Wish`, and has `cogs.servers.Servers`
   say whether the bot is switched on there.
2. `bot.admission.Admission.ask` prices it. `storage.sqlite.SqliteStore.admit` reads the rules, has
   `bot.quota.Policy` make the levels of them, holds the price on each (`storage.books.hold`) and writes the run, in
   one transaction. A dear wish becomes a question first, and one over a limit may become a request to the admins:
   their buttons stand in `cogs.buttons`, and `cogs.presses` takes the answers back to `Admission`.
3. The engine's loop finds the run due and takes it one step on each time: `_submit` commits the intent
   and has `bot.runflow.Runflow.submit` send the order, and `_look_up` finds out what one without a clear
   answer bought (`bot.lookup` says what finding nothing is worth); `_observe` reads the run's record until
   it has an end, woken by its own pauses or by a callback through `bot.web`; `_settle` resolves the holds
   by what Runflow billed; `bot.delivery.Deliverer` streams the clip to disk and has
   `cogs.delivery.DiscordFront.post` post it.
4. After each step the row says what is next, so any process can go on where the last one stopped.

Where things are:

    __main__        the command line
    app             builds every part from the settings; the one place that knows all of them
    web             callbacks, links to clips: what the public may ask for
    health          whether it works, and figures: for the operator
    listener        one port, and what strangers may do to it
    runflow         speaks Runflow
    telemetry       logs without secrets
    clock           what time it is, and how much of it surely passed
    engine          moves runs
    delivery        posts what there is to tell of a run, once
    admission       takes wishes, asks where asking is due, makes runs
    administration  what admins may do
    ports           what these four ask of the world
    media           clips on disk and the links to them
    films           what sort of film a file is, and whether it is whole
    quota           rules, levels, and where each stands: pure
    report          what was spent, by whom, where and when: pure
    ledger          amounts, prices, periods, settlement: pure
    runs            what a run is, its states and moves: pure
    lookup          what it is worth that an order is not found: pure
    settings        every knob
    environment     how the knobs are written around the process; the only reader of it
    texts           outside text before people read it: pure
    errors          every error with the sentence that its reader sees

Beside it stand `cogs` (the Discord front), `storage` (the database) and `sandbox` (a Discord and a Runflow that
need no token). Imports point down this list only; `make test` checks it.
"""

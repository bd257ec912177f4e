"""veo-bot: `/veo` in Discord becomes a Google Veo 3.1 video from Runflow, inside a spend quota.

The way of one `/veo`, from the click to the posted video:

1. `cogs.veo.Veo.veo` acknowledges the interaction, turns its options into a `Wish`, and has `cogs.servers.Servers`
   say whether the bot is switched on there.
2. `bot.services.admission.Admission.ask` prices it. `storage.verbs.admissions.admit` reads the rules, has
   `bot.domain.limits.Policy` make the levels of them, holds the price on each (`storage.verbs.books.hold`) and writes
   the run, in one transaction. A dear wish becomes a question first, and one over a limit may become a request to the
   admins: their buttons stand in `cogs.buttons`, and `cogs.presses` takes the answers back to `Admission`.
3. The engine's loop finds the run due and takes it one step on each time: `_submit` commits the intent
   and has `bot.runflow.client.Runflow.submit` send the order, and `_look_up` finds out what one without a clear
   answer bought (`bot.domain.lookup` says what finding nothing is worth); `_observe` reads the run's record until
   it has an end, woken by its own pauses or by a callback through `bot.web.public`; `_settle` resolves the holds
   by what Runflow billed; `bot.services.delivery.Deliverer` streams the clip to disk and has
   `cogs.front.DiscordFront.post` post it.
4. After each step the row says what is next, so any process can go on where the last one stopped.

Where things are:

    __main__     the command line
    app          builds every part from the settings; the one place that knows all of them
    web          what the public may ask for (callbacks, links to clips), and the operator (health, figures)
    runflow      speaks Runflow
    telemetry    logs without secrets
    media        clips on disk and the links to them
    clock        what time it is, and how much of it surely passed
    services     use cases: admission, administration, the engine that moves runs, their delivery
    ports        what these ask of the world
    domain       pure decisions: runs, money, limits, look-ups, reports
    settings     every knob
    environment  how the knobs are written around the process; the only reader of it
    errors       every error with the sentence that its reader sees

Beside it stand `cogs` (the Discord front), `storage` (the database) and `sandbox` (a Discord and a Runflow that
need no token). Imports point down this list only; `make test` checks it.
"""

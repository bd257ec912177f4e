"""veo-bot: `/veo` in Discord becomes a Google Veo 3.1 video from Runflow, inside a spending limit.

The way of one `/veo`, from the click to the posted video:

 1. `cogs.veo.Veo.veo` acknowledges the interaction, and `cogs.wishes.Wishes.make` checks the place and makes a `Wish`
    of its options. A button or a form (`cogs.presses`) comes in there, too.
 2. `bot.services.admission.Admission.ask` prices it; an expensive one becomes a question (`bot.views.wishes`) first,
    and one that is refused is kept as a draft.
 3. `storage.verbs.admissions.admit` lets `bot.domain.limits.Policy` make the levels, puts the price on hold on each of
    them (`storage.verbs.books.hold`) and writes the run with the intent to order it, all in one transaction.
 4. `bot.services.engine.Engine.begin` hands the run to `bot.services.steps.Steps`, which takes it a step further
    whenever it has news or is due. Where no place is free it waits in line, and its first step comes in its turn
    (`bot.domain.queue` says whose it is; `bot.services.cards` shows its place).
 5. The first step is the order: `bot.runflow.client.Runflow.submit` sends it.
 6. If no clear answer came, `bot.services.search.Search` finds out what was bought (`bot.domain.lookup` decides).
 7. A callback (`bot.web.public`) or the time of the next look (`bot.services.pace.Schedule`) begins the next step,
    which reads the run's record; and so on until that has an end.
 8. `storage.verbs.runs.settle` turns the holds into charges by what Runflow billed.
 9. `bot.services.delivery.Deliverer` streams the clip to disk and commits the intent to post.
10. `cogs.front.DiscordFront.post` posts `bot.views.runs.notice` with the clip, in the words of `bot.texts`.

After each step the row says what is next, so any process can go on where the last one stopped.

Where things are:

    __main__     the command line
    app          builds every part from the settings; the only module that knows all of them
    web          what the public can ask for (callbacks, links to clips), and the operator (health, metrics)
    runflow      speaks Runflow
    texts        every sentence for people, in their language
    media        clips on disk and signed links to them
    telemetry    what the log and the metrics look like
    clock        what time it is, and how much of it has surely passed
    services     use cases: admission, finding again, administration, the engine, delivery
    ports        what the services ask of the outside, as Protocols
    views        what is shown, as data
    domain       pure decisions: runs, models, prices, limits, periods, look-ups, reports
    settings     every setting; `settings_reader` reads and checks them, `settings_docs` prints them
    environment  the texts of settings, as people, Docker and Kubernetes write them; `proxies` the proxies
    child        runs what costs memory in a process that ends
    errors       every error, as a code with its figures
    log          events with fields
    facts        what sentences are made of

Beside it stand `cogs` (the Discord front), `storage` (the database) and `sandbox` (a Discord and a Runflow that
need no token). Imports point down this list only; `make test` checks it.
"""

"""The Discord front: the only code that imports discord.

`client` logs in and keeps the registered commands up to date, `gateway` keeps it connected. `veo`, `account` and
`admin` are the commands, `presses` answers the buttons and the `forms`; all that asks for a video goes through
`wishes`. `acknowledge` answers before any work is done, `answers` shows what came of it. `context` reads who asks,
where and in which language; `servers` decides whether the bot is on there, and who its owner is. `front` posts
messages, `render` shows views in Discord, `ids` turns Discord's ids into names and back, `chart` draws the report's
picture. Nothing here decides about money.
"""

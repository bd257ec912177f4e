"""The Discord front: the only code that imports discord.

`client` logs in and keeps the registered commands as they should be; `veo`, `account` and `admin` read wishes and acts
and call the core; `buttons` are what is shown to press and `presses` what a press does; `delivery` puts progress and
finished videos where members see them; `words` is every sentence that they read, `chart` the picture of a report.
Nothing here decides about money.
"""

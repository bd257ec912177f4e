"""The Discord front: the only code that imports discord.

`client` logs in and keeps the registered commands as they should be; `veo` and `account` read wishes and
call the engine; `delivery` puts progress and finished videos where members see them; `words` is every
sentence that they read. Nothing here decides about money.
"""

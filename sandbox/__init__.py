"""Local stand-ins for Discord and Runflow, without tokens or costs: for the demo, the tests and other bots.

This package imports nothing from the bot and shares no code with the bot's clients, so it checks what they send
independently. It is not part of the production image.
"""

"""A Discord and a Runflow that need no token: for the demo, the tests and other people's bots.

Imports nothing of the bot's and shares no code with the clients that it imitates, so that it is an
independent witness of what they send. It is not part of the production image.
"""

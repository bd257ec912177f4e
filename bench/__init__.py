"""Measurements of the product through its outer edges, each beside a baseline of the same run: `make bench`.

    processes   starts the real bot or the bare one, and reads its CPU time, memory and longest stops
    bare        the baseline: a bot that makes the same calls and keeps nothing
    outside     a quick stand-in for Discord and Runflow, and the members who click; `payloads`: what it says
    books       databases with many runs, made of one that the real bot wrote
    table       figures, goals and verdicts
    parts       what the measurements share; they are in `orders`, `callbacks`, `memory`, `reads`, `verbs` and `growth`

Absolute figures are the machine's; what counts is how ours stand to the baseline's.
"""

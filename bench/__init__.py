"""Measurements: each a ratio beside a baseline of the same run, since absolute figures are the machine's."""

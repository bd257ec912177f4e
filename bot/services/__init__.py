"""Use cases over the ports: who may ask, how a run moves, and how its end is told. No I/O of their own."""

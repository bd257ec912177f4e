"""What runs, money, limits and time mean: pure decisions without a clock, a database or a network."""

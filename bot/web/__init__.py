"""Two ports: `public` for callbacks and clips, `operator` for health and metrics. `listener` limits their clients."""

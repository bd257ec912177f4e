"""The two ports: `public` for callbacks and clips, `operator` for health and figures; `listener` bounds strangers."""

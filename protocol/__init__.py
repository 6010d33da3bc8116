"""The shared language of agent, API and workers: models and pure functions, no I/O and no clock reads."""

"""One file a noun: a route translates, and decides nothing."""

"""Everything that speaks Redis, and the pure rules of the server."""

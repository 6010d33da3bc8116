"""The agent on a host: takes commands by heartbeat, profiles real processes, says how each command ended."""

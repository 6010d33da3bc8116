"""The command line's options, a module for each group.

A module declares its options (`FLAGS`) and builds from what was given one frozen dataclass (`read`), which is handed
down. To add an option: one line in `FLAGS`, one field, one line in `read`. No module here imports what profiling
needs: the help must not pay for it. A part of the agent that has a dataclass of its own for its tunables gets that.
"""

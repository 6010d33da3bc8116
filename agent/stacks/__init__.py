"""Collapsed stacks as values. Pure: no I/O, no clock, no processes.

A profile is a `dict[str, int]`: the frames of a stack, root first, joined by `;`, and how often it was seen. A frame is
`function (file)`, in Python `function (file.py:line)` with the line of the definition, so that the function's name is
what stands before the last ` (`. A function of the kernel is `function_[k]`. The root frame is the process's name.
"""

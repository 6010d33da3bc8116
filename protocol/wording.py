"""How things are told to people, the same way everywhere."""


def counted(number: int, noun: str) -> str:
    """`1 host`, `2 hosts`, `10,000 hosts`."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"

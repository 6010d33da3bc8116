import asyncio

from broker.breath import Breath


async def turns_of_others(breath: Breath, steps: int) -> int:
    turns = 0

    async def other() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    beside = asyncio.create_task(other())
    for _ in range(steps):
        await breath.take()
    beside.cancel()
    return turns


async def test_others_have_their_turn_once_it_is_time_and_not_before() -> None:
    assert await turns_of_others(Breath(longest=0), 50) == 50
    assert await turns_of_others(Breath(longest=1_000), 50) == 0

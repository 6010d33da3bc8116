import pytest

from agent.stacks import depth

BROKEN = {"[unknown];total (shop)": 3, "[shop];[libc.so.6];entry_[k];read_[k]": 1}
WHOLE = {"main (shop);total (shop)": 5, "main (shop);read (libc.so.6);entry_[k];read_[k]": 3}


def test_neither_placeholders_nor_the_kernels_frames_count() -> None:
    assert depth.named_frames(BROKEN) == pytest.approx(0.75)
    assert depth.named_frames(WHOLE) == 2
    assert depth.named_frames({}) == 0


def test_the_deeper_account_is_taken_with_the_count_of_the_frame_pointers() -> None:
    chosen = depth.deeper({1: BROKEN}, {1: WHOLE})
    assert chosen[1].keys() == WHOLE.keys()
    assert sum(chosen[1].values()) == sum(BROKEN.values())


def test_frame_pointers_are_taken_where_unwinding_sees_no_more() -> None:
    assert depth.deeper({1: WHOLE}, {1: BROKEN}) == {1: WHOLE}
    assert depth.deeper({1: WHOLE}, {1: {**WHOLE, "main (shop);total (shop)": 9}}) == {1: WHOLE}


def test_each_process_is_judged_for_itself_and_none_is_lost() -> None:
    chosen = depth.deeper({1: BROKEN, 2: WHOLE, 3: BROKEN}, {1: WHOLE, 2: BROKEN, 4: WHOLE})
    assert {pid: set(stacks) for pid, stacks in chosen.items()} == {
        1: set(WHOLE),
        2: set(WHOLE),
        3: set(BROKEN),
        4: set(WHOLE),
    }

import pytest

from agent.stacks.perf_script import BadScript, read

SCRIPT = """\
# a comment of perf's
sha256sum 17965/17965 cpu-clock: 
\t            5dc0 [unknown] (/usr/bin/sha256sum)

Web Content 300/301 cpu-clock: 
\tffffffff81234567 do_syscall_64 ([kernel.kallsyms])
\tffffffffc0123456 ext4_read ([ext4])
\t    7f0000001000 std::function<void (int)>::operator()(int) (/opt/my app/libcore.so (deleted))
\t    7f0000002000 main (/opt/my app/web)

Main Name 300/300 cpu-clock: 
\t    7f0000002000 main (/opt/my app/web)

:-1    -1/-1    cpu-clock: 
\t    7f0000002000 gone ([unknown])

swapper     0/0     cpu-clock: 
\tffffffff81000000 pv_native_safe_halt ([kernel.kallsyms])

node 77/77 cycles:u: 
\t     1000 [unknown] (/tmp/perf-77.map)
\t     1001 [unknown] ([unknown])
\t     1002 [unknown] ([unknown])
\t     1003 __vdso_gettimeofday ([vdso])
\t     1004 a;b (/usr/bin/node)

empty 78/78 cycles:u: 
"""  # noqa: W291 -- perf ends its head lines with a space


def test_samples_become_stacks_by_pid_root_first() -> None:
    samples = read(SCRIPT.splitlines(keepends=True))
    assert samples.stacks == {
        17965: {"[sha256sum]": 1},
        300: {
            "main (web);std::function<void (int)>::operator()(int) (libcore.so);ext4_read_[k];do_syscall_64_[k]": 1,
            "main (web)": 1,
        },
        77: {"a:b (node);__vdso_gettimeofday ([vdso]);[unknown];[jit]": 1},
        78: {"[unknown]": 1},
    }


def test_idle_cpus_and_processes_without_a_number_are_left_out() -> None:
    assert not {0, -1} & read(SCRIPT.splitlines()).stacks.keys()


def test_a_process_is_named_after_its_main_thread_where_that_was_seen() -> None:
    assert read(SCRIPT.splitlines()).names[300] == "Main Name"


def test_the_event_really_used_is_told() -> None:
    assert read(SCRIPT.splitlines()).events == {"cpu-clock", "cycles:u"}


def test_a_thread_whose_name_looks_like_a_head_is_read_right() -> None:
    samples = read(["worker 3/4 12/13 cpu-clock: \n", "\t 10 f (/bin/x)\n", "\n"])
    assert samples.stacks == {12: {"f (x)": 1}}
    assert samples.names == {12: "worker 3/4"}


def test_a_line_that_perf_would_not_print_is_named_by_its_number() -> None:
    with pytest.raises(BadScript, match="line 2 "):
        read(["sh 1/1 cpu-clock: \n", "garbage\n"])


def test_a_name_with_line_ends_in_it_costs_nobody_else_a_sample() -> None:
    script = """\
sh 1/1 cpu-clock: 
\t 10 main (/bin/sh)

a
b c

  7/7  cpu-clock: 
\t 20 evil (/tmp/x
y)
\t 30 [unknown] (/bin/z)

sh 1/1 cpu-clock: 
\t 10 main (/bin/sh)
"""  # noqa: W291 -- as above
    samples = read(script.splitlines())
    assert samples.stacks == {1: {"main (sh)": 2}, 7: {"[z]": 1}}
    assert samples.names == {1: "sh"}
    assert samples.passed_over == 4


def test_nothing_is_nothing() -> None:
    assert read([]).stacks == {}


PAIR = """\
shop 40/40 cpu-clock_fp:u: 
\t 10 total (/opt/shop)
\t 20 [unknown] ([unknown])

shop 40/40 cpu-clock_dwarf:u: 
\t 10 total (/opt/shop)
\t 20 clock_gettime@@GLIBC_2.17 (/usr/lib/libc.so.6)
\t 30 main (/opt/shop)
"""  # noqa: W291 -- as above


def test_two_kinds_of_samples_in_one_recording_are_told_apart() -> None:
    samples = read(PAIR.splitlines())
    assert samples.stacks == {40: {"[unknown];total (shop)": 1}}
    assert samples.unwound == {40: {"main (shop);clock_gettime (libc.so.6);total (shop)": 1}}
    assert samples.events == {"cpu-clock:u"}


def test_code_of_a_jit_compiler_is_named_by_perf_or_by_what_is_known_of_its_address() -> None:
    script = """\
node 77/78 cpu-clock: 
\t 1000 [unknown] (/tmp/perf-77.map)
\t 1040 [unknown] (/tmp/perf-77.map)
\t 2000 JS:*sum /srv/app/sums.js:3:17 (/tmp/perf-77.map)
"""  # noqa: W291 -- as above
    unnamed = read(script.splitlines())
    assert unnamed.stacks == {77: {"sum (sums.js:3);[jit]": 1}}
    assert unnamed.unnamed == {77: {0x1000, 0x1040}}
    named = read(script.splitlines(), {77: {0x1000: "JS:~add /srv/app/sums.js:1:1"}, 78: {0x1040: "another's"}})
    assert named.stacks == {77: {"sum (sums.js:3);[jit];add (sums.js:1)": 1}}

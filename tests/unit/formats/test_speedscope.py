from formats import frames, speedscope

STACKS = {"b;main (app.py:3)": 2, "a;main (app.py:3);read_[k]": 5, "b": 1}


def test_samples_point_at_shared_frames_and_are_sorted_by_stack() -> None:
    document = speedscope.document(STACKS, title="web", unit="none", exporter="gprofiler 1")
    profile = document["profiles"][0]
    names = [frame["name"] for frame in document["shared"]["frames"]]
    assert [[names[index] for index in sample] for sample in profile["samples"]] == [
        ["a", "main", "read_[k]"], ["b"], ["b", "main"],
    ]  # fmt: skip
    assert profile["weights"] == [5, 1, 2]
    assert (profile["startValue"], profile["endValue"], profile["unit"]) == (0, 8, "none")
    assert {"name": "main", "file": "app.py", "line": 3} in document["shared"]["frames"]
    assert document["$schema"] == speedscope.SCHEMA


def test_a_frame_is_taken_apart_where_it_has_parts() -> None:
    assert frames.split("dumps (json/a.py:12)") == frames.Frame("dumps", "json/a.py", 12)
    assert frames.split("spin (libx.so.6)") == frames.Frame("spin", "libx.so.6")
    assert frames.split("f(int (*)(int)) (libx.so)") == frames.Frame("f(int (*)(int))", "libx.so")
    assert frames.split("gettime ([vdso])") == frames.Frame("gettime", "[vdso]")
    assert frames.split("readFile (node:fs:346)") == frames.Frame("readFile", "node:fs", 346)
    assert frames.split("do_syscall_64_[k]") == frames.Frame("do_syscall_64_[k]")
    assert frames.split("[unknown]") == frames.Frame("[unknown]")

"""Programs that are commands: their options, their codes, their help."""

import json

from .running import Shell


def test_an_entrypoint_with_argparse(shell: Shell) -> None:
    ended = shell("run", "arguments.py", "--format", "json", "--repeat", "2", "one", "three")
    one, three = {"word": "one", "length": 3}, {"word": "three", "length": 5}
    assert json.loads(ended.well()) == [one, three, one, three]

    assert shell("run", "arguments.py", "-u", "one", "--no-strict").well() == "ONE: 3\n"

    some = shell("run", "-q", "arguments.py", "--no-strict", "", "two")
    assert (some.code, some.out) == (3, "two: 3\n")
    assert some.err == "1 words could not be measured\n"

    failed = shell("run", "arguments.py", "", "two")
    assert (failed.code, failed.out) == (1, "")
    assert "ValueError: an empty word has no measure" in failed.err

    wrong = shell("run", "-q", "arguments.py", "--repeat", "often", "two")
    assert wrong.code == 2
    assert wrong.err.endswith("argument --repeat: invalid int value: 'often'\n")
    assert "Traceback" not in wrong.err

    helped = shell("run", "-q", "arguments.py", "--", "--help")
    assert helped.well().startswith("usage: arguments [-h] [--format {text,json}]")


def test_entrypoints_with_typed_options(shell: Shell) -> None:
    ended = shell("run", "toolbox.py::resize", "--width", "80", "--height", "60.5", "--no-keep")
    assert ended.well() == (
        "width=80 height=60.5 keep=False name=None\narea: 4840.0\narea=4840.0\n"
    )
    ended = shell("run", "toolbox.py::resize", "--width", "2", "--name", "a b")
    assert ended.well().startswith("width=2 height=48.0 keep=True name='a b'\n")

    ended = shell("run", "toolbox.py::report", "--since", "2024-02-29", "--format", "csv")
    assert ended.well() == "2024-02-29T00:00:00,None,2,0.50\n"
    ended = shell(
        *("run", "toolbox.py::app.report", "--since", "2024-02-29 10:20:30", "--limit", "7"),
        *("--level", "3", "--ratio", "1"),
    )
    assert ended.well() == "2024-02-29T10:20:30, 7, 3, 1.00\n"

    ended = shell("run", "toolbox.py::app.cut-all")
    lines = ended.well().splitlines()
    # The two containers print side by side, and the first result is printed when it is there.
    printed = ["sharp: har| bou| r|", "sharp: lig| hth| ous| e|"]
    assert sorted(line for line in lines if line in printed) == printed
    assert [line for line in lines if line not in printed] == ["har|bou|r|", "lig|hth|ous|e|"]
    assert shell("run", "toolbox.py::cut_all", "--dry-run").well() == "would cut 2\n"

    failed = shell("run", "-q", "toolbox.py::fail", "--message", "so it is")
    assert (failed.code, failed.out, failed.err) == (4, "so it is\n", "")


def test_functions_and_methods_are_run_directly(shell: Shell) -> None:
    assert shell("run", "toolbox.py::area", "--width", "3").well() == "area: 3.0\n"
    ended = shell("run", "toolbox.py::repeat", "--text", "ho", "--times", "3", "--upper")
    assert ended.well() == "HO HO HO\n"
    ended = shell("run", "toolbox.py::Cutter.cut", "--size", "3", "--text", "abcdefg")
    assert ended.well() == "sharp: abc def g\n"
    ended = shell("run", "toolbox.py::Cutter.count", "--text", "banana", "--letter", "a")
    assert ended.well() == "count: 3\n"

    failed = shell("run", "-q", "toolbox.py::Cutter.cut", "--exact", "--text", "abc")
    assert (failed.code, failed.out) == (1, "")
    assert failed.err.endswith("ValueError: 'abc' does not divide by 2\n")


def test_wrong_options_and_help(shell: Shell) -> None:
    wrong = [
        (["toolbox.py::resize"], "Missing option '--width'"),
        (["toolbox.py::resize", "--width", "2.5"], "'2.5' is not a valid integer"),
        (["toolbox.py::report", "--since", "yesterday"], "'yesterday' does not match"),
        (["toolbox.py::report", "--since", "2024-01-01", "--level", "4"], "'4' is not one of"),
        (["toolbox.py::Cutter.cut", "--size", "x", "--text", "y"], "'x' is not a valid integer"),
    ]
    for arguments, reason in wrong:
        ended = shell("run", "-q", *arguments)
        assert (ended.code, ended.out) == (2, "")
        assert reason in ended.err

    # Nothing says which of them is wanted.
    unclear = shell("run", "toolbox.py")
    assert unclear.code != 0
    for name in ("resize", "report", "fail", "cut_all"):
        assert name in unclear.err

    helped = shell("run", "toolbox.py::report", "--help").well()
    assert "Report what happened since a day." in helped
    for option in ("--since", "--format [text|csv]", "--limit", "--level", "--ratio"):
        assert option in helped

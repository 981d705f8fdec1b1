"""What counts as a difference, with outcomes made by hand."""

import pytest

from . import harness
from .run_cells import split_cells

OURS = frozenset({"InvalidArgumentsError"})


def cell(text="import modal\n"):
    return harness.Cell("topic", "name", text, {})


def outcome(stdout=(), error=None, message="", warnings=None, logs=None):
    return {
        "stdout": list(stdout),
        "error": error and {"mro": error.split(), "message": message},
        "warnings": warnings or {},
        "logs": logs or {},
    }


def agree(theirs, ours, text="import modal\n"):
    return not harness.differences(cell(text), theirs, ours, OURS)


@pytest.mark.parametrize(
    ("theirs", "ours", "same"),
    [
        ("InvalidError Error Exception", "InvalidError Error Exception", True),
        ("InvalidError Error Exception", "InvalidError Error TypeError Exception", True),
        (
            "InvalidError Error Exception",
            "InvalidArgumentsError InvalidError Error TypeError Exception",
            True,
        ),
        # `except TypeError` and `except InvalidError` in that order tell them apart.
        ("TypeError Exception", "InvalidArgumentsError InvalidError Error TypeError Exception", 0),
        ("InvalidError Error Exception", "TypeError InvalidError Error Exception", False),
        ("InvalidError Error Exception", "Error Exception", False),
        ("Error Exception", "InvalidError Error Exception", False),
        ("Error Exception", "Error RemoteError Exception", False),
        ("InvalidError Error Exception", None, False),
        (None, "InvalidError Error Exception", False),
    ],
)
def test_errors(theirs, ours, same):
    assert agree(outcome(error=theirs), outcome(error=ours)) is bool(same)


def test_errors_may_be_invalid_errors_besides():
    theirs = outcome(error="TypeError Exception")
    ours = outcome(error="InvalidArgumentsError InvalidError Error TypeError Exception")
    assert not harness.differences(cell(), theirs, ours, harness.names_of_ours())
    plain = outcome(error="InvalidError Error Exception")
    assert harness.differences(cell(), theirs, plain, harness.names_of_ours())


def test_stdout_warnings_and_logs_are_equal():
    assert agree(outcome(["a"]), outcome(["a"]))
    assert not agree(outcome(["a"]), outcome(["b"]))
    assert not agree(outcome(warnings={"DeprecationError": 1}), outcome())
    assert not agree(outcome(logs={"WARNING": 1}), outcome(logs={"WARNING": 2}))


def test_nouns():
    message = "Pass `max_inputs=3` to '@modal.concurrent', not to MyClass or app.function; say so"
    assert harness.nouns(message) == {"max_inputs", "concurrent", "MyClass", "function"}


def test_only_nouns_that_the_program_has_are_wanted():
    theirs = outcome(error="Error", message="`max_inputs` and `target_inputs` of Something")
    ours = outcome(error="Error", message="max_inputs was wrong")
    assert agree(theirs, ours, "concurrent(max_inputs=3)")
    assert not agree(theirs, ours, "concurrent(max_inputs=3, target_inputs=3)")


def test_cells():
    assert split_cells("intro\n# %% one\nimport modal\n\n# %% two\n# differs: network\nx\n") == {
        "one": "import modal\n",
        "two": "# differs: network\nx\n",
    }


@pytest.mark.parametrize(
    ("line", "differs"),
    [
        ("# differs: network", {"network": ""}),
        ("# differs: fault: it recurses", {"fault": "it recurses"}),
        ("# different", {}),
    ],
)
def test_reasons(line, differs):
    assert harness._differs(f"{line}\nimport modal\n") == differs


@pytest.mark.parametrize(
    "line", ["# differs: because", "# differs: fault", "# differs: network: x"]
)
def test_reasons_are_known_and_have_a_text_where_they_need_one(line):
    with pytest.raises(ValueError, match="differs"):
        harness._differs(line)

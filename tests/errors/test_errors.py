"""What people read when they make a mistake: golden files, and what must hold for each."""

import re

import pytest

from . import harness

# More frames of ours than one, each for a reason.
TWO_FRAMES = {
    "blocking_call_of_its_own_loop": "one for each of the two calls",
    "function_waits_for_itself": "one for each of the two calls",
    "call_function_inside": "one raises at the caller, one stands at the user's line in g",
    "call_method_inside": "one raises at the caller, one stands at the user's line in the method",
    "error_method_calls_method": "one for the call and one for .local() in the method",
    "set_concurrency_string": "one for the call and one for what was called in it",
    "error_nested": "a function calls a function: one for each of the two calls",
}

# The user's own error, or an outcome that is no mistake: the message is not ours to write.
USERS_OWN = {
    "await_remote": "Python's error; the warning above it says what to write",
    "get_cancelled": "an outcome: the program cancelled the call itself",
    "no_such_method": "Python's error about the user's class, with its nearest name",
    "map_missing_argument": "Python's error about the user's function",
    "user_extra_argument": "Python's error about the user's function",
    "user_missing_argument": "Python's error about the user's function",
    "user_unknown_argument": "Python's error about the user's function",
}

# Chained by the program itself, or with what its code raised as the cause.
CHAINED = {"error_chained", "error_system_exit", "error_while_handling", "mistake_while_handling"}

# A message says what to write, after a semicolon or, after a reason, a colon.
ADVICE = re.compile(
    r"[;:] (or )?(write|put|take|call|keep|give|decorate|declare|swap|return|leave|add|move|make|"
    r"inherit|get|it goes on: get)\b"
)

NAMES = harness.names()


def test_each_golden_file_has_its_mistake():
    assert sorted(path.stem for path in harness.GOLDEN.glob("*.txt")) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_what_the_user_reads(name):
    seen = harness.run_all()[name]
    assert seen.text == harness.golden(name).read_text(), (
        f"if this reads as well: python -m tests.errors --update {name}"
    )


@pytest.mark.parametrize("name", NAMES)
def test_the_message_says_what_to_write(name):
    text = harness.golden(name).read_text()
    messages = harness.messages(text)
    assert messages, "nothing was said"
    if name.startswith("error_") or name in USERS_OWN:
        return
    for message in messages[-1:] if name in CHAINED else messages:
        assert ADVICE.search(message), message


@pytest.mark.parametrize("name", NAMES)
def test_no_frame_of_ours_that_need_not_be(name):
    text = harness.golden(name).read_text()
    assert harness.frames_of_ours(text) <= (2 if name in TWO_FRAMES else 1), text
    if name not in CHAINED:
        assert "exception occurred" not in text, text
        assert "direct cause" not in text, text


@pytest.mark.parametrize("name", NAMES)
def test_warnings_point_at_the_program(name):
    for line in harness.golden(name).read_text().splitlines():
        if re.search(r": \w*(Warning|DeprecationError): ", line) and not line.startswith(
            "moorage."
        ):
            assert re.match(r"program\.py:\d+: ", line), line


@pytest.mark.parametrize("name", NAMES)
def test_the_program_says_what_the_mistake_is(name):
    first = (harness.MISTAKES / f"{name}.py").read_text().splitlines()[0]
    assert first.startswith("# "), first

"""Programs with servers of their own inside of functions, and a script that Python runs."""

import subprocess
import sys

from programs.running import HANGS_AFTER, Shell, assert_nothing_listens


def test_a_client_waits_for_the_health_of_an_inference_server(shell: Shell):
    done = shell.run("run", "-q", "inference_server.py")
    assert done.stdout.splitlines() == [
        "started the server",
        "mirror-1b: 92 tpmorp 30",
        "the server ended with -15",
    ]
    assert done.stderr == ""
    assert_nothing_listens(18742)


def test_a_notebook_is_reached_through_a_tunnel(shell: Shell):
    done = shell.run("run", "-q", "tunnel.py", "--reads", "2")
    lines = ["{'cells': 1}", "{'cells': 2}", "refused: 403", "command: save", "answered 3"]
    assert (done.stdout.splitlines(), done.stderr) == (lines, "")


def test_a_script_that_python_runs(shell: Shell):
    done = subprocess.run(
        [sys.executable, "plain_script.py"],
        cwd=shell.directory,
        env={**shell.environment, "MOORAGE_AS_MODAL": "1"},
        capture_output=True,
        text=True,
        timeout=HANGS_AFTER,
    )
    assert done.returncode == 4, done.stderr
    assert done.stdout.splitlines() == [
        "local: 0.25 True",
        "[0.5, ZeroDivisionError('division by zero'), 0.75]",
        "['x', 'y', 'z']",
        "as expected: division by zero",
        "['A?', 'B?'] C!",
        "['D!', 'E!']",
    ]
    assert done.stderr == ""

"""The package in a container's process: imported in two steps, and nobody sees it in between."""

from __future__ import annotations

import subprocess

from moorage.placing.processes import command

MANY_ASK = """
import threading
package = sys.modules["moorage"]
assert "App" not in vars(package)
gate, failed = threading.Barrier(8), []

def ask(name):
    gate.wait()
    try:
        getattr(package, name)
    except AttributeError as error:
        failed.append(str(error))

names = ["App", "shield", "Image", "Queue", "current_input_id", "parameter", "web_server", "Volume"]
threads = [threading.Thread(target=ask, args=(name,)) for name in names]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
assert not failed, failed
try:
    package.nothing
except AttributeError as error:
    print(error)
import moorage.config
assert package.config is moorage.config
"""


def test_threads_that_ask_for_names_at_once_each_get_theirs():
    ended = subprocess.run(command(MANY_ASK), capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stderr) == (0, "")
    assert ended.stdout == "module 'moorage' has no attribute 'nothing'\n"

"""The package in a container's process: imported in two steps, and nobody sees it in between."""

from __future__ import annotations

import subprocess

from moorage.placing.processes import command

ASKS_MEANWHILE = """
import threading
package = sys.modules["moorage"]
assert "App" not in vars(package)
got = []

def ask():
    try:
        got.append(package.shield)
    except AttributeError as error:
        got.append(error)

class Finder:
    # While __init__ runs, another thread asks for a name that comes at its end.
    thread = None

    def find_spec(self, name, path=None, target=None):
        if name == "moorage.app" and self.thread is None:
            self.thread = threading.Thread(target=ask)
            self.thread.start()
            self.thread.join(1.0)  # it has failed by then, or waits

finder = Finder()
sys.meta_path.insert(0, finder)
assert package.App.__name__ == "App"
finder.thread.join()
assert got == [package.shield], got
try:
    package.nothing
except AttributeError as error:
    print(error)
import moorage.config
assert package.config is moorage.config
"""


def test_a_thread_that_asks_for_a_name_while_init_runs_waits_for_it():
    ended = subprocess.run(command(ASKS_MEANWHILE), capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stderr) == (0, "")
    assert ended.stdout == "module 'moorage' has no attribute 'nothing'\n"


FOR_ALL_CHILDREN = """
from moorage.placing.package import complete_the_package
assert "moorage.app" not in sys.modules
complete_the_package()
print(*("moorage." + name in sys.modules for name in ("app", "image", "partial_function")))
"""


def test_what_programs_use_is_imported_once_for_all_children():
    ended = subprocess.run(command(FOR_ALL_CHILDREN), capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stderr) == (0, "")
    assert ended.stdout == "True True True\n"

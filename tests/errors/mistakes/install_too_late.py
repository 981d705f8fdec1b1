# install_as_modal() after the real modal was imported
import sys
import types

import moorage as modal

real = types.ModuleType("modal")
real.__file__ = "site-packages/modal/__init__.py"
sys.modules["modal"] = real
modal.install_as_modal()

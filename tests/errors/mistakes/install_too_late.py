# install_as_modal() after the real modal was imported
import sys
import types

import moorage as modal

sys.modules["modal"] = types.ModuleType("modal")
modal.install_as_modal()

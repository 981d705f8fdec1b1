"""As it is: `import modal` gives moorage in this process."""

import moorage

moorage.install_as_modal()

import modal  # noqa: E402
from modal.exception import InvalidError  # noqa: E402

print(modal.__name__, InvalidError.__module__)

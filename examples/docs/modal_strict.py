"""Strict mode: what Modal refuses is refused."""

import moorage as modal

modal.config.strict = True  # or MOORAGE_STRICT=1 in the environment

app = modal.App("strict")


@app.function()
def double(x: int) -> int:
    return 2 * x


try:
    double.remote(2)
except modal.exception.ExecutionError as error:
    print(f"ExecutionError: {error}")
try:
    app.function(keep_warm=1)
except modal.exception.DeprecationError as error:
    print(f"DeprecationError: {error}")

"""A test that passes, and leaves something behind."""

import moorage

app = moorage.App("kitchen")


@app.function()
def double(x: int) -> int:
    return 2 * x


def test_double():
    assert double.remote(2) == 4  # outside of any run: it opened an ambient one

"""A Modal program, run as it stands."""

import modal

app = modal.App("word-counts")
counts = modal.Dict.from_name("word-counts", create_if_missing=True)


@app.function()
def count(text: str) -> int:
    return len(text.split())


@app.local_entrypoint()
def main(text: str = "to be or not to be", times: int = 1):
    """Count the words of a text."""
    counts[text] = sum(count.map([text] * times))
    print(counts[text], "words")

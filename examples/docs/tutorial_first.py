"""The first function: run one input, then many."""

import moorage

app = moorage.App("tutorial")


@app.function()
def longest_word(text: str) -> str:
    return max(text.split(), key=len)


with app.run():
    print(longest_word.remote("the harbour master sleeps"))
    for word in longest_word.map(["a buoy drifts", "low tide", "seagulls everywhere"]):
        print(word)

"""What a caller gets when the function fails."""

import sys
import traceback

import moorage

app = moorage.App("functions")


@app.function()
def parse(text: str) -> int:
    return int(text)


@app.function()
def leave() -> None:
    sys.exit(3)


with app.run():
    try:
        parse.remote("twelve")
    except ValueError as error:
        print(f"ValueError: {error}")
        print("frames:", [frame.name for frame in traceback.extract_tb(error.__traceback__)])
    try:
        leave.remote()
    except moorage.exception.RemoteError as error:
        print(f"RemoteError from {error.__cause__!r}")

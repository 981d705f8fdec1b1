"""``modal run print_edition.py``: a script beside the package, with absolute imports."""

import sys

import newsroom
from newsroom.common import app, archive
from newsroom.sections import sport


@app.function(name="headline")
def make_headline(day: str) -> str:
    return archive[day][0].upper()


@app.local_entrypoint()
def main(day: str):
    print(make_headline.remote(day))
    print(sport.write.remote("como-nice"))
    print(newsroom.culture.Critic().review.remote("Kind of Blue"))
    if day < "2026-01-02":
        sys.exit(3)

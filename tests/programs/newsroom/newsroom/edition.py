"""``modal run -m newsroom.edition``: the edition of a day."""

from datetime import datetime

from . import common
from .common import app
from .sections.culture import Critic
from .sections.sport import write


@app.function()
def edit(title: str, number: int) -> str:
    return f"{number}. {title}"


@app.local_entrypoint()
def publish(day: datetime, matches: str = "ajax-porto,lens-roma"):
    titles = [*write.map(matches.split(",")), Critic(taste="polka").review.remote("Blue")]
    lines = list(edit.map(titles, range(1, len(titles) + 1)))
    common.archive[f"{day:%Y-%m-%d}"] = lines
    print(f"{day:%A, %d %B}")
    print(*lines, sep="\n")


@app.local_entrypoint()
def issues():
    print(*sorted(common.archive.keys()), sep="\n")

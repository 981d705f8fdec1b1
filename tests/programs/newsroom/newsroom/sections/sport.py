from ..common import app


@app.function()
def write(match: str) -> str:
    home, away = match.split("-")
    return f"{home.title()} beats {away.title()}"

"""A function that a schedule calls each day, tried over a week of virtual time."""

import moorage

app = moorage.App("reports")
written: list[str] = []


@app.function(schedule=moorage.Period(days=1))
def report() -> None:
    written.append("report")


def test_a_report_is_written_each_day(run_app, virtual_clock):
    run_app(app)
    virtual_clock.sleep(7 * 24 * 3600 + 1)
    assert written == ["report"] * 7

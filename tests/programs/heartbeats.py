"""Watch a few services once a second, and mail a digest each morning.

    modal deploy heartbeats.py

The state is in the Dict `heartbeats`, so `modal dict items heartbeats` shows what was seen.
"""

import datetime as dt
import time

import modal

app = modal.App("example-heartbeats")
image = modal.Image.debian_slim().pip_install("requests")
beats = modal.Dict.from_name("heartbeats", create_if_missing=True)
alerts = modal.Queue.from_name("heartbeat-alerts", create_if_missing=True)

SERVICES = ["api", "db", "cache"]


@app.function(image=image, retries=2, timeout=30)
def check(service: str, beat: int) -> dict:
    time.sleep(0.05)  # as long as a request takes
    healthy = not (service == "cache" and beat % 2 == 0)
    if not healthy:
        alerts.put({"service": service, "beat": beat})
    return {"service": service, "healthy": healthy}


@app.function(schedule=modal.Period(seconds=1), max_containers=1)
def heartbeat():
    beat = beats.get("beat", 0) + 1
    print(f"beat {beat} begins")
    states = list(check.map(SERVICES, kwargs={"beat": beat}))
    beats["beat"] = beat
    beats["last"] = {state["service"]: state["healthy"] for state in states}
    down = [state["service"] for state in states if not state["healthy"]]
    print(f"beat {beat} ends, down: {', '.join(down) or 'none'}")


@app.function(schedule=modal.Cron("0 6 * * *", timezone="America/New_York"))
def morning_digest():
    failures = alerts.get_many(1000, block=False)
    print(f"{dt.date.today()}: {len(failures)} failures since yesterday")


@app.cls(enable_memory_snapshot=True, min_containers=1)
class Mailer:
    @modal.enter()
    def connect(self):
        self.sent = 0
        print("mailer connected")

    @modal.method()
    def send(self, text: str) -> int:
        self.sent += 1
        return self.sent

    @modal.exit()
    def disconnect(self):
        print("mailer disconnected")

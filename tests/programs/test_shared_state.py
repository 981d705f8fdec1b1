"""Programs whose functions share a Dict, a Queue, or keys."""

import signal
from pathlib import Path

from .running import HERE, Ended, Shell, killed_if_it_hangs


def test_beats_of_a_deployed_schedule_and_a_term(shell: Shell) -> None:
    process = shell.start("deploy", "heartbeats.py")
    assert process.stdout is not None
    with killed_if_it_hangs(process):
        lines = []
        for line in process.stdout:
            lines.append(line)
            if line == "beat 2 begins\n":
                break
        # In the middle of a beat: what was accepted is finished.
        process.send_signal(signal.SIGTERM)
        out, err = process.communicate()
    ended = Ended(process.returncode, "".join(lines) + out, err)
    # On a slow machine, more beats have been accepted meanwhile.
    beats = max(int(line.split()[1]) for line in ended.well().splitlines()[1:-1])
    assert beats >= 2
    expected = ["mailer connected"]
    for beat in range(1, beats + 1):
        down = "none" if beat % 2 else "cache"
        expected += [f"beat {beat} begins", f"beat {beat} ends, down: {down}"]
    assert ended.out.splitlines() == [*expected, "mailer disconnected"]
    assert "example-heartbeats, of heartbeats.py" in ended.err
    assert "Traceback" not in ended.err

    # The state is there for others.
    assert shell("dict", "get", "heartbeats", "beat").well() == f"{beats}\n"
    last = shell("dict", "get", "heartbeats", "last").well()
    assert last == f"{{'api': True, 'db': True, 'cache': {beats % 2 == 1}}}\n"
    alerts = beats // 2
    assert shell("queue", "len", "heartbeat-alerts").well() == f"{alerts}\n"
    assert "'service': 'cache'" in shell("queue", "peek", "heartbeat-alerts").well()
    # One function alone, beside the container that is always kept: it takes the alerts.
    lines = shell("run", "heartbeats.py::morning_digest").well().splitlines()
    digest = [line for line in lines if not line.startswith("beat ")]  # if it takes a second
    # The container that is always kept starts beside the function.
    mailer = [line for line in digest if line.startswith("mailer ")]
    assert mailer == ["mailer connected", "mailer disconnected"]
    (said,) = [line for line in digest if line not in mailer]
    assert said.endswith(f": {alerts} failures since yesterday")
    assert shell("queue", "len", "heartbeat-alerts").well() == "0\n"


def test_a_dict_is_a_lock(shell: Shell) -> None:
    assert shell("run", "-q", "locks.py", "--rounds", "2").well() == (
        "counter: 42, expected: 42\n"
        "every input held the lock once: True\n"
        "the lock is free: True\n"
        "30 claims, 5 granted\n"
        "timeout: True\n"
        "left in locks: ['job-0', 'job-1', 'job-2', 'job-3', 'job-4']\n"
    )
    # Locks that another run left behind do not disturb the next one.
    again = shell("run", "locks.py", "--workers", "2", "--rounds", "1").well()
    assert again.startswith("counter: 3, expected: 3\n")


def test_partitions_of_a_queue(shell: Shell) -> None:
    assert shell("run", "partitions.py", "--cities", "paris,oslo,rome").well() == (
        "sent 72 orders to 3 cities\n"
        "paris: 24 orders, complete: True\n"
        "oslo: 24 orders, complete: True\n"
        "rome: 24 orders, complete: True\n"
        "left: 2 of 3\n"
        "peek: ['late', 'later']\n"
        "drained: (2, True)\n"
        "after clear: 0\n"
    )


def test_keys_of_a_dotenv_and_of_a_stored_secret(shell: Shell, tmp_path: Path) -> None:
    created = shell(
        "secret", "create", "service-keys", "SERVICE_TOKEN=ab", "DATABASE_PASSWORD=hunter2"
    )
    assert created.code == 0
    assert "hunter2" not in created.out + created.err
    assert "service-keys" in shell("secret", "list").well()

    # From elsewhere: the .env file is that beside the program.
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    away = Shell(shell.home, elsewhere, LAPTOP_ONLY="yes")
    program = str(HERE / "credentials" / "keys.py")
    ended = away("run", f"{program}::dotenv_only")
    assert ended.well() == (
        "dotenv: STAGE=de* REGION=ov******** SERVICE_URL=ht********************** "
        "SERVICE_TOKEN=fr********* GREETING=he******* DATABASE_PASSWORD=-\n"
    )
    ended = away("run", f"{program}::both")
    assert ended.well() == (
        "both: STAGE=pr** REGION=ov******** SERVICE_URL=ht********************** "
        "SERVICE_TOKEN=ab GREETING=he******* DATABASE_PASSWORD=hu*****\n"
        "login: True\n"
    )
    assert "here: ye*" in ended.err.splitlines()

    # A secret that lacks a key that the program requires.
    shell("secret", "create", "service-keys", "SERVICE_TOKEN=ab", "--force").well()
    failed = away("run", f"{program}::both")
    assert failed.code == 1
    assert "DATABASE_PASSWORD" in failed.err

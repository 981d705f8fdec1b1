"""What a remote container would refuse, found here."""

import threading
from dataclasses import dataclass, field

from moorage.exception import SerializationError
from moorage.testing import FakeContainer


@dataclass
class Job:
    url: str
    lock: object = field(default_factory=threading.Lock)


def crawl(jobs: list[Job]) -> int:
    jobs.pop()  # of a copy
    return len(jobs)


with FakeContainer(crawl, serialize=True) as container:
    try:
        container.call([Job("/a")])
    except SerializationError as error:
        print(error)
    jobs = [Job("/a", None), Job("/b", None)]
    print(container.call(jobs), len(jobs))
